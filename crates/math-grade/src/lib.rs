//! Is the answer that a text gives equal to a reference answer?
//!
//! [`grade`] extracts ([`extract()`]), reads and compares. It is deterministic, never panics, and its work is
//! bounded by budgets of steps, depth and length, never by a clock. The conventions are Math-Verify 0.9's
//! (Kydlíček, Hugging Face 2025) with boxes first, as it recommends for rewards. It is stricter in these places,
//! all of which a policy under optimisation would find: two known units must agree, power included; two bases
//! must; a decimal equals a number that rounds to it at six places only within one part in ten thousand; a
//! prediction may not bring variables of its own, even if they cancel; text must match.

mod ast;
mod boxes;
mod canon;
mod compare;
mod complex;
mod equal;
mod evaluate;
mod exact;
mod extract;
mod lex;
mod parse;
mod region;
#[cfg(test)]
mod srepr;
mod unit;

use ast::Expr;
use equal::{Outcome, Scalars};
use extract::{Body, Candidate};
use lex::{Words, words_of};
use parse::{Answer, parse};

/// What the grader found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// Whether the prediction's answer equals the reference.
    pub correct: bool,
    /// The reference as it was understood; `None` if nothing could be read.
    pub gold_parsed: Option<String>,
    /// The prediction's answer as it was understood; `None` if there was none.
    pub pred_parsed: Option<String>,
    /// Why, in a short phrase.
    pub reason: String,
}

/// The answer that a text gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The answer's own text, without box, dollar signs or anchor words.
    pub answer: Option<String>,
    /// A box was opened and never closed: the text was cut off in its answer.
    pub truncated: bool,
}

/// What an answer may be written as; the names are Math-Verify's.
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
pub struct Options {
    /// Decimal places to which a decimal is compared, at most 100; default 6.
    #[serde(alias = "precision", alias = "float_rounding")]
    pub float_places: u32,
    /// How answers may be written; default all.
    pub match_types: Vec<MatchType>,
    /// Whether the names of variables and the order of a tuple count; default true.
    pub strict: bool,
    /// Whether a relation may answer a reference that is a set (the reverse always may); default false.
    pub allow_set_relation_comp: bool,
    /// Whether everything up to the last `</think>` is ignored (if there is one); default false: a box in the
    /// thoughts counts if nothing follows it.
    pub after_think_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            float_places: 6,
            match_types: vec![MatchType::Latex, MatchType::Expr, MatchType::String],
            strict: true,
            allow_set_relation_comp: false,
            after_think_only: false,
        }
    }
}

/// Judges `pred` (a whole response, or a bare answer) against `gold` (likewise). Never panics; the work is bounded.
///
/// ```
/// use math_grade::grade;
/// assert!(grade("(3, \\frac{\\pi}{2})", "… so the point is $\\boxed{(3, \\pi/2)}$.").correct);
/// assert!(!grade("15\\mbox{ cm}^2", "15 cm^3").correct);
/// ```
pub fn grade(gold: &str, pred: &str) -> Verdict {
    grade_with(gold, pred, &Options::default())
}

/// [`grade`] with other options.
pub fn grade_with(gold: &str, pred: &str, options: &Options) -> Verdict {
    let pred_text = pred;
    let gold = read(gold, options);
    let mut pred = read(pred_text, options);
    // Multiple choice: "the answer is (C)".
    if options.match_types.contains(&MatchType::String)
        && let Some(Expr::Sym(_) | Expr::Const(_)) = gold.answer.as_ref().map(|a| &a.expr)
        && gold.text.as_deref().is_some_and(extract::is_choice)
        && !pred.text.as_deref().is_some_and(extract::is_choice)
        && let Some(letter) = extract::choice(tail(pred_text, options))
    {
        pred = Reading {
            text: Some(letter.to_string()),
            answer: parse(letter, Words::Letters).ok(),
            second: None,
        };
    }
    let show = |r: &Reading| r.answer.as_ref().map(|a| a.expr.to_string()).or_else(|| r.text.clone());
    let outcome = judge(&gold, &pred, options);
    Verdict {
        correct: outcome.is_equal(),
        gold_parsed: show(&gold),
        pred_parsed: show(&pred),
        reason: outcome.reason().to_string(),
    }
}

/// The answer that `text` gives, as text: what a record keeps.
pub fn extract(text: &str) -> Extraction {
    extract_with(text, &Options::default())
}

/// [`extract()`] with other options.
pub fn extract_with(text: &str, options: &Options) -> Extraction {
    let reading = read(text, options);
    Extraction { answer: reading.text, truncated: boxes::unclosed(tail(text, options)) }
}

/// The canonical name of an answer's equivalence class is its first member: `classes[i]` is the class of
/// `answers[i]`, numbered by first appearance; `None` for a missing answer. Equality is that of [`grade`], either
/// way round.
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

/// What was made of one text.
struct Reading {
    /// The extracted text of the best candidate, readable or not.
    text: Option<String>,
    answer: Option<Answer>,
    /// Another reading of an ambiguous bare text: `1,22` as a decimal.
    second: Option<Answer>,
}

fn judge(gold: &Reading, pred: &Reading, options: &Options) -> Outcome {
    let mut scalars = Scalars::new(options.float_places);
    scalars.relation_for_set = options.allow_set_relation_comp;
    let mut last = Outcome::Unequal("no answer found");
    for g in gold.answer.iter().chain(&gold.second) {
        for p in pred.answer.iter().chain(&pred.second) {
            last = answers(g, p, &mut scalars);
            if !last.is_equal() && !options.strict {
                let expr = |a: &Answer| Answer { expr: compare::loose(&a.expr), unit: a.unit.clone() };
                last = answers(&expr(g), &expr(p), &mut scalars);
            }
            if last.is_equal() {
                return last;
            }
        }
    }
    // What could not be read as mathematics is compared as text.
    match (&gold.text, &pred.text) {
        (Some(g), Some(p)) if gold.answer.is_none() && pred.answer.is_none() => {
            Outcome::of(!g.is_empty() && tidy(g) == tidy(p), "same text", "different text")
        }
        (Some(_), Some(_)) if gold.answer.is_none() => Outcome::Unequal("the reference could not be read"),
        (Some(_), Some(_)) if pred.answer.is_none() => Outcome::Unequal("the prediction could not be read"),
        _ => last,
    }
}

fn answers(gold: &Answer, pred: &Answer, scalars: &mut Scalars) -> Outcome {
    let (Some(a), Some(b)) = (&gold.unit, &pred.unit) else {
        return compare::compare(&gold.expr, &pred.expr, scalars);
    };
    match b.ratio(a) {
        None => Outcome::Unequal("different units"),
        Some(ratio) if ratio == num_rational::BigRational::from_integer(1.into()) => {
            compare::compare(&gold.expr, &pred.expr, scalars)
        }
        Some(ratio) => {
            let converted = Expr::Mul(vec![pred.expr.clone(), Expr::Num(ratio)]);
            compare::compare(&gold.expr, &converted, scalars)
        }
    }
}

fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The part of `text` that is looked at.
fn tail<'a>(text: &'a str, options: &Options) -> &'a str {
    let mut text = text;
    if options.after_think_only
        && let Some(i) = text.rfind("</think>")
    {
        text = &text[i + "</think>".len()..];
    }
    let from = text.len().saturating_sub(extract::MAX_TEXT);
    &text[(from..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len())..]
}

/// Reads a text: as a bare answer if it is one, else from its best readable candidate.
fn read(text: &str, options: &Options) -> Reading {
    let text = tail(text, options);
    let may = |kind: MatchType| options.match_types.contains(&kind);
    if (may(MatchType::Latex) || !text.contains('\\'))
        && (may(MatchType::Expr) || text.contains('\\') || may(MatchType::String) && extract::is_choice(text))
        && let Some(reading) = bare(text)
    {
        return reading;
    }
    let mut first_text = None;
    for priority in [0, 50, 100, 200, 300] {
        // Tags of a template come before mere words.
        if priority == 100
            && let Some(inner) = extract::tagged(text)
        {
            return read(inner, options);
        }
        for candidate in extract::candidates(text, priority) {
            if !may(if matches!(candidate.body, Body::Latex(_)) { MatchType::Latex } else { MatchType::Expr })
            {
                continue;
            }
            if first_text.is_none() {
                first_text = Some(candidate.body.text().to_string());
            }
            if let Some(answer) = understand(&candidate) {
                return Reading {
                    text: Some(candidate.body.text().to_string()),
                    answer: Some(answer),
                    second: None,
                };
            }
        }
    }
    Reading { text: first_text, answer: None, second: None }
}

/// A text that is nothing but an answer: no delimiters, no prose.
fn bare(text: &str) -> Option<Reading> {
    // A dollar sign alone is money; two are mathematics.
    let trimmed = match text.trim() {
        t if t.matches('$').count() == 1 => t.trim_end_matches('$'),
        t => t,
    };
    let trimmed = trimmed.trim_end_matches(['€', '£', '¥', '₹']).trim();
    let delimiters = trimmed.matches('$').count() - trimmed.matches("\\$").count();
    if trimmed.len() > lex::MAX_LENGTH || delimiters > usize::from(trimmed.starts_with('$')) {
        return None;
    }
    let delimited =
        ["\\(", "\\[", "$$", "\\boxed", "\\fbox", "answer", "Answer"].iter().any(|d| trimmed.contains(d));
    if delimited || trimmed.is_empty() {
        return None;
    }
    let answer = parse(trimmed, words_of(trimmed)).ok().filter(|a| !is_prose(&a.expr))?;
    // A comma between digits may be a decimal comma, unless it separates thousands.
    let list = matches!(answer.expr, Expr::Set(_));
    let second = trimmed.split_once(',').filter(|(a, b)| {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        list && digits(a.strip_prefix('-').unwrap_or(a)) && digits(b)
    });
    let second = second.and_then(|(a, b)| parse(&format!("{a}.{b}"), Words::Text).ok());
    Some(Reading { text: Some(trimmed.to_string()), answer: Some(answer), second })
}

/// More than one word of running text in one element.
fn is_prose(e: &Expr) -> bool {
    fn words(e: &Expr) -> usize {
        let name =
            |n: &str| n.chars().filter(|c| c.is_alphabetic()).count() > 1 && !n.contains(['_', '\\', '{']);
        let here = matches!(e, Expr::Sym(n) if name(n));
        usize::from(here) + e.children().into_iter().map(words).sum::<usize>()
    }
    match e {
        Expr::Set(xs) => xs.iter().any(is_prose),
        e => words(e) > 1,
    }
}

/// Reads a candidate; a chain of equations that cannot be read is cut down to its last side.
fn understand(candidate: &Candidate) -> Option<Answer> {
    match &candidate.body {
        Body::Latex(text) => {
            let text = boxes::last(text).map_or_else(|| text.clone(), |b| b.content);
            parse(&text, Words::Letters)
                .ok()
                .or_else(|| last_side(&text).and_then(|side| parse(side, Words::Letters).ok()))
        }
        Body::Number(text) | Body::Plain(text) => parse(text, Words::Text).ok(),
    }
}

/// What follows the last `=` of three sides or more, where there is no list.
fn last_side(text: &str) -> Option<&str> {
    if text.contains([',', ';']) {
        return None;
    }
    let equals: Vec<usize> = text
        .match_indices('=')
        .map(|(i, _)| i)
        .filter(|&i| !text[..i].ends_with(['\\', '<', '>', '!']))
        .collect();
    equals.last().filter(|_| equals.len() > 1).map(|i| &text[i + 1..])
}

/// A file of the shared test data (`$SPARKS_SHARED` or `../shared`, its `data` folder); where it is absent, a
/// message and `None`, and the test that wanted it passes.
#[cfg(test)]
pub(crate) fn shared_data(name: &str) -> Option<std::path::PathBuf> {
    let shared = std::env::var_os("SPARKS_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        std::path::PathBuf::from,
    );
    let path = shared.join("data").join(name);
    if !path.exists() {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: {} is absent", path.display());
        }
        return None;
    }
    Some(path)
}
