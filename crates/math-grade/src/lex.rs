//! Text to tokens, LaTeX and plain alike. Spacing, sizing and font commands vanish here; text groups, numbers,
//! words and commands come out whole. Linear in the length of the text, which is capped.

use super::unicode;
use super::vocabulary::{each, has};

/// A token with whether white space came before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Digits with an optional point, and an optional exponent: `("12.5", 3)` for `12.5E3`.
    Number(String, i64),
    /// One letter, a variable.
    Letter(char),
    /// `\name`, and names that need no backslash (`sin`, `sqrt`, `pi`, …).
    Command(String),
    /// Running text: `\text{…}` and its kin, or an unknown word of several letters in plain mode.
    Text(String),
    /// A single ASCII operator or bracket. `\{` is `Command("{")`.
    Mark(char),
    /// `\\`, the end of a matrix row.
    Row,
}

/// Why a text is no expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Empty,
    /// Longer than [`MAX_LENGTH`] bytes or [`MAX_TOKENS`] tokens.
    TooLong,
    /// Nested deeper than the parser goes.
    TooDeep,
    /// Not an expression.
    Syntax,
}

/// How words of several letters are read where LaTeX would see a product of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// As LaTeX does: `ab` is `a·b`.
    Letters,
    /// As text: for strings outside mathematics, where `even` is an answer and prose is not a product.
    Text,
}

/// Longest text of one answer, in bytes.
pub(crate) const MAX_LENGTH: usize = 8192;
/// Most tokens in one answer.
pub(crate) const MAX_TOKENS: usize = 2048;

/// Words that mean the same with and without a backslash.
const PLAIN_COMMANDS: &str = "arcsinh|arccosh|arctanh|arcsin|arccos|arctan|arsinh|arcosh|artanh|sinh|cosh|tanh|sin|cos|\
    tan|cot|sec|csc|asin|acos|atan|sqrt|cbrt|ln|log|lg|exp|pi|infinity|infty|inf|oo|gcd|lcm|\
    max|min|floor|ceil|abs|and|or|percent|percentage|pct|theta|alpha|beta|gamma|lambda|phi|\
    union|mod";

/// The tokens of `text`.
pub(crate) fn lex(text: &str, words: Words, euler: bool) -> Result<Vec<Token>, Unreadable> {
    if text.len() > MAX_LENGTH {
        return Err(Unreadable::TooLong);
    }
    let mut lexer =
        Lexer { rest: text, tokens: Vec::new(), spaced: false, rows: text.contains("\\begin"), words, euler };
    while let Some(c) = lexer.rest.chars().next() {
        lexer.step(c)?;
        if lexer.tokens.len() > MAX_TOKENS {
            return Err(Unreadable::TooLong);
        }
    }
    Ok(lexer.tokens)
}

/// How to read the words of a text without delimiters: a formula's letters are variables, but where several
/// unknown words stand outside commands and text groups it is prose, or a text answer.
pub(crate) fn words_of(text: &str) -> Words {
    let bytes = text.as_bytes();
    let (mut i, mut unknown) = (0, 0);
    while i < bytes.len() {
        let start = i;
        let command = bytes[i] == b'\\';
        i += 1;
        if !command && !bytes[start].is_ascii_alphabetic() {
            continue;
        }
        while bytes.get(i).is_some_and(u8::is_ascii_alphabetic) {
            i += 1;
        }
        if command
            && (text[start..i].starts_with("\\text")
                || matches!(&text[start..i], "\\mbox" | "\\mathrm" | "\\operatorname"))
        {
            i += text.get(i..).and_then(|r| r.find('}')).unwrap_or(0);
        } else if !command && is_prose_word(&text[start..i]) {
            unknown += 1;
        }
    }
    let latex = text.matches('\\').count() > text.matches("\\$").count() + text.matches("\\%").count();
    if latex && unknown < 2 { Words::Letters } else { Words::Text }
}

/// A word that no formula has: three letters or more and no function's name, or a small word of English.
fn is_prose_word(word: &str) -> bool {
    const SMALL: [&str; 12] = ["is", "of", "to", "so", "we", "it", "be", "by", "as", "at", "an", "if"];
    word.len() > 2 && !has(PLAIN_COMMANDS, word) || SMALL.contains(&word)
}

/// Whether `e`, a sign and so many digits after a number may be Euler's number and a sum as well as an exponent.
fn ambiguous(mantissa: &str, digits: usize) -> bool {
    digits == 1 && !mantissa.contains('.') && mantissa != "1"
}

/// Whether a text has a number like `3e+2`, which may be read in two ways.
pub(crate) fn may_be_euler(text: &str) -> bool {
    text.match_indices('e').any(|(i, _)| {
        let digit = |s: &str| s.starts_with(|c: char| c.is_ascii_digit());
        let signed = text[i + 1..].strip_prefix(['+', '-', '−']);
        text[..i].ends_with(|c: char| c.is_ascii_digit()) && signed.is_some_and(digit)
    })
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    spaced: bool,
    /// `\\` ends a matrix row; elsewhere, before a letter, it is a doubled backslash.
    rows: bool,
    words: Words,
    /// `3e+2` is `3·e + 2`.
    euler: bool,
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, spaced: self.spaced });
        self.spaced = false;
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn step(&mut self, c: char) -> Result<(), Unreadable> {
        if c.is_whitespace() || c == '~' {
            self.skip(c.len_utf8());
            self.spaced = true;
        } else if c.is_ascii_digit() || c == '.' && self.rest[1..].starts_with(|d: char| d.is_ascii_digit()) {
            self.number();
        } else if c == '\\' {
            return self.command();
        } else if c.is_ascii_alphabetic() {
            self.word();
        } else if let Some(name) = unicode::command(c) {
            self.skip(c.len_utf8());
            self.push(Kind::Command(name.into()));
        } else if let Some(mark) = unicode::mark(c) {
            self.skip(c.len_utf8());
            self.push(Kind::Mark(mark));
        } else if let Some(script) = unicode::script(self.rest) {
            self.skip(script.bytes);
            self.script(&script);
        } else if let Some((top, bottom)) = unicode::fraction(c) {
            self.skip(c.len_utf8());
            self.push(Kind::Command("frac".into()));
            for part in [top, bottom] {
                self.push(Kind::Mark('{'));
                self.push(Kind::Number(part.to_string(), 0));
                self.push(Kind::Mark('}'));
            }
        } else if "+-*/^_()[]{}|=<>!,;:&'%".contains(c) {
            self.skip(1);
            self.push(Kind::Mark(c));
        } else if "$\"€£¥₹".contains(c) {
            self.skip(c.len_utf8());
        } else if c.is_alphabetic() {
            // Greek and other letters are variables; a look-alike is not the letter it looks like.
            self.skip(c.len_utf8());
            self.push(Kind::Letter(c));
        } else {
            return Err(Unreadable::Syntax);
        }
        Ok(())
    }

    /// `12`, `1.5`, `.5`, `2.5E-3`, and `10{,}000` or `10,\!000`, whose commas can only be thousands.
    fn number(&mut self) {
        let mut digits = String::new();
        self.digits(&mut digits);
        let separators = ["{,}", ",\\!", "\\,", "{\\,}", "{, }", " {,}", " {, }"];
        while let Some(group) = separators.iter().find_map(|s| self.rest.strip_prefix(s)) {
            let group = group.trim_start_matches("\\!").trim_start();
            let n = group.bytes().take_while(u8::is_ascii_digit).count();
            if n != 3 {
                break;
            }
            digits.push_str(&group[..3]);
            self.rest = &group[3..];
        }
        let point = self.rest.strip_prefix('.').or_else(|| self.rest.strip_prefix("{.}"));
        if let Some(after) = point.filter(|r| r.starts_with(|c: char| c.is_ascii_digit())) {
            self.rest = after;
            digits.push('.');
            self.digits(&mut digits);
        } else if self.rest.starts_with(".\\overline{") || self.rest.starts_with(".\\bar{") {
            digits.push('.'); // 0.\overline{3}
            self.skip(1);
        } else if self.rest.starts_with('.') && !self.rest.starts_with("..") {
            // "5." at the end of a sentence
            self.skip(1);
        }
        let exponent = self.exponent(&digits);
        self.push(Kind::Number(digits, exponent));
        // 2 x 10^6
        let after = self.rest.trim_start();
        if after
            .strip_prefix(['x', 'X'])
            .is_some_and(|r| r.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        {
            self.rest = &after[1..];
            self.push(Kind::Command("times".into()));
        }
    }

    fn digits(&mut self, out: &mut String) {
        let n = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        out.push_str(&self.rest[..n]);
        self.skip(n);
    }

    /// Signs and digits that stand above or below in Unicode.
    fn script(&mut self, script: &unicode::Script) {
        self.push(Kind::Mark(if script.above { '^' } else { '_' }));
        let braces = script.text.len() > 1;
        if braces {
            self.push(Kind::Mark('{'));
        }
        let mut rest = script.text.as_str();
        while let Some(c) = rest.chars().next() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            self.push(match c {
                '-' | '+' => Kind::Mark(c),
                'n' => Kind::Letter(c),
                _ => Kind::Number(rest[..digits].into(), 0),
            });
            rest = &rest[digits.max(1)..];
        }
        if braces {
            self.push(Kind::Mark('}'));
        }
    }

    /// `E5`, `e-4` directly after a number. A small `e` may be Euler's number where a sign and one digit follow a whole
    /// number (`3e+2`); [`may_be_euler`] tells.
    fn exponent(&mut self, digits: &str) -> i64 {
        let Some(after) = self.rest.strip_prefix(['E', 'e']) else { return self.upright_exponent(digits) };
        let unsigned = after.trim_start_matches(['+', '-', '−']);
        let n = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let signs = after.chars().count() - unsigned.chars().count();
        if n == 0 || n > 6 || signs > 1 {
            return 0;
        }
        if self.rest.starts_with('e') {
            let letter = unsigned[n..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '^' || c == '_');
            if letter || signs == 1 && self.euler && ambiguous(digits, n) {
                return 0;
            }
        }
        self.rest = &unsigned[n..];
        let value: i64 = unsigned[..n].parse().unwrap_or(0);
        if after.starts_with(['-', '−']) { -value } else { value }
    }

    /// `\mathrm{e}5`, `\text{E}{-4}`, `\mathrm{e}-4` after a decimal: a sign right at Euler's number makes a sum.
    fn upright_exponent(&mut self, mantissa: &str) -> i64 {
        const SIGNS: [&str; 4] = ["\\mathrm{e}", "\\mathrm{E}", "\\text{e}", "\\text{E}"];
        let Some(after) = SIGNS.iter().find_map(|sign| self.rest.strip_prefix(sign)) else { return 0 };
        let (inner, braced) = after.strip_prefix('{').map_or((after, false), |inner| (inner, true));
        let digits = inner.strip_prefix(['+', '-', '−']).unwrap_or(inner);
        let n = digits.bytes().take_while(u8::is_ascii_digit).count();
        let signed = digits.len() < inner.len();
        let Some(value) = digits[..n].parse::<i64>().ok().filter(|_| n <= 6) else { return 0 };
        let rest = if braced { digits[n..].strip_prefix('}') } else { Some(&digits[n..]) };
        match rest {
            Some(rest) if braced || !signed || mantissa.contains('.') => {
                self.rest = rest;
                if inner.starts_with(['-', '−']) { -value } else { value }
            }
            _ => 0,
        }
    }

    fn command(&mut self) -> Result<(), Unreadable> {
        let after = &self.rest[1..];
        let Some(c) = after.chars().next() else { return Err(Unreadable::Syntax) };
        if c == '\\' {
            if self.rows {
                self.skip(2);
                self.push(Kind::Row);
            } else if after[1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
                self.skip(1);
            } else {
                self.skip(2);
                self.spaced = true;
            }
            return Ok(());
        }
        if !c.is_ascii_alphabetic() {
            self.skip(1 + c.len_utf8());
            match c {
                ',' | ';' | ':' | '!' | ' ' | '>' | '\n' | '\t' | '/' => self.spaced = c != '!',
                '$' | '(' | ')' | '[' | ']' => {}
                '%' => self.push(Kind::Mark('%')),
                '{' | '}' | '|' => self.push(Kind::Command(c.to_string())),
                '#' | '&' | '_' => return Err(Unreadable::Syntax),
                _ => return Err(Unreadable::Syntax),
            }
            return Ok(());
        }
        let n = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let name = &after[..n];
        self.skip(1 + n);
        match name {
            "left" | "right" | "mleft" | "mright" | "bigl" | "bigr" | "Bigl" | "Bigr" | "big" | "Big"
            | "bigg" | "Bigg" | "biggl" | "biggr" => {
                // A delimiter follows: `.` is none, a bare brace is a set's.
                if let Some(after) = self.rest.strip_prefix('.') {
                    self.rest = after;
                } else if let Some(brace) = self.rest.chars().next().filter(|c| "{}".contains(*c)) {
                    self.skip(1);
                    self.push(Kind::Command(brace.to_string()));
                }
            }
            "text" | "textbf" | "textit" | "textrm" | "textnormal" | "textsf" | "mbox" | "hbox"
            | "mathrm" | "mathbf" | "mathit" | "mathsf" | "mathcal" | "bold" | "boldsymbol" | "bm"
            | "operatorname" | "emph" | "variable" => self.text(name)?,
            "displaystyle" | "textstyle" | "scriptstyle" | "limits" | "nolimits" | "rm" | "bf" | "it"
            | "cr" | "hline" | "nonumber" => {}
            "quad" | "qquad" | "space" | "thinspace" | "medspace" | "thickspace" | "enspace" => {
                self.spaced = true
            }
            "hspace" | "vspace" | "phantom" | "label" | "tag" => {
                self.group()?;
                self.spaced = true;
            }
            _ => {
                // `\lvertx`, `\quadx`, `\pir`: a command run into the letter after it.
                const RUN_IN: [&str; 14] = [
                    "lgroup", "rgroup", "lbrace", "rbrace", "lbrack", "rbrack", "lvert", "rvert", "vert",
                    "lVert", "rVert", "qquad", "quad", "pi",
                ];
                match RUN_IN.iter().find(|d| name.starts_with(**d) && name.len() > d.len()) {
                    Some(d) => {
                        if d.ends_with("quad") {
                            self.spaced = true;
                        } else {
                            self.push(Kind::Command((*d).into()));
                        }
                        name[d.len()..].chars().for_each(|c| self.push(Kind::Letter(c)));
                    }
                    None => self.push(Kind::Command(name.into())),
                }
            }
        }
        Ok(())
    }

    /// The text of the brace group that starts here (after white space); braces inside must balance.
    fn group(&mut self) -> Result<String, Unreadable> {
        let body = self.rest.trim_start().strip_prefix('{').ok_or(Unreadable::Syntax)?;
        let mut depth = 1_usize;
        for (i, c) in body.char_indices() {
            depth = match c {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            };
            if depth == 0 {
                self.rest = &body[i + 1..];
                return Ok(body[..i].to_string());
            }
        }
        Err(Unreadable::Syntax)
    }

    /// A text-like command: one letter is a variable, digits are mathematics in a font, a function's name is
    /// the function, anything else is text.
    fn text(&mut self, command: &str) -> Result<(), Unreadable> {
        if !self.rest.trim_start().starts_with('{') {
            return Ok(());
        }
        let body = self.group()?;
        let inner = body.trim();
        let mut letters = inner.chars();
        if command == "variable" {
            if inner.bytes().all(|b| b.is_ascii_digit()) {
                self.push(Kind::Number(inner.into(), 0));
            } else {
                self.push(Kind::Text(inner.into()));
            }
            return Ok(());
        }
        if command == "operatorname"
            || matches!(inner, "and" | "or" | "percent" | "percentage" | "pct" | "Re" | "Im")
        {
            self.push(Kind::Command(inner.into()));
        } else if inner.is_empty() {
            self.spaced = true;
        } else if let (Some(c), None) = (letters.next(), letters.next()) {
            if c.is_alphabetic() && self.after_quantity() && super::unit::read(inner, 1).is_some() {
                self.push(Kind::Text(inner.into())); // 5\text{ m}
            } else if c.is_alphabetic() {
                self.push(Kind::Letter(c));
            } else {
                self.rest_of(inner)?;
            }
        } else if inner.starts_with(|c: char| c.is_ascii_digit() || c == '\\' || c == '-' || c == '(')
            && inner.bytes().any(|b| b.is_ascii_digit())
        {
            self.rest_of(inner)?;
        } else if command.starts_with("math") && has(PLAIN_COMMANDS, inner) {
            self.push(Kind::Command(inner.into()));
        } else {
            self.push(Kind::Text(inner.into()));
        }
        Ok(())
    }

    /// Lexes `inner` (shorter than what it came from) in place.
    fn rest_of(&mut self, inner: &str) -> Result<(), Unreadable> {
        if inner.contains("\\text")
            || inner.contains("\\m")
            || inner.contains("\\operatorname")
            || inner.contains("\\b")
        {
            return Err(Unreadable::Syntax); // no recursion
        }
        let tokens = lex(inner, self.words, self.euler)?;
        self.tokens.extend(tokens);
        Ok(())
    }

    /// A run of ASCII letters: known names are commands; the rest is letters or a word, as asked.
    fn word(&mut self) {
        let n = self.rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = &self.rest[..n];
        self.rest = &self.rest[n..];
        if n == 1 {
            self.push(Kind::Letter(word.chars().next().unwrap_or('x')));
        } else if has(PLAIN_COMMANDS, word) {
            self.push(Kind::Command(if word == "sqrt" { "plainsqrt" } else { word }.into()));
        } else if let Some(unit) = super::unit::spelled(word).filter(|_| self.after_quantity()) {
            self.push(Kind::Text(unit.into()));
        } else if self.words == Words::Text && !self.is_product(word) {
            self.push(Kind::Text(word.into()));
        } else {
            word.chars().for_each(|c| self.push(Kind::Letter(c)));
        }
    }

    /// Whether `word` stands right at a number and is a product of variables, as in `4ab`, and no unit.
    fn is_product(&self, word: &str) -> bool {
        let number = matches!(self.tokens.last().map(|t| &t.kind), Some(Kind::Number(..)));
        let unit = each(super::unit::ABBREVIATIONS).any(|u| u == word || u == word.to_lowercase());
        number && !self.spaced && word.len() <= 3 && !unit
    }

    fn after_quantity(&self) -> bool {
        matches!(
            self.tokens.last().map(|t| &t.kind),
            Some(Kind::Number(..) | Kind::Mark('}' | ')') | Kind::Text(_))
        ) || matches!(self.tokens.last().map(|t| &t.kind), Some(Kind::Command(c)) if c == "pi")
            || matches!(self.tokens.last().map(|t| &t.kind), Some(Kind::Letter(_))) && self.spaced
    }
}
