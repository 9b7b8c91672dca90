//! The paper's claims with their tests, the controls of the method, and other seeds.

use maud::{Markup, html};

use super::by_noise;
use super::tables::wide;
use super::words::{self, amount, between, count, effect, p_value, percent, range};
use crate::results::{Control, ControlTrial, Hypothesis, Results, SeedRun, Stability, Verdict};

/// The claims of the paper.
pub(super) fn claims(results: &Results) -> Markup {
    let all = &results.hypotheses;
    let of = |verdict| all.iter().filter(|h| h.verdict == verdict).count();
    let tests = all.iter().filter(|h| h.p_value.is_some()).count();
    html! {
        @if !all.is_empty() {
            section id="claims" {
                h2 { "The claims of the paper" }
                p {
                    "The paper is Thinking Sparks! (Park et al. 2025, arXiv 2509.25758). "
                    (of(Verdict::Supported)) " supported, " (of(Verdict::NotSupported)) " not supported, "
                    (of(Verdict::CannotTell)) " that this study cannot tell. Of the " (count(all.len(), "claim")) ", "
                    (all.iter().filter(|h| h.effect.is_some()).count()) " have an effect with an interval and "
                    (tests) " could be tested; their p-values are corrected for that number of tests (Holm). Beside each "
                    "claim is the smallest effect that this study would have found with power 0.8 at level 0.05, before "
                    "correction: where it is larger than an effect that matters, more problems, pairs or checkpoints are needed. "
                    "What matters is fixed in the program, not taken from the data: a tenth of the heads of the circuit that is compared with (at least "
                    "one), one edge a head, a correlation of 0.5, 5 points of accuracy."
                }
                ol class="findings" { @for h in all { (claim(results, h)) } }
            }
        }
    }
}

/// What other seeds say of a claim: `seed 1: +1 heads [0 to +2], cannot tell`.
fn elsewhere(results: &Results, h: &Hypothesis) -> Option<String> {
    let others =
        results.stability.iter().flat_map(|found| &found.runs).filter(|run| run.seed != results.run.seed);
    let one = |run: &SeedRun| {
        let found = run.verdicts.iter().find(|v| v.id == h.id)?;
        let number = found.effect.map_or(String::new(), |e| format!("{}, ", effect(h.unit, &e)));
        Some(format!("seed {}: {number}{}", run.seed, words_of(found.verdict).1))
    };
    let all: Vec<String> = others.filter_map(one).collect();
    (!all.is_empty()).then(|| format!(" Other seeds, corrected on their own: {}.", all.join("; ")))
}

fn words_of(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Supported => ("holds", "supported"),
        Verdict::NotSupported => ("fails", "not supported"),
        Verdict::CannotTell => ("open", "cannot tell"),
    }
}

fn claim(results: &Results, h: &Hypothesis) -> Markup {
    let (class, words) = words_of(h.verdict);
    html! {
        li {
            p class=(format!("verdict {class}")) { (words) }
            div {
                h3 { (h.claim) }
                p { (h.reason) }
                p class="facts" {
                    "Measure: " (h.measure)
                    @if let Some(found) = &h.effect { ": " strong { (effect(h.unit, found)) } ", 95 % interval" }
                    ". " @if h.p_value.is_none() { "The test that this claim takes, not made here: " } @else { "Test: " }
                    (h.test.trim_end_matches('.'))
                    @if let Some(p) = h.p_value { ": " (p_value(p)) " before correction" }
                    @if let Some(p) = h.corrected { ", " (p_value(p)) " after it" }
                    "."
                    @if let Some(least) = h.minimum_effect {
                        " Smallest effect with power 0.8: " (amount(h.unit, least)) "."
                    }
                    @if let Some(seeds) = elsewhere(results, h) { (seeds) }
                    " Claimed in " (h.source) "."
                }
            }
        }
    }
}

/// Planted changes and noise, and other seeds.
pub(super) fn controls(results: &Results) -> Markup {
    let controls = results.controls.as_ref();
    let both = controls.map_or([None, None], |c| [c.positive.as_ref(), c.negative.as_ref()]);
    let pairs = |name: &str| results.task.suites.iter().find(|s| s.name == name)?.pairs.as_ref().map(|p| p.n);
    html! {
        section id="controls" {
            h2 { "Does the method find what is there, and nothing else?" }
            @if both.iter().all(Option::is_none) {
                p class="facts" { "Not in this study: the pipeline was not run on planted changes or on noise." }
            }
            @if let Some(of) = results.heads.first().filter(|_| both.iter().any(Option::is_some)) {
                p class="facts" {
                    "Trials take the study’s first pairs and its first rule: " (of.suite)
                    @if let Some(n) = pairs(&of.suite) { " (" (count(n, "pair")) ")" } ", " (of.rule) "; both checkpoints of a "
                    "trial come from the base. One trial a seed."
                }
            }
            @for control in both.into_iter().flatten() { (one(control)) }
            (by_noise::section(results))
            @match &results.stability {
                Some(found) => (stability(found)),
                None => p class="facts" { "Not in this study: the same study with other seeds." },
            }
        }
    }
}

/// Whether a trial came out as it should: what was planted was found, or where nothing was, nothing.
fn as_wanted(trial: &ControlTrial) -> bool {
    trial.found != trial.planted.is_empty()
}

fn one(control: &Control) -> Markup {
    let planted = control.trials.iter().any(|t| !t.planted.is_empty());
    let good = control.trials.iter().filter(|t| as_wanted(t)).count();
    let (heading, wanted, happened) = if planted {
        ("A planted change: it should be found", "the planted head is called emergent", "The planted head is")
    } else {
        ("Noise alone: nothing should be found", "no head is called emergent", "Some head is")
    };
    let rate = &control.rate;
    let level = words::rate(control.level);
    let (class, verdict) = match planted {
        true => (
            "",
            format!(
                "The share is the power of the pipeline for a change of this kind, the whole work of one head moved to another; of a \
                 change spread over many heads, or of part of a head, or on other pairs, it says nothing. The planted head was missed in \
                 {}, in {} of them since no head was new: then the circuit missed it, not the test.",
                count(control.trials.len() - good, "trial"),
                control.trials.iter().filter(|t| !as_wanted(t) && t.new.is_empty()).count()
            ),
        ),
        false if rate.low > control.level => {
            ("fails", format!("Not as wanted: more often than the stated rate of {level}."))
        }
        false if rate.estimate > control.level => (
            "open",
            format!("Cannot tell: above the stated rate of {level}, and so few trials do not rule it out."),
        ),
        false if rate.high > control.level => (
            "open",
            format!(
                "Cannot tell: not above the stated rate of {level}, but so few trials do not rule out a higher one."
            ),
        ),
        false if control.trials.iter().all(|t| t.new.is_empty()) => (
            "open",
            format!(
                "Not put to the proof: the interval is below the stated rate of {level}, but no head became new in any trial, \
                 and only a new head can be emergent."
            ),
        ),
        false => ("holds", format!("As wanted: the interval is below the stated rate of {level}.")),
    };
    html! {
        h3 { (heading) }
        p { (control.planted.trim_end_matches('.')) "." }
        p {
            "Wanted: " (wanted) ". As wanted in " strong { (good) " of " (count(control.trials.len(), "trial")) } ". "
            (happened) " called emergent in " (percent(rate.estimate)) " of them, 95 % interval " (range(rate, percent)) "."
        }
        p class=(if planted { String::new() } else { format!("verdict {class}") }) { (verdict) }
        @if let Some(rate) = &control.head_rate {
            p class="facts" {
                "Of all single tests of heads " (between(rate, percent)) " find a change (interval over trials): every weight did "
                "move a little, and a head is called emergent only where it is new as well."
            }
        }
        @if !planted { p class="facts" { (new_and_lost(control)) } }
        (every_trial(&control.trials, true))
        p class="facts" { "Made by " code { (control.command) } }
    }
}

/// A table of trials; `wanted` says whether each came out as it should.
pub(super) fn every_trial(trials: &[ControlTrial], wanted: bool) -> Markup {
    let columns = ["seed", "planted", "new", "emergent", "lost", "as wanted"];
    html! {
        details class="trials" {
            summary { "Every trial" }
            (wide("", if wanted { &columns } else { &columns[..5] }, html! {
                @for t in trials {
                    tr {
                        th scope="row" { (t.seed) }
                        @for heads in [&t.planted, &t.new, &t.emergent, &t.lost] { td { (list(heads)) } }
                        @if wanted { td { @if as_wanted(t) { "yes" } @else { "no" } } }
                    }
                }
            }))
        }
    }
}

/// What noise does to heads that the control is not about.
fn new_and_lost(control: &Control) -> String {
    let of = |sets: fn(&ControlTrial) -> &[hooks::Head]| {
        let mut heads: Vec<_> = control.trials.iter().flat_map(sets).copied().collect();
        heads.sort();
        heads.dedup();
        let n = control.trials.iter().filter(|t| !sets(t).is_empty()).count();
        if n == 0 { "in none".to_owned() } else { format!("in {n} ({})", list(&heads)) }
    };
    format!(
        "The control is of emergent heads. New and lost are not tested: noise alone makes a head new {} of the trials, and lost \
         {}. A lost head that noise loses too is no evidence of training.",
        of(|t| &t.new),
        of(|t| &t.lost)
    )
}

fn list(heads: &[hooks::Head]) -> String {
    match heads {
        [] => "none".into(),
        heads => heads.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn stability(found: &Stability) -> Markup {
    html! {
        h3 { "Other seeds" }
        @if let Some(differ) = &found.differ { p { (differ) } }
        (wide("", &["seed", "training", "accuracy", "new", "emergent", "lost"], html! {
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
        }))
        p class="facts" { "Made by " code { (found.command) } }
    }
}
