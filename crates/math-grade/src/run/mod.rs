//! Expressions in running text, without delimiters: from where one begins to where it ends. An expression is taken
//! whole, operators, roots, fractions, powers, brackets and LaTeX commands included; it is never cut to its first
//! number.

mod tokens;

use super::vocabulary::{each, has};

/// An expression found in running text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// What it says, with plain numbers (no separators of thousands).
    pub(crate) text: String,
    pub(crate) end: usize,
}

/// Longest expression in running text, in bytes.
const MAX_RUN: usize = 400;
const FUNCTIONS: &str = "sqrt|cbrt|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|ln|log|exp|floor|ceil|abs|\
    gcd|lcm|max|min|binom|root";
const CURRENCIES: &str = "US\\$|US$|USD |EUR |\\$|$|€|£|¥|₹|₽|₩|₫|฿";

struct Scan<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// Closing brackets to come.
    open: Vec<char>,
    /// The last token completes an operand.
    operand: bool,
    /// Variables and text may begin it.
    announced: bool,
    /// The end of the output, and of the input, up to which the expression is whole.
    whole: (usize, usize),
}

/// The expression that begins at `at`. One that begins with a variable is only taken where `variables` may stand, in
/// announcements and after another value.
pub(crate) fn run(text: &str, at: usize, variables: bool) -> Option<Run> {
    let mut start = at + text[at..].len() - text[at..].trim_start_matches("**").len();
    let signed = text[start..].strip_prefix(['-', '−', '–', '+']);
    let money = signed.unwrap_or(&text[start..]);
    let mut scan = Scan {
        text,
        at: start,
        out: String::new(),
        open: vec![],
        operand: false,
        announced: variables,
        whole: (0, 0),
    };
    if let Some(sign) = each(CURRENCIES).find(|c| money.starts_with(*c))
        && money[sign.len()..]
            .trim_start_matches(['-', '−', ' '])
            .starts_with(|c: char| c.is_ascii_digit() || c == '.')
    {
        if signed.is_some() {
            scan.out.push_str(if text[start..].starts_with('+') { "" } else { "-" });
        }
        start = text.len() - money.len() + sign.len();
        scan.at = start;
    }
    // A value without announcement begins with no variable, and a sign stands right at it.
    let unsigned = scan.rest().trim_start_matches(['(', '-', '−', '–', '+']);
    let variable = unsigned.starts_with(|c: char| c.is_ascii_alphabetic()) && !scan.function_ahead();
    let dash = scan
        .rest()
        .strip_prefix(['-', '−', '–', '+', '*'])
        .is_some_and(|r| r.starts_with(char::is_whitespace));
    if !variables && (variable || dash) || !scan.begins_value() {
        return None;
    }
    while scan.at < text.len() && scan.at - start < MAX_RUN && scan.step() {}
    let (length, end) = scan.whole;
    if length == 0 {
        return None;
    }
    scan.out.truncate(length);
    if text[end..].starts_with('+') {
        scan.out.push('+'); // "20+" is a bound, and cannot be read
    }
    Some(Run { text: scan.out, end })
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn before(&self) -> Option<char> {
        self.text[..self.at].chars().next_back()
    }

    /// Whether what begins here could be a value: a digit, sign, root, bracket, variable, relation, LaTeX command.
    fn begins_value(&self) -> bool {
        let rest = self.rest();
        let unsigned = rest
            .trim_start_matches(['-', '−', '–', '+', '±', '(', '[', '≥', '≤', '<', '>', '≠', '≈', '=', ' ']);
        unsigned.starts_with(|c: char| {
            c.is_ascii_alphanumeric() || symbol(c) || "√∛½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞{|.∅⌊⌈".contains(c)
        }) || unsigned.starts_with('\\')
            && unsigned[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '{')
            || rest.starts_with("**")
    }

    fn function_ahead(&self) -> bool {
        let word = self.word();
        let after = &self.rest()[word.len()..];
        let base = after.trim_start_matches(|c: char| "₀₁₂₃₄₅₆₇₈₉".contains(c));
        let base = base
            .strip_prefix('_')
            .map_or(base, |b| b.trim_start_matches(|c: char| c.is_alphanumeric() || "{}".contains(c)));
        let after = if matches!(word, "log" | "lg") { base } else { after };
        word == "pi"
            || has(FUNCTIONS, word)
                && (after.starts_with('(')
                    || after.trim_start().starts_with(|c: char| c.is_ascii_digit() || "√π(".contains(c)))
    }

    /// The letters that begin here.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        &rest[..rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())]
    }

    fn take(&mut self, bytes: usize, operand: bool) -> bool {
        let piece = &self.text[self.at..self.at + bytes];
        self.out.push_str(piece);
        self.at += bytes;
        self.done(operand)
    }

    fn done(&mut self, operand: bool) -> bool {
        self.operand = operand;
        if operand && self.open.is_empty() {
            self.whole = (self.out.len(), self.at);
        }
        true
    }

    /// Takes the next token; false where the expression ends.
    fn step(&mut self) -> bool {
        let blank = self.rest().len() - self.rest().trim_start_matches([' ', '\u{a0}', '\u{202f}']).len();
        let spaced = blank > 0;
        let Some(c) = self.rest()[blank..].chars().next() else { return false };
        if spaced {
            self.at += blank;
            self.out.push(' ');
        }
        let rest = self.rest();
        let next = rest[c.len_utf8()..].chars().next();
        match c {
            '0'..='9' | '.' if c != '.' || next.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '.' => false,
            'a'..='z' | 'A'..='Z' => self.letters(spaced),
            '\\' => self.command(),
            '*' if rest.starts_with("**") => {
                !spaced
                    && self.operand
                    && rest[2..].starts_with(|c: char| c.is_ascii_alphanumeric() || "(-".contains(c))
                    && self.take(2, false)
            }
            '!' if rest.starts_with("!=") => self.take(2, false),
            '!' | '%' | '°' | '′' => self.operand && !spaced && self.take(c.len_utf8(), true),
            '\'' => self.operand && !spaced && next == Some('(') && self.take(1, true),
            '^' | '_' => {
                let script = next.is_some_and(|c| c.is_ascii_alphanumeric() || "{(-−".contains(c));
                self.operand && script && self.take(1, false) && self.script()
            }
            '(' | '[' | '⌊' | '⌈' => self.bracket(c, spaced),
            '{' => self.bracket(c, spaced),
            ')' | ']' | '}' | '⌋' | '⌉' => match self.open.pop() {
                Some(_) => self.take(c.len_utf8(), true),
                None => false,
            },
            '$' | '€' | '£' | '¥' | '₹' => {
                // 20*$3
                let amount = !self.operand && next.is_some_and(|c| c.is_ascii_digit() || c == '.');
                self.at += if amount { c.len_utf8() } else { 0 };
                amount
            }
            '|' => self.bars(),
            ',' | ';' => !self.open.is_empty() && self.take(1, false),
            ':' => {
                let ratio = self.operand
                    && next.is_some_and(|c| c.is_ascii_digit() || c == ' ')
                    && rest[1..].trim_start().starts_with(|c: char| c.is_ascii_digit())
                    && (spaced == (next == Some(' ')));
                ratio && self.take(1, false)
            }
            '/' => self.operand && rest[1..].trim_start().starts_with(value_start) && self.take(1, false),
            '*' => {
                let even = spaced == next.is_some_and(char::is_whitespace);
                even && self.operand && rest[1..].trim_start().starts_with(value_start) && self.take(1, false)
            }
            '√' | '∛' | '∜' | '¬' => self.take(c.len_utf8(), false),
            '½' | '⅓' | '⅔' | '¼' | '¾' | '⅕' | '⅖' | '⅗' | '⅘' | '⅙' | '⅚' | '⅐' | '⅛' | '⅜' | '⅝' | '⅞'
            | '⅑' | '⅒' => self.take(c.len_utf8(), true),
            _ if operator(c) => self.take(c.len_utf8(), false),
            _ if symbol(c) || "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ₀₁₂₃₄₅₆₇₈₉∅".contains(c) => {
                self.take(c.len_utf8(), true)
            }
            _ => false,
        }
    }
}

fn operator(c: char) -> bool {
    "+-−–=<>≤≥≠≈≡±∓×÷·⋅∙∗⁄∈∉∪∩∖∨∧".contains(c)
}

/// Characters that are operands by themselves.
fn symbol(c: char) -> bool {
    matches!(c, '∞' | 'ℕ' | 'ℤ' | 'ℚ' | 'ℝ' | 'ℂ')
        || matches!(c, 'α'..='ω' | 'Γ' | 'Δ' | 'Θ' | 'Λ' | 'Ξ' | 'Π' | 'Σ' | 'Φ' | 'Ψ' | 'Ω')
}

fn number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn value_start(c: char) -> bool {
    c.is_ascii_digit() || symbol(c) || "(√-−∛\\".contains(c) || c.is_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_taken_whole() {
        for (text, expected) in [
            ("10 - 2√5, so", "10 - 2√5"),
            ("3½.", "3½"),
            ("17 - a prime", "17"),
            ("17 (see above).", "17"),
            ("1,234.50 dollars", "1234.50"),
            ("2 x 10^6.", "2 × 10^6"),
            ("(1 + √5)/2.", "(1 + √5)/2"),
            ("3+4i", "3+4i"),
            ("9a^2b and", "9a^2b"),
            ("**17** is", "17"),
            ("\\$18.00", "18.00"),
            ("2\\sqrt{3}.", "2\\sqrt{3}"),
            ("12:00.", "12:00"),
            ("5! = 120", "5! = 120"),
            ("10!/5!", "10!/5!"),
            ("5!", "5!"),
            ("20th century", "20"),
            ("≥ 5.", "≥ 5"),
            ("17, which", "17"),
        ] {
            assert_eq!(
                run(text, 0, false).expect("an expression").text.replace("  ", " "),
                expected,
                "{text}"
            );
        }
        assert_eq!(run("x = 3.", 0, true).expect("an expression").text, "x = 3");
        assert_eq!(run("apples", 0, true), None);
        assert_eq!(run("a triangle", 0, true), None);
    }
}
