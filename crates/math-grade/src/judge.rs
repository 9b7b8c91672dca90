//! Compares two readings: value with value, unit with unit, letter with letter, and at last text with text.

use super::GradeOptions;
use super::ast::Expr;
use super::choice::unmarked;
use super::compare::{compare, loose, text_of};
use super::equal::{Outcome, Scalars};
use super::parse::Answer;
use super::reading::Reading;

/// Whether the prediction answers as the reference does.
pub(crate) fn judge(gold: &Reading, pred: &Reading, options: &GradeOptions) -> Outcome {
    let mut scalars = Scalars::new(options.float_places);
    scalars.relation_for_set = options.allow_set_relation_comp;
    if pred.refused {
        return Outcome::Unequal("no single value given");
    }
    let plain = values(&gold.answers, &pred.answers, options, &mut scalars);
    if plain.is_some_and(Outcome::is_equal) {
        return plain.unwrap_or(Outcome::Unequal("no answer found"));
    }
    if let (Some(g), Some(p)) = (&gold.text, &pred.text)
        && let (Some(g), Some(p)) = (unmarked(g), unmarked(p))
        && g == p
    {
        return Outcome::Equal("same text");
    }
    if let Some(outcome) = letters(gold, pred, options, &mut scalars) {
        return outcome;
    }
    // What could not be read as mathematics is compared as text.
    match (&gold.text, &pred.text) {
        (Some(g), Some(p)) if gold.answers.is_empty() && pred.answers.is_empty() => {
            Outcome::of(!g.is_empty() && tidy(g) == tidy(p), "same text", "different text")
        }
        (Some(_), Some(_)) if gold.answers.is_empty() => Outcome::Unequal("the reference could not be read"),
        (Some(_), Some(_)) if pred.answers.is_empty() => Outcome::Unequal("the prediction could not be read"),
        _ => plain.unwrap_or(Outcome::Unequal("no answer found")),
    }
}

/// Each reading of one side with each of the other; `None` if a side has none.
fn values(
    gold: &[Answer],
    pred: &[Answer],
    options: &GradeOptions,
    scalars: &mut Scalars,
) -> Option<Outcome> {
    let mut last = None;
    for g in gold {
        for p in pred {
            let mut outcome = answers(g, p, scalars);
            if !outcome.is_equal() && !options.strict {
                let loosely = |a: &Answer| Answer { expr: loose(&a.expr), ..a.clone() };
                outcome = answers(&loosely(g), &loosely(p), scalars);
            }
            let units = g.unit.is_some() && p.unit.is_some();
            if !outcome.is_equal()
                && !units
                && let (Some(g), Some(p)) = (text_of(g), text_of(p))
                && g == p
            {
                outcome = Outcome::Equal("same text");
            }
            if outcome.is_equal() {
                return Some(outcome);
            }
            last = Some(outcome);
        }
    }
    last
}

/// Options of multiple choice: the letter decides where both sides have one, the option's text where one has not. With
/// letter and text on both sides both must agree.
fn letters(gold: &Reading, pred: &Reading, options: &GradeOptions, scalars: &mut Scalars) -> Option<Outcome> {
    let different = Outcome::Unequal("another option");
    let same = |g: char, p: char| Outcome::of(g == p, "same option", "another option");
    match (&gold.option, &pred.option) {
        (Some((g, a)), Some((p, b))) if g == p && !a.is_empty() && !b.is_empty() => {
            Some(values(a, b, options, scalars).unwrap_or(different))
        }
        (Some((g, _)), Some((p, _))) => Some(same(*g, *p)),
        (Some((g, a)), None) => match pred.letter() {
            Some(p) => Some(same(*g, p)),
            None => values(a, &pred.answers, options, scalars),
        },
        (None, Some((p, b))) => match gold.letter() {
            Some(g) => Some(same(g, *p)),
            None => values(&gold.answers, b, options, scalars),
        },
        (None, None) => None,
    }
}

fn answers(gold: &Answer, pred: &Answer, scalars: &mut Scalars) -> Outcome {
    let (Some(a), Some(b)) = (&gold.unit, &pred.unit) else {
        return compare(&gold.expr, &pred.expr, scalars);
    };
    match b.ratio(a) {
        None => Outcome::Unequal("different units"),
        Some(ratio) if ratio == num_rational::BigRational::from_integer(1.into()) => {
            compare(&gold.expr, &pred.expr, scalars)
        }
        Some(ratio) => {
            let converted = Expr::Mul(vec![pred.expr.clone(), Expr::Num(ratio)]);
            compare(&gold.expr, &converted, scalars)
        }
    }
}

fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
