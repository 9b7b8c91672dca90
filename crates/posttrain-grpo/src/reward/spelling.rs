//! One spelling for mathematics that is written in several ways.

/// LaTeX commands that have a sign or a name of their own; the rest are the letters of their name.
const COMMANDS: &[(&str, &str)] = &[
    ("times", "*"),
    ("cdot", "*"),
    ("ast", "*"),
    ("bullet", "*"),
    ("div", "/"),
    ("sqrt", "√"),
    ("pi", "π"),
    ("lfloor", "⌊"),
    ("rfloor", "⌋"),
    ("lceil", "⌈"),
    ("rceil", "⌉"),
    ("vert", "|"),
    ("lvert", "|"),
    ("rvert", "|"),
    ("mid", "|"),
    ("bmod", "mod"),
    ("pmod", "mod"),
    ("approx", "≈"),
    ("circ", "°"),
    ("degree", "°"),
];

/// Commands that only say how something looks.
const LOOKS: &[&str] = &[
    "left",
    "right",
    "big",
    "Big",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "bigg",
    "Bigg",
    "displaystyle",
    "textstyle",
    "text",
    "textbf",
    "textrm",
    "mbox",
    "hbox",
    "mathrm",
    "mathbf",
    "operatorname",
    "quad",
    "qquad",
    "limits",
    "boxed",
    "fbox",
];

/// Commands of two arguments, by the word between them.
const PAIRS: &[(&str, &str)] = &[
    ("frac", "/"),
    ("dfrac", "/"),
    ("tfrac", "/"),
    ("cfrac", "/"),
    ("binom", "choose"),
    ("dbinom", "choose"),
    ("tbinom", "choose"),
];

/// Nesting of commands that is looked into.
const MAX_DEPTH: usize = 16;

/// Text in small letters with one spelling of operators, fractions (`3/4`, after a whole number `2&1/2`), powers and
/// roots, without braces; a blank stands for white space, delimiters and commands that only say how it looks.
pub(super) fn spelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    write(text, &mut out, MAX_DEPTH);
    out
}

/// Without blanks.
pub(super) fn compact(text: &str) -> String {
    spelled(text).replace(' ', "")
}

fn write(text: &str, out: &mut String, depth: usize) {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => command(after, out, depth),
            '*' if after.starts_with('*') => {
                out.push('^');
                &after[1..]
            }
            _ if c.is_ascii_alphabetic() => word(rest, out),
            _ => {
                sign(c, out);
                after
            }
        };
    }
}

/// A command behind its backslash; what follows it.
fn command<'a>(text: &'a str, out: &mut String, depth: usize) -> &'a str {
    let name = &text[..text.bytes().take_while(u8::is_ascii_alphabetic).count()];
    let mut rest = &text[name.len()..];
    if name.is_empty() {
        let Some(c) = rest.chars().next() else { return rest };
        out.push(if c == '%' { '%' } else { ' ' });
        return &rest[c.len_utf8()..];
    }
    if let Some((_, between)) = PAIRS.iter().find(|(n, _)| *n == name).filter(|_| depth > 0) {
        if out.ends_with(|c: char| c.is_ascii_digit()) {
            out.push('&');
        }
        for before in ["", between] {
            out.push_str(before);
            let (argument, behind) = argument(rest);
            write(argument, out, depth - 1);
            rest = behind;
        }
        return rest;
    }
    match COMMANDS.iter().find(|(n, _)| *n == name) {
        Some((_, "°")) => degree(out),
        Some((_, sign)) => out.push_str(sign),
        None if LOOKS.contains(&name) => out.push(' '),
        None => out.push_str(&name.to_lowercase()),
    }
    rest
}

/// The argument that follows a command, `{…}`, a command without arguments or a character, and what is behind it.
fn argument(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let Some(c) = text.chars().next() else { return ("", "") };
    if c == '\\' {
        let name = text[1..].bytes().take_while(u8::is_ascii_alphabetic).count();
        return text.split_at(1 + name);
    }
    if c != '{' {
        return text.split_at(c.len_utf8());
    }
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return (&text[1..at], &text[at + 1..]);
        }
    }
    (&text[1..], "")
}

/// A word outside LaTeX: `sqrt`, and `x` between digits, are operators.
fn word<'a>(text: &'a str, out: &mut String) -> &'a str {
    let (name, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_alphabetic).count());
    let value = out.trim_end_matches(' ').ends_with(|c: char| c.is_ascii_digit() || ")!".contains(c));
    let next = rest.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '(');
    match name {
        "x" | "X" if value && next => out.push('*'),
        "sqrt" => out.push('√'),
        _ => out.push_str(&name.to_lowercase()),
    }
    rest
}

fn sign(c: char, out: &mut String) {
    const RAISED: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    let raised = RAISED.chars().position(|r| r == c).and_then(|digit| char::from_digit(digit as u32, 10));
    match (c, raised) {
        (_, Some(digit)) => {
            out.extend(['^', digit]);
        }
        ('×' | '·' | '⋅' | '∙' | '•' | '∗' | '✕' | '✖' | '＊', _) => out.push('*'),
        ('÷' | '∕' | '⁄', _) => out.push('/'),
        ('−' | '–' | '‐' | '‑', _) => out.push('-'),
        ('＋', _) => out.push('+'),
        ('＝', _) => out.push('='),
        ('°', _) => degree(out),
        ('$' | '€' | '£' | '¥' | '₹' | '{' | '}' | '~', _) => out.push(' '),
        _ if c.is_whitespace() => out.push(' '),
        _ => out.extend(c.to_lowercase()),
    }
}

/// Degrees, as a sign or as the power of a ring.
fn degree(out: &mut String) {
    out.truncate(out.trim_end_matches([' ', '^']).len());
    out.push('°');
}
