//! The paper's claims with their tests, the controls of the method, and other seeds.

use maud::{Markup, html};
use stats::Interval;

use super::words::{count, number, p_value, percent};
use crate::results::{Control, Hypothesis, Results, Stability, Verdict};

/// The claims of the paper.
pub(super) fn claims(results: &Results) -> Markup {
    let of = |verdict| results.hypotheses.iter().filter(|h| h.verdict == verdict).count();
    html! {
        @if !results.hypotheses.is_empty() {
            section id="claims" {
                h2 { "The claims of the paper" }
                p {
                    (of(Verdict::Supported)) " supported, " (of(Verdict::NotSupported)) " not supported, "
                    (of(Verdict::CannotTell)) " that this study cannot tell. p-values are corrected for the number of tests "
                    "(Holm). Beside each is the smallest effect that this study would have found with power 0.8: where it is "
                    "larger than an effect that matters, more problems, pairs or checkpoints would change the verdict."
                }
                ol class="findings" { @for h in &results.hypotheses { (claim(h)) } }
            }
        }
    }
}

fn interval(i: &Interval) -> String {
    format!("{} [{} to {}]", number(i.estimate, 3), number(i.low, 3), number(i.high, 3))
}

fn claim(h: &Hypothesis) -> Markup {
    let (class, words) = match h.verdict {
        Verdict::Supported => ("holds", "supported"),
        Verdict::NotSupported => ("fails", "not supported"),
        Verdict::CannotTell => ("open", "cannot tell"),
    };
    html! {
        li {
            p class=(format!("verdict {class}")) { (words) }
            div {
                h3 { (h.claim) }
                p { (h.reason) }
                p class="facts" {
                    (h.measure) ": " (h.effect.as_ref().map_or_else(|| "not measured".into(), interval)) ". " (h.test)
                    @if let Some(p) = h.p_value { ": " (p_value(p)) }
                    @if let Some(p) = h.corrected { ", corrected " (p_value(p)) }
                    ". Smallest effect that would have been found: "
                    (h.minimum_effect.map_or_else(|| "not computed".into(), |x| number(x, 3)))
                    ". Claim: " (h.source) "."
                }
            }
        }
    }
}

/// Planted changes and noise, and other seeds.
pub(super) fn controls(results: &Results) -> Markup {
    let controls = results.controls.as_ref();
    let both = controls.map_or([None, None], |c| [c.positive.as_ref(), c.negative.as_ref()]);
    html! {
        section id="controls" {
            h2 { "Does the method find what is there?" }
            @if both.iter().all(Option::is_none) {
                p class="facts" { "Not in this study: the pipeline was not run on planted changes or on noise." }
            }
            @for control in both.into_iter().flatten() { (one(control)) }
            @match &results.stability {
                Some(found) => (stability(found)),
                None => p class="facts" { "Not in this study: the same study with other seeds." },
            }
        }
    }
}

fn one(control: &Control) -> Markup {
    let planted = control.trials.iter().any(|t| !t.planted.is_empty());
    let words = if planted {
        "the planted head is named"
    } else {
        "a head is called emergent though nothing changed"
    };
    html! {
        h3 { @if planted { "A planted change" } @else { "Noise alone" } }
        p {
            (control.planted) ". In " (percent(control.rate.estimate)) " of " (count(control.trials.len(), "trial"))
            " [" (percent(control.rate.low)) " to " (percent(control.rate.high)) "] " (words)
            "; the pipeline tests at a false-discovery rate of " (percent(control.level)) "."
            @if let Some(rate) = &control.head_rate {
                " Of all single tests of heads " (percent(rate.estimate)) " [" (percent(rate.low)) " to " (percent(rate.high))
                "] find a change: every weight did move a little, and a head is called emergent only where it is new as well."
            }
        }
        details {
            summary { "Every trial" }
            div class="wide" tabindex="0" {
                table {
                    thead { tr { @for name in ["seed", "planted", "new", "emergent", "lost", "found"] { th scope="col" { (name) } } } }
                    tbody {
                        @for t in &control.trials {
                            tr {
                                th scope="row" { (t.seed) }
                                @for heads in [&t.planted, &t.new, &t.emergent, &t.lost] { td { (list(heads)) } }
                                td { @if t.found { "yes" } @else { "no" } }
                            }
                        }
                    }
                }
            }
        }
        p class="facts" { "Made by " code { (control.command) } }
    }
}

fn list(heads: &[hooks::Head]) -> String {
    heads.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn stability(found: &Stability) -> Markup {
    html! {
        h3 { "Other seeds" }
        div class="wide" tabindex="0" {
            table {
                thead { tr { @for name in ["seed", "training", "accuracy", "new", "emergent", "lost"] { th scope="col" { (name) } } } }
                tbody {
                    @for run in &found.runs {
                        @for t in &run.trainings {
                            tr {
                                th scope="row" { (run.seed) }
                                td { (t.name) }
                                td { @for a in &t.accuracy { span { (a.suite) " " (percent(a.interval.estimate)) } " " } }
                                @for heads in [&t.new, &t.emergent, &t.lost] { td { (list(heads)) } }
                            }
                        }
                    }
                }
            }
        }
        p class="facts" { "Made by " code { (found.command) } }
    }
}
