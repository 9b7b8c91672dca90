//! Problems that a checkpoint solves and the base does not, and the other way round, with their texts.

use maud::{Markup, html};

use super::words::{count, p_value, visible};
use crate::results::{Case, CaseSample, Cases, Results};

/// The section's markup.
pub(super) fn section(results: &Results) -> Markup {
    html! {
        @if !results.cases.is_empty() {
            section id="cases" {
                h2 { "Problems newly solved and newly missed" }
                @for one in &results.cases { (cases(one)) }
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
        div class="wide" tabindex="0" {
            table class="numbers" {
                thead { tr { @for name in ["failure of wrong samples", "before", "now"] { th scope="col" { (name) } } } }
                tbody {
                    @for f in &one.failures {
                        tr { th scope="row" { (kind(&f.kind)) } td { (f.before) } td { (f.after) } }
                    }
                }
            }
        }
        @if !one.examples.is_empty() {
            details {
                summary { "Examples" }
                div class="wide" tabindex="0" { table class="examples" { tbody { @for case in &one.examples { (example(case, one)) } } } }
            }
        }
        details {
            summary { "Their ids" }
            p { "Newly solved: " (one.newly_solved.join(", ")) }
            p { "Newly missed: " (one.newly_missed.join(", ")) }
        }
    }
}

/// A failure as its name in the results, in words.
fn kind(failure: &bench_math::Failure) -> String {
    let name = serde_json::to_value(failure).ok();
    name.as_ref().and_then(|n| n.as_str()).unwrap_or_default().replace(['-', '_'], " ")
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
    html! {
        tr {
            td { (label) }
            td { code { (visible(&sample.text)) } }
            td class=(verdict) {
                (verdict)
                @for failure in &sample.failures { ", " (kind(failure)) }
            }
        }
    }
}
