//! A deterministic grader of mathematics: is the answer that a text gives equal to a reference answer?
//!
//! [`grade`] takes a reference and a response (a whole text or a bare answer), extracts the answer ([`extract()`]),
//! parses it and compares. It is made for evaluation and for rewards in reinforcement learning, where a false positive
//! costs more than a false negative.
//!
//! ```
//! use math_grade::grade;
//! let verdict = grade(r"10-2\sqrt{5}", "**Answer:** 10 - 2√5");
//! assert!(verdict.correct, "{}", verdict.reason);
//! assert!(!grade("10", "**Answer:** 10 - 2√5").correct);
//! assert!(!grade("7", "The answer is 7 or 8.").correct);
//! assert!(grade("9", r"First I get \boxed{4}. That was wrong; it is \boxed{9}.").correct);
//! ```
//!
//! # What it reads
//! Numbers (thousands separators, decimals, percent, scientific notation, bases, units, currency, times of day),
//! expressions in LaTeX, Unicode or plain text, equations and inequalities, sets, intervals and their unions, tuples,
//! matrices, systems of equations, letters of multiple-choice options, text answers. Answers are announced by
//! `\boxed{}`, `####`, `<answer>` or "answer" in some twenty languages.
//!
//! # What it is not
//! Not a computer algebra system: it proves equality by canonical forms of polynomials and roots, else compares values
//! at seeded points with 384 bits. Symbolic sums, integrals and limits are compared as they are written. Not a judge of
//! proofs or free text. It uses no clock, no network and no randomness: equal input gives equal output.
//!
//! # Conventions
//! Those of Math-Verify 0.9 (Kydlíček, Hugging Face 2025) with boxes first, which it recommends for rewards. It is
//! stricter in these places:
//!
//! - Two units that are both known must agree, power included; so must two bases, and a.m. and p.m.
//! - A decimal equals a number that rounds to it at six places only within one part in ten thousand.
//! - A prediction may not bring variables of its own, even if they cancel. Text must match.
//! - An expression in running text is taken whole or not at all; it is never cut to its first number.
//! - Alternatives, ranges, bounds and negations ("7 or 8", "at least 7", "not 7") are not the number.
//!
//! Degrees are a unit and are dropped: 180° equals 180, not π.
//!
//! # Bounds
//! Work is limited by counts (256 KiB of text, 8 KiB and 2,048 tokens an answer, 64 levels, steps of comparison and
//! evaluation). No input makes it panic or hang; what exceeds a limit is not equal.

mod anchor;
mod ast;
mod boxes;
mod canon;
mod choice;
mod clock;
mod compare;
mod complex;
mod environment;
mod equal;
mod evaluate;
mod exact;
mod extract;
mod judge;
mod lex;
mod parse;
mod plain;
mod reading;
mod region;
mod run;
#[cfg(test)]
mod srepr;
mod unicode;
mod unit;
mod vocabulary;
mod words;

use lex::Words;
use parse::parse;
use reading::Reading;

/// The result of grading one response.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// Whether the prediction's answer equals the reference.
    pub correct: bool,
    /// The parsed reference; `None` if it has no answer.
    pub gold_parsed: Option<String>,
    /// The parsed answer of the prediction; `None` if it has none.
    pub pred_parsed: Option<String>,
    /// The reason in a short phrase.
    pub reason: String,
}

/// The answer that a text gives, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The answer's own text, without box, dollar signs or anchor words.
    pub answer: Option<String>,
    /// It is the whole text, or in a box or a tag, or words say that it is the answer; else it is merely the last
    /// expression, which in a text that was cut off may be any.
    pub announced: bool,
    /// A box was opened and never closed: the text was cut off in its answer.
    pub truncated: bool,
}

/// Notations in which an answer is accepted; the names are Math-Verify's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchType {
    /// LaTeX: boxes, environments, bare text with commands.
    Latex,
    /// Plain numbers and calculations.
    Expr,
    /// The letter of an option.
    String,
}

/// How to grade. `Default` is what [`grade`] uses. Reads from JSON; Math-Verify's names are understood too
/// (`precision` and `float_rounding` for `float_places`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradeOptions {
    /// Decimal places to which a decimal is compared, at most 100; default 6.
    #[serde(alias = "precision", alias = "float_rounding")]
    pub float_places: u32,
    /// How answers may be written; default all.
    pub match_types: Vec<MatchType>,
    /// Whether the names of variables and the order of a tuple count; default true.
    pub strict: bool,
    /// Whether a relation may answer a reference that is a set (the reverse always may); default false.
    pub allow_set_relation_comp: bool,
    /// Whether everything up to the last `</think>` is ignored (if there is one); default false: a box in the reasoning
    /// counts if no other follows.
    pub after_think_only: bool,
}

impl Default for GradeOptions {
    fn default() -> Self {
        GradeOptions {
            float_places: 6,
            match_types: vec![MatchType::Latex, MatchType::Expr, MatchType::String],
            strict: true,
            allow_set_relation_comp: false,
            after_think_only: false,
        }
    }
}

/// Compares the answer of `pred` with that of `gold`; each is a whole response or a bare answer. Never panics; the work is
/// bounded.
///
/// ```
/// use math_grade::grade;
/// assert!(grade("(3, \\frac{\\pi}{2})", "… so the point is $\\boxed{(3, \\pi/2)}$.").correct);
/// assert!(!grade("15\\mbox{ cm}^2", "15 cm^3").correct);
/// ```
pub fn grade(gold: &str, pred: &str) -> Verdict {
    grade_with(gold, pred, &GradeOptions::default())
}

/// [`grade`] with other options.
pub fn grade_with(gold: &str, pred: &str, options: &GradeOptions) -> Verdict {
    let reference = reading::read(gold, options);
    let mut answer = reading::read(pred, options);
    // Multiple choice: "the answer is (C)".
    if options.match_types.contains(&MatchType::String)
        && reference.letter().is_some()
        && answer.letter().is_none()
        && let Some(letter) = extract::choice(reading::tail(pred, options))
    {
        answer = Reading::of_letter(letter);
    }
    let outcome = judge::judge(&reference, &answer, options);
    Verdict {
        correct: outcome.is_equal(),
        gold_parsed: reference.shown(),
        pred_parsed: answer.shown(),
        reason: outcome.reason().to_string(),
    }
}

/// The answer that `text` gives, as text: what a record keeps.
pub fn extract(text: &str) -> Extraction {
    extract_with(text, &GradeOptions::default())
}

/// [`extract()`] with other options.
pub fn extract_with(text: &str, options: &GradeOptions) -> Extraction {
    let reading = reading::read(text, options);
    Extraction {
        announced: reading.announced && reading.text.is_some(),
        answer: reading.text,
        truncated: boxes::unclosed(reading::tail(text, options)),
    }
}

/// Groups equal answers: element `i` is the class of `answers[i]`, numbered by first appearance; `None` for a missing
/// answer. Two answers are equal if [`grade`] accepts either as the reference of the other.
pub fn equivalence_classes(answers: &[Option<&str>]) -> Vec<Option<usize>> {
    // An extracted answer has lost its delimiters; a box keeps it from being searched again.
    let boxed = |answer: &str| format!("\\boxed{{{answer}}}");
    let mut members: Vec<String> = Vec::new();
    answers
        .iter()
        .map(|answer| {
            let answer = boxed((*answer)?);
            let known = members
                .iter()
                .position(|m| *m == answer || grade(m, &answer).correct || grade(&answer, m).correct);
            Some(known.unwrap_or_else(|| {
                members.push(answer);
                members.len() - 1
            }))
        })
        .collect()
}

/// The value of a real constant written in LaTeX or plainly, as a float; `None` for anything else.
pub fn plain_value(text: &str) -> Option<f64> {
    let answer = parse(text, Words::Letters).ok().filter(|a| a.unit.is_none())?;
    equal::approximate(&answer.expr, &mut complex::Work::new(1000))
}

/// A file of the shared test data: `$SPARKS_SHARED` or `../shared`, its `data` folder.
#[cfg(test)]
pub(crate) fn shared_data(name: &str) -> std::path::PathBuf {
    let shared = std::env::var_os("SPARKS_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        std::path::PathBuf::from,
    );
    let path = shared.join("data").join(name);
    assert!(path.exists(), "no {}; set SPARKS_SHARED", path.display());
    path
}
