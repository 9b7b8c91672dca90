//! Near misses: wrong answers made from a reference answer by mistakes that models make or that reward hacking
//! exploits. Tests count how many of them a grader accepts.

/// A wrong answer made from a right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The kind of mistake.
    pub mistake: Mistake,
    /// The wrong answer.
    pub text: String,
}

/// Kinds of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mistake {
    /// The sign of the whole answer or of one term.
    Sign,
    /// The last integer in it is one more.
    OffByOne,
    /// The first integer in it is one more.
    OffByOneFirst,
    /// Two coordinates change places.
    Swapped,
    /// An end of an interval is open instead of closed, or the other way round.
    End,
    /// One element of a list is missing.
    Missing,
    /// One element too many.
    Extra,
    /// An irrational or long fraction is rounded to two places.
    Rounded,
    /// A unit with another power.
    UnitPower,
    /// A column instead of a row, or a square matrix across its diagonal.
    Transposed,
    /// A factor of ten.
    Magnitude,
    /// The reciprocal of a fraction.
    Reciprocal,
}

/// All near misses of `answer` (LaTeX) that apply. The list is empty for most text answers.
pub fn near_misses(answer: &str) -> Vec<NearMiss> {
    use Mistake::*;
    let mut out = Vec::new();
    let mut push = |mistake, text: Option<String>| {
        out.extend(text.filter(|t| t != answer).map(|text| NearMiss { mistake, text }))
    };
    push(Sign, sign(answer));
    push(OffByOne, bump(answer, true));
    push(OffByOneFirst, bump(answer, false).filter(|t| Some(t) != bump(answer, true).as_ref()));
    push(Swapped, swapped(answer));
    push(End, end(answer));
    push(Missing, missing(answer));
    push(
        Extra,
        parts(answer)
            .filter(|p| p.items.len() > 1)
            .map(|p| format!("{}{}, 7919{}", p.open, p.items.join(","), p.close)),
    );
    push(Rounded, rounded(answer));
    push(UnitPower, unit_power(answer));
    push(Transposed, transposed(answer));
    push(Magnitude, magnitude(answer));
    push(Reciprocal, reciprocal(answer));
    out
}

/// A single value changes its sign; a list or relation does not (its first number does, under off-by-one).
fn sign(answer: &str) -> Option<String> {
    let simple = !answer.contains([',', '=', '<', '>', '&'])
        && !answer.contains("\\pm")
        && !answer.contains("\\text")
        && !answer.contains("\\in");
    let zero =
        answer.trim() == "0" || !answer.contains(|c: char| c.is_ascii_digit()) && !answer.contains("\\pi");
    if !simple || zero || answer.contains('_') {
        return None;
    }
    Some(match answer.trim().strip_prefix('-') {
        Some(rest) if !rest.contains(['+', '-']) => rest.to_string(),
        _ => format!("-({answer})"),
    })
}

/// The last or first run of digits, one more; not a digit of a decimal's fraction or of `\frac12`, which would be
/// other mistakes.
fn bump(answer: &str, last: bool) -> Option<String> {
    let bytes = answer.as_bytes();
    let mut runs = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i].is_ascii_digit() {
            let start = i;
            while i < bytes.len() && bytes[i].is_ascii_digit() {
                i += 1;
            }
            let decimal = start > 0 && bytes[start - 1] == b'.' || bytes.get(i) == Some(&b'.');
            let grouped =
                answer[..start].ends_with(",\\!") || answer[..start].ends_with(',') && i - start == 3;
            let base = start > 0 && bytes[start - 1] == b'_' || answer[..start].ends_with("_{");
            let short_fraction = ["frac", "frac ", "}"].iter().any(|p| answer[..start].ends_with(p))
                && answer.contains("frac");
            if !decimal && !grouped && !base && !short_fraction && i - start < 16 {
                runs.push((start, i));
            }
        } else {
            i += 1;
        }
    }
    let &(start, end) = if last { runs.last()? } else { runs.first()? };
    let n: u64 = answer[start..end].parse().ok()?;
    Some(format!("{}{}{}", &answer[..start], n + 1, &answer[end..]))
}

struct Parts<'a> {
    open: &'a str,
    items: Vec<&'a str>,
    close: &'a str,
}

/// The items of a bracketed or bare list, split at commas outside brackets.
fn parts(answer: &str) -> Option<Parts<'_>> {
    let trimmed = answer.trim();
    if trimmed.contains("\\!")
        || trimmed.contains("\\cup")
        || trimmed.contains('=')
        || trimmed.contains("\\in") && !trimmed.contains("\\infty")
    {
        return None;
    }
    let thousands = trimmed.trim_start_matches("\\$").chars().all(|c| c.is_ascii_digit() || c == ',')
        && trimmed.contains(',');
    if thousands {
        return None;
    }
    let openings = ["\\left(", "\\left[", "\\left\\{", "\\{", "(", "["];
    let closings = ["\\right)", "\\right]", "\\right\\}", "\\}", ")", "]"];
    let open = openings.iter().find(|o| trimmed.starts_with(**o)).copied().unwrap_or("");
    let close = closings.iter().find(|c| trimmed.ends_with(**c)).copied().unwrap_or("");
    if open.is_empty() != close.is_empty() {
        return None;
    }
    let inner = &trimmed[open.len()..trimmed.len() - close.len()];
    let (mut depth, mut start, mut items) = (0_i32, 0, Vec::new());
    for (i, c) in inner.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&inner[start..i]);
                start = i + 1;
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    items.push(&inner[start..]);
    Some(Parts { open, items, close })
}

fn swapped(answer: &str) -> Option<String> {
    let mut p = parts(answer).filter(|p| p.items.len() > 1 && p.open.ends_with('('))?;
    let n = p.items.len();
    if p.items[0].trim() == p.items[n - 1].trim() {
        return None;
    }
    p.items.swap(0, n - 1);
    Some(format!("{}{}{}", p.open, p.items.join(","), p.close))
}

/// The bracket at a finite end becomes the other kind. A pair `(a, b)` of numbers may be a point, so only a bracket
/// that makes it an interval counts.
fn end(answer: &str) -> Option<String> {
    let p = parts(answer).filter(|p| p.items.len() == 2 && !p.open.is_empty() && !p.open.ends_with('{'))?;
    let flip = |b: &str| {
        if b.contains(['(', ')']) {
            b.replace('(', "[").replace(')', "]")
        } else {
            b.replace('[', "(").replace(']', ")")
        }
    };
    let (open, close) = if p.items[0].contains("\\infty") {
        (p.open.to_string(), flip(p.close))
    } else {
        (flip(p.open), p.close.to_string())
    };
    if p.items.iter().all(|i| i.contains("\\infty")) {
        return None;
    }
    Some(format!("{open}{},{}{close}", p.items[0], p.items[1]))
}

fn missing(answer: &str) -> Option<String> {
    if let Some((first, _)) = answer.split_once("\\cup") {
        return Some(first.trim().to_string());
    }
    if answer.contains("\\pm") && !answer.contains(',') {
        return Some(answer.replace("\\pm", "+"));
    }
    let p = parts(answer).filter(|p| p.items.len() > 1)?;
    Some(format!("{}{}{}", p.open, p.items[..p.items.len() - 1].join(","), p.close))
}

/// A constant with a root, `π` or a fraction as a two-place decimal, unless it is exactly that.
fn rounded(answer: &str) -> Option<String> {
    let value = math_grade::plain_value(answer)?;
    let short = (value * 100.0).round() / 100.0;
    let integer = answer.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit() || b == b',');
    (!integer && (short - value).abs() > 1e-6 && value.abs() < 1e6).then(|| format!("{short:.2}"))
}

fn unit_power(answer: &str) -> Option<String> {
    let at = answer.find("\\mbox{").or_else(|| answer.find("\\text{ "))?;
    let (value, unit) = answer.split_at(at);
    if let Some(plain) = unit.strip_suffix("^2") {
        return Some(format!("{value}{plain}^3"));
    }
    unit.ends_with('}')
        .then(|| format!("{answer}^2"))
        .filter(|_| !unit.contains("degrees") && !value.is_empty())
}

fn transposed(answer: &str) -> Option<String> {
    let body = answer.strip_prefix("\\begin{pmatrix}")?.strip_suffix("\\end{pmatrix}")?;
    let rows: Vec<Vec<&str>> = body.split("\\\\").map(|r| r.split('&').map(str::trim).collect()).collect();
    let columns = rows[0].len();
    let flipped: Vec<String> =
        (0..columns).map(|j| rows.iter().map(|r| r[j]).collect::<Vec<_>>().join(" & ")).collect();
    let same = rows.iter().map(|r| r.join(" & ")).eq(flipped.iter().cloned());
    (!same).then(|| format!("\\begin{{pmatrix}} {} \\end{{pmatrix}}", flipped.join(" \\\\ ")))
}

fn magnitude(answer: &str) -> Option<String> {
    let digits = answer.trim_start_matches('-');
    (digits.bytes().all(|b| b.is_ascii_digit()) && digits != "0" && !digits.is_empty())
        .then(|| format!("{answer}0"))
}

fn reciprocal(answer: &str) -> Option<String> {
    let rest = answer
        .trim()
        .strip_prefix("\\frac{")
        .or_else(|| answer.trim().strip_prefix("\\dfrac{"))?
        .strip_suffix('}')?;
    let (a, b) = rest.split_once("}{")?;
    (a != b && !a.contains(['{', '}']) && !b.contains(['{', '}'])).then(|| format!("\\frac{{{b}}}{{{a}}}"))
}
