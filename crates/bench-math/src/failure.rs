//! Kinds of failure of a wrong sample, by simple rules. A sample may fail in several ways; the first is its main one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::record::{FinishReason, Record};
use math_grade::grade;

/// A kind of failure, in the order of [`Failure::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The text ends in a repetition.
    Loop,
    /// The token budget was used up.
    Truncated,
    /// The right answer was boxed or ended an equation, and another was announced as the answer.
    Abandoned,
    /// The right answer ended an equation, and no answer is announced.
    Unannounced,
    /// No answer was found in the text.
    NoAnswer,
    /// The text has a false calculation `a + b = c` in numbers.
    ArithmeticSlip,
    /// The text calculates, and a number of the problem stands nowhere in it.
    LeftOut,
    /// The text calculates without a mistake, and what it calculates is not what was asked. No other kind holds.
    WrongSteps,
    /// A wrong answer without a calculation. No other kind holds.
    WrongAnswer,
}

impl Failure {
    /// Every kind; of those that hold for a sample the first is its main one.
    pub const ALL: [Self; 9] = [
        Self::Loop,
        Self::Truncated,
        Self::Abandoned,
        Self::Unannounced,
        Self::NoAnswer,
        Self::ArithmeticSlip,
        Self::LeftOut,
        Self::WrongSteps,
        Self::WrongAnswer,
    ];
}

/// The kinds of failure of a sample, the main one first; none for a right sample, at least one for a wrong one.
pub fn failures(problem: &Problem, record: &Record) -> Vec<Failure> {
    if record.verdict.correct {
        return vec![];
    }
    let text = &record.completion;
    let (reached, announced) = (reached(&problem.answer, text), announced(text));
    let sums = calculations(text);
    let checks = [
        (Failure::Loop, is_looping(text)),
        (Failure::Truncated, record.finish == FinishReason::Length),
        (Failure::Abandoned, reached && announced),
        (Failure::Unannounced, reached && !announced),
        (Failure::NoAnswer, record.verdict.pred_parsed.is_none()),
        (Failure::ArithmeticSlip, sums.iter().any(|sum| !sum.holds)),
        (Failure::LeftOut, !sums.is_empty() && !numbers(&problem.problem).is_subset(&numbers(text))),
    ];
    let found: Vec<Failure> = checks.into_iter().filter(|(_, holds)| *holds).map(|(kind, _)| kind).collect();
    match (found.is_empty(), sums.is_empty()) {
        (false, _) => found,
        (true, false) => vec![Failure::WrongSteps],
        (true, true) => vec![Failure::WrongAnswer],
    }
}

/// Whether the text says which value is its answer: a box, `####`, the word "answer", or what follows its reasoning.
fn announced(text: &str) -> bool {
    ["\\boxed", "####", "</think>"].iter().any(|mark| text.contains(mark))
        || text.to_ascii_lowercase().contains("answer")
}

/// The whole and decimal numbers in a text, without leading zeros.
fn numbers(text: &str) -> BTreeSet<String> {
    let plain = ungrouped(text);
    let words = plain.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let number = |word: &str| {
        let word = word.trim_matches('.').trim_start_matches('0');
        word.chars().any(|c| c.is_ascii_digit()).then(|| word.to_owned())
    };
    words.filter_map(number).collect()
}

/// The text without commas before groups of three digits.
fn ungrouped(text: &str) -> String {
    let thousands = |at: usize| text[at + 1..].chars().take_while(char::is_ascii_digit).count() == 3;
    text.char_indices().filter(|&(at, c)| c != ',' || !thousands(at)).map(|(_, c)| c).collect()
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

/// A calculation in numbers, with both sides of its equals sign as they are written.
struct Calculation {
    left: String,
    right: String,
    holds: bool,
}

/// The first false calculation: the text of both sides of its equals sign. Only numbers and `+ - * / × \times
/// \cdot \div ( )` count, an `x` between numbers, and dollars and a unit beside them; a decimal result may be rounded.
pub fn arithmetic_slip(text: &str) -> Option<(String, String)> {
    calculations(text).into_iter().find(|sum| !sum.holds).map(|sum| (sum.left, sum.right))
}

/// The calculations in a text.
fn calculations(text: &str) -> Vec<Calculation> {
    let marks = [("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("×", "*"), ("÷", "/"), ("\\,", "")];
    let plain = marks.iter().fold(ungrouped(text), |text, (from, to)| text.replace(from, to));
    let digit = |side: &str, first: bool| {
        let side = side.trim_matches([' ', '$']);
        let next = if first { side.chars().next() } else { side.chars().next_back() };
        next.is_some_and(|c| c.is_ascii_digit())
    };
    // `$3 x 4 = $12`: dollars are left out, and an x between numbers multiplies.
    let one = |(at, c): (usize, char)| match c {
        '$' if plain[at + 1..].starts_with(|c: char| c.is_ascii_digit()) => None,
        'x' if digit(&plain[..at], false) && digit(&plain[at + 1..], true) => Some('*'),
        c => Some(c),
    };
    let plain: String = plain.char_indices().filter_map(one).collect();
    plain.match_indices('=').take(2000).filter_map(|(at, _)| calculation(&plain, at)).collect()
}

/// The calculation whose equals sign is at `at`, if both sides are numbers and it is not a part of another.
fn calculation(plain: &str, at: usize) -> Option<Calculation> {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let before = &plain[..at];
    let start = before
        .char_indices()
        .rev()
        .take(120)
        .take_while(|(_, c)| number(*c) || " +-*/()".contains(*c))
        .last()
        .map(|(i, _)| i)?;
    // A letter, bracket or command just before means that this is only part of the left side.
    let cut = !before[start..].starts_with(' ')
        && before[..start].chars().next_back().is_some_and(|c| !(c.is_whitespace() || "=:;>$,(".contains(c)));
    let left = before[start..].trim();
    let right_text = plain[at + 1..].trim_start();
    let right =
        &right_text[..right_text.find(|c: char| !(number(c) || c == '-')).unwrap_or(right_text.len())];
    let right = right.trim_end_matches(['.', '-']);
    let rest = &right_text[right.len()..];
    // A unit after a space is none of it.
    let unit =
        rest.starts_with(' ') && rest.trim_start().chars().take_while(|c| c.is_alphabetic()).count() > 1;
    let after = rest.trim_start().chars().next();
    let continues = !unit && after.is_some_and(|c| c.is_alphanumeric() || "+-*/^%(\\{,".contains(c));
    let operators = left.trim_start_matches('-').chars().any(|c| "+-*/".contains(c));
    if cut
        || !operators
        || right.is_empty()
        || continues
        || !left.starts_with(|c: char| number(c) || c == '(' || c == '-')
    {
        return None;
    }
    let (a, b) = (value(left)?, value(right)?);
    let places = right.split_once('.').map_or(0, |(_, d)| d.len());
    let rounding = if places > 0 { 0.5001 * 10f64.powi(-(places as i32)) } else { 1e-9 * a.abs() };
    let holds = (a - b).abs() <= rounding.max(1e-9);
    Some(Calculation { left: left.to_owned(), right: right.to_owned(), holds })
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
            ("3 + 4 = 8 eggs", true),
            ("3 + 4 = 8 x", false),
            ("It costs $20 x 50 = $1,000 a week.", false),
            ("$80,000 + $50,000 = $131,000", true),
            ("so $3 + 4 = 7$ and $2x = 9$", false),
            ("f(2) + 3 = 9", false),
            ("(2 + 3) * 4 = 24", true),
            ("<think>61+48=109;109+43=142</think>142", true),
            ("<think>61+48=109;109+43=152</think>152", false),
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

    #[test]
    fn every_wrong_sample_has_a_main_kind() {
        let main = |completion: &str, finish: FinishReason| {
            let problem = Problem {
                id: "a".into(),
                problem: "Ann has 61 pens, 48 more, and 1,043 at home. How many?".into(),
                answer: "1152".into(),
                source: None,
                subject: None,
                level: None,
            };
            let verdict = grade(&problem.answer, completion);
            let record = Record {
                id: "a".into(),
                sample: 0,
                seed: 0,
                prompt: crate::prompt::Prompt::Text(String::new()),
                completion: completion.into(),
                ids: Vec::new(),
                finish,
                answer: None,
                cut_off: false,
                verdict,
            };
            failures(&problem, &record).first().copied()
        };
        let looping = format!("It is {}", "not 7, so ".repeat(30));
        for (completion, kind) in [
            ("61+48=109, 109+1043=1152. The answer is 1152.", None),
            (looping.as_str(), Some(Failure::Loop)),
            ("61+48=109;109+1043=1152. Twice that: the answer is 2304.", Some(Failure::Abandoned)),
            ("61+48=109, 109+1043=1152\nThat makes 2 heaps.", Some(Failure::Unannounced)),
            ("I do not know.", Some(Failure::NoAnswer)),
            ("<think>61+48=109;109+1043=1142</think>1142", Some(Failure::ArithmeticSlip)),
            ("<think>61+48=109</think>109", Some(Failure::LeftOut)),
            ("<think>61+48=109;1043-109=934</think>934", Some(Failure::WrongSteps)),
            ("1142", Some(Failure::WrongAnswer)),
        ] {
            assert_eq!(main(completion, FinishReason::Eos), kind, "{completion}");
        }
        assert_eq!(main("61+48=109; then", FinishReason::Length), Some(Failure::Truncated));
    }
}
