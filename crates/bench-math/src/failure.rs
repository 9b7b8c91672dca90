//! Kinds of failure of a wrong sample, by simple rules. A sample may fail in several ways.

use serde::{Deserialize, Serialize};

use crate::record::{FinishReason, Record};
use math_grade::grade;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No answer was found in the text.
    NoAnswer,
    /// The token budget was used up.
    Truncated,
    /// The text ends in a repetition.
    Loop,
    /// The text has a false calculation `a + b = c` in numbers.
    ArithmeticSlip,
    /// The right answer was boxed or ended an equation, and another answer was given.
    Abandoned,
    /// The answer is neither in a box nor after the word "answer".
    Format,
}

/// The kinds of failure of a sample; none for a right one.
pub fn failures(gold: &str, record: &Record) -> Vec<Failure> {
    if record.verdict.correct {
        return vec![];
    }
    let text = &record.completion;
    let checks = [
        (Failure::NoAnswer, record.verdict.pred_parsed.is_none()),
        (Failure::Truncated, record.finish == FinishReason::Length),
        (Failure::Loop, is_looping(text)),
        (Failure::ArithmeticSlip, arithmetic_slip(text).is_some()),
        (Failure::Abandoned, reached(gold, text)),
        (
            Failure::Format,
            record.verdict.pred_parsed.is_some()
                && !text.contains("\\boxed")
                && !text.to_ascii_lowercase().contains("answer"),
        ),
    ];
    checks.into_iter().filter(|(_, holds)| *holds).map(|(kind, _)| kind).collect()
}

/// Longest repeated unit that is recognised, in bytes.
const MAX_PERIOD: usize = 600;

/// Whether the text ends in at least four copies of a unit of up to 600 bytes that together are at least 160 bytes
/// long (the last copy may be cut).
pub fn is_looping(text: &str) -> bool {
    let bytes = text.trim_end().as_bytes();
    let n = bytes.len();
    (1..=MAX_PERIOD.min(n / 4)).any(|period| {
        let wanted = (4 * period).max(160);
        n >= wanted && (n - wanted + period..n).rev().all(|i| bytes[i] == bytes[i - period])
    })
}

/// The first false calculation: the text of both sides of its equals sign. Only numbers and `+ - * / × \times
/// \cdot \div ( )` count; a decimal result may be rounded.
pub fn arithmetic_slip(text: &str) -> Option<(String, String)> {
    let plain = text
        .replace("\\times", "*")
        .replace("\\cdot", "*")
        .replace("\\div", "/")
        .replace('×', "*")
        .replace('÷', "/")
        .replace("\\,", "");
    let number = |c: char| c.is_ascii_digit() || c == '.';
    for (at, _) in plain.match_indices('=').take(2000) {
        let before = &plain[..at];
        let start = before
            .char_indices()
            .rev()
            .take(120)
            .take_while(|(_, c)| number(*c) || " +-*/()".contains(*c))
            .last()
            .map(|(i, _)| i);
        let Some(start) = start else { continue };
        // A letter, bracket or command just before means that this is only part of the left side.
        let cut = !before[start..].starts_with(' ')
            && before[..start]
                .chars()
                .next_back()
                .is_some_and(|c| !(c.is_whitespace() || "=:$,(".contains(c)));
        let left = before[start..].trim();
        let right_text = plain[at + 1..].trim_start();
        let right =
            &right_text[..right_text.find(|c: char| !(number(c) || c == '-')).unwrap_or(right_text.len())];
        let right = right.trim_end_matches(['.', '-']);
        let after = right_text[right.len()..].trim_start().chars().next();
        let continues = after.is_some_and(|c| c.is_alphanumeric() || "+-*/^%(\\{,".contains(c));
        let operators = left.trim_start_matches('-').chars().any(|c| "+-*/".contains(c));
        if cut
            || !operators
            || right.is_empty()
            || continues
            || !left.starts_with(|c: char| number(c) || c == '(' || c == '-')
        {
            continue;
        }
        let (Some(a), Some(b)) = (value(left), value(right)) else { continue };
        let places = right.split_once('.').map_or(0, |(_, d)| d.len());
        let rounding = if places > 0 { 0.5001 * 10f64.powi(-(places as i32)) } else { 1e-9 * a.abs() };
        if (a - b).abs() > rounding.max(1e-9) {
            return Some((left.to_string(), right.to_string()));
        }
    }
    None
}

/// The value of a sum of products of numbers and brackets.
fn value(text: &str) -> Option<f64> {
    math_grade::plain_value(text)
}

/// Whether the right answer was boxed, or ended an equation, before another was given.
fn reached(gold: &str, text: &str) -> bool {
    let boxed = text.match_indices("\\boxed{").take(20).any(|(i, _)| {
        let window: String = text[i..].chars().take(200).take_while(|c| *c != '\n').collect();
        grade(gold, &first_box(&window)).correct
    });
    let ended = text.rmatch_indices('=').take(200).any(|(i, _)| {
        let side: String = text[i + 1..].chars().take(40).take_while(|c| !"=\n$,;".contains(*c)).collect();
        let side = side.split(". ").next().unwrap_or_default().trim().trim_end_matches(['.', '\\', ')', ']']);
        !side.is_empty() && side.len() < 40 && grade(gold, side).correct
    });
    boxed || ended
}

/// A text up to the end of the box that it starts with.
fn first_box(text: &str) -> String {
    let mut depth = 0_i32;
    let end = text.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == '}' && depth == 0
    });
    end.map_or_else(String::new, |i| text[..=i].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_repetitions_at_the_end() {
        assert!(is_looping(&format!("Let us see. {}", "Wait, let me check again. ".repeat(8))));
        assert!(is_looping(&"0".repeat(200)));
        assert!(!is_looping("The answer is 1111111111."));
        assert!(!is_looping(&format!("{} So the answer is 4.", "again ".repeat(100))));
    }

    #[test]
    fn slips_are_false_calculations_in_numbers() {
        for (text, slip) in [
            ("We have 12 * 3 = 36 and 36 + 5 = 42.", true),
            ("We have 12 \\times 3 = 36 and 36 + 5 = 41.", false),
            ("x + 3 = 10 and 2x = 8", false),
            ("10 / 3 = 3.33", false),
            ("10 / 3 = 3.34", true),
            ("5 - 7 = -2", false),
            ("3 + 4 = 7x", false),
            ("f(2) + 3 = 9", false),
            ("(2 + 3) * 4 = 24", true),
        ] {
            assert_eq!(arithmetic_slip(text).is_some(), slip, "{text}");
        }
    }

    #[test]
    fn an_answer_reached_and_left_is_seen() {
        assert!(reached("204", "so $t = 204$. But wait, perhaps \\boxed{205}"));
        assert!(reached("\\frac{1}{2}", "first \\boxed{1/2}, then \\boxed{3}"));
        assert!(!reached("204", "so $t = 203$, hence \\boxed{205}"));
    }
}
