//! Problems that a checkpoint solves and the base does not, and the other way round, with their texts.

use bench_math::Failure;
use maud::{Markup, html};

use super::tables::wide;
use super::words::{count, p_value, visible};
use crate::results::{Case, CaseSample, Cases, FailureCount, Results};

/// The section's markup.
pub(super) fn section(results: &Results) -> Markup {
    html! {
        @if !results.cases.is_empty() {
            section id="cases" {
                h2 { "Problems newly solved and newly missed" }
                @for one in &results.cases { (cases(one)) }
                details {
                    summary { "Kinds of failure" }
                    p { "A wrong sample is counted once, under the first of these that holds." }
                    dl class="terms" {
                        @for kind in Failure::ALL {
                            @let (name, definition) = words(kind);
                            dt { (name) } dd { (definition) }
                        }
                    }
                }
            }
        }
    }
}

fn cases(one: &Cases) -> Markup {
    html! {
        h3 { (one.checkpoint) " against " (one.against) ", " (one.benchmark) }
        p {
            (count(one.newly_solved.len(), "problem")) " newly solved, " (one.newly_missed.len()) " newly missed ("
            "McNemar’s exact test: " (p_value(one.mcnemar.p_value)) "). Solved: more than half of the samples are right."
        }
        (failures(one))
        @if !one.examples.is_empty() {
            details {
                summary { "Examples" }
                (wide("examples", &[], html! { @for case in &one.examples { (example(case, one)) } }))
            }
        }
        details {
            summary { "Their ids" }
            p { "Newly solved: " (listed(&one.newly_solved)) }
            p { "Newly missed: " (listed(&one.newly_missed)) }
        }
    }
}

fn listed(ids: &[String]) -> String {
    if ids.is_empty() { "none".into() } else { ids.join(", ") }
}

/// The wrong samples of both checkpoints by their main kind; kinds that neither has are left out.
fn failures(one: &Cases) -> Markup {
    let rows: Vec<&FailureCount> = one.failures.iter().filter(|f| f.before + f.after > 0).collect();
    let total = |of: fn(&FailureCount) -> usize| rows.iter().map(|f| of(f)).sum::<usize>();
    html! {
        @if one.failures.is_empty() {
            p class="facts" { "Kinds of failure were not counted in this file." }
        } @else if rows.is_empty() {
            p class="facts" { "Neither has a wrong sample." }
        } @else {
            (wide("numbers", &["wrong samples of", &one.against, &one.checkpoint], html! {
                @for f in &rows { tr { th scope="row" { (words(f.kind).0) } td { (f.before) } td { (f.after) } } }
                tr { th scope="row" { "all wrong samples" } td { (total(|f| f.before)) } td { (total(|f| f.after)) } }
            }))
        }
    }
}

/// The name of a kind of failure, and when it holds.
fn words(kind: Failure) -> (&'static str, &'static str) {
    match kind {
        Failure::Loop => (
            "repeats itself",
            "The text ends in at least four copies of one passage, together 160 characters or more.",
        ),
        Failure::Truncated => ("cut off", "The budget of new tokens was used up."),
        Failure::Abandoned => (
            "right answer reached, another given",
            "The right answer is boxed or ends an equation, and another is announced.",
        ),
        Failure::Unannounced => (
            "right answer reached, none announced",
            "The right answer ends an equation, and nothing says that it is the answer: no box, no “answer”, no end of the \
             reasoning.",
        ),
        Failure::NoAnswer => ("no answer", "The text ended by itself, and no answer can be read in it."),
        Failure::ArithmeticSlip => ("false calculation", "A calculation in it is false, such as 3 + 4 = 8."),
        Failure::LeftOut => (
            "a number left out",
            "Its calculations are right, and a number of the problem stands nowhere in the text.",
        ),
        Failure::WrongSteps => (
            "wrong steps",
            "Its calculations are right and take every number, and their result is not what was asked.",
        ),
        Failure::WrongAnswer => {
            ("wrong answer", "A wrong answer without a calculation that could be checked.")
        }
    }
}

fn example(case: &Case, of: &Cases) -> Markup {
    html! {
        tr class="section" {
            th colspan="3" {
                code { (visible(&case.problem)) } " (right: " (case.answer) ") "
                @if case.newly_solved { "newly solved" } @else { "newly missed" }
            }
        }
        (sample(&of.against, &case.before))
        (sample(&of.checkpoint, &case.after))
    }
}

fn sample(label: &str, sample: &CaseSample) -> Markup {
    let verdict = if sample.correct { "right" } else { "wrong" };
    // The kind under which it is counted.
    let kind = sample.failures.first().map(|&kind| words(kind).0);
    html! {
        tr {
            td { (label) }
            td { code { (visible(&sample.text)) } }
            td class=(verdict) {
                (kind.unwrap_or(verdict))
            }
        }
    }
}
