//! The page's parts between its head and its methods, each a function from results to markup.

use maud::{Markup, html};

use super::figures::{self, Figure};
use super::summary::{findings, headline};
use super::tables;
use super::verdict::ClaimVerdict;
use super::words::{count, duration, visible};
use crate::results::Results;

fn figure(figure: &Figure) -> Markup {
    html! {
        figure id=(format!("fig-{}", figure.name)) {
            h4 { (figure.title) }
            (figure.svg.inline())
            figcaption { (figure.caption) }
        }
    }
}

fn grid(figures: impl IntoIterator<Item = Figure>) -> Markup {
    let all: Vec<Figure> = figures.into_iter().collect();
    html! {
        @if !all.is_empty() {
            div class="grid" { @for one in &all { (figure(one)) } }
        }
    }
}

/// The findings with their verdicts, and the warnings.
pub(super) fn summary(results: &Results) -> Markup {
    let all = findings(results);
    let of = |verdict| all.iter().filter(|f| f.verdict == verdict).count();
    let (holds, fails) = (of(ClaimVerdict::Holds), of(ClaimVerdict::Fails));
    let took = results.run.machine.as_ref().map(|machine| {
        let total: f64 = results.run.stages.iter().map(|s| s.seconds).sum();
        format!(" The study took {} on {}.", duration(total), count(machine.threads, "thread"))
    });
    let counts = format!(
        "Of {}, {} against {}, {} not supported, and {} cannot be settled by these data.{}",
        count(all.len(), "claim"),
        if holds == 1 { "1 holds".to_owned() } else { format!("{holds} hold") },
        if holds == 1 { "its control" } else { "their controls" },
        if fails == 1 { "1 is".to_owned() } else { format!("{fails} are") },
        all.len() - holds - fails,
        took.unwrap_or_default()
    );
    html! {
        section id="summary" {
            h2 { "What changed, and how sure" }
            p class="lead" { (results.task.description) " " (headline(results)) }
            p { (counts) }
            ol class="findings" {
                @for finding in &all {
                    li {
                        p class=(format!("verdict {}", class(finding.verdict))) { (finding.verdict.words()) }
                        div { h3 { (finding.claim) } p { (finding.evidence) } }
                    }
                }
            }
        }
        @if !results.warnings.is_empty() {
            section id="warnings" {
                h2 { "Where this might be wrong" }
                ul class="warnings" {
                    @for w in &results.warnings {
                        li { strong { (w.claim) } " Control: " (w.control) " " em { (w.finding) } }
                    }
                }
            }
        }
    }
}

fn class(verdict: ClaimVerdict) -> &'static str {
    match verdict {
        ClaimVerdict::Holds => "holds",
        ClaimVerdict::Fails => "fails",
        ClaimVerdict::Open => "open",
    }
}

/// Accuracy before and after, with examples.
pub(super) fn accuracy(results: &Results) -> Markup {
    let suites = results.task.suites.iter().filter_map(|s| figures::accuracy(results, s));
    html! {
        section id="accuracy" {
            h2 { "Accuracy before and after" }
            (grid(suites))
            @if !results.task.examples.is_empty() {
                details {
                    summary { "Example completions" }
                    div class="wide" { table class="examples" { tbody { (examples(results)) } } }
                }
            }
            details { summary { "Every checkpoint" } (tables::checkpoints(results)) }
        }
    }
}

fn examples(results: &Results) -> Markup {
    html! {
        @for example in &results.task.examples {
            tr class="section" {
                th colspan="3" { code { (visible(&example.prompt)) } " (right: " (example.answer) ")" }
            }
            @for said in &example.completions {
                @let verdict = if said.correct { "right" } else { "wrong" };
                tr {
                    td { (said.checkpoint) }
                    td { code { (visible(&said.text)) } }
                    td class=(verdict) { (verdict) }
                }
            }
        }
    }
}

/// Curves, cohorts and maps, two a row: one column a run.
pub(super) fn runs(results: &Results) -> Markup {
    let runs = &results.trainings;
    let cohorts: Vec<Figure> = runs.iter().filter_map(figures::cohort).collect();
    html! {
        @if !runs.is_empty() {
            section id="training" {
                h2 { "What happened during training" }
                (grid(runs.iter().filter_map(|run| figures::training(run, results))))
            }
        }
        @if !cohorts.is_empty() {
            section id="heads" {
                h2 { "Heads kept, new and lost" }
                (tables::heads(runs))
                (grid(cohorts))
                (grid(runs.iter().filter_map(|run| figures::cohort_map(run, results))))
                (grid(runs.iter().filter_map(|run| figures::effect_map(run, results))))
            }
        }
    }
}

/// Circuit drawings: the base beside each run, whose checkpoints are under a slider.
pub(super) fn circuits(results: &Results) -> Markup {
    let base = figures::circuit(results, &results.base);
    let mut groups: Vec<(&str, Vec<Figure>)> = Vec::new();
    for run in &results.trainings {
        let found = run.checkpoints.iter().filter_map(|at| figures::circuit(results, at));
        groups.push((&run.name, base.clone().into_iter().chain(found).collect()));
    }
    if groups.is_empty() {
        groups.push(("Base", base.into_iter().collect()));
    }
    groups.retain(|(_, frames)| !frames.is_empty());
    html! {
        @if !groups.is_empty() {
            section id="circuits" {
                h2 { "The circuits" }
                p {
                    "Move a slider from the base through the checkpoints; point at a node to see its edges alone. \
                     Blue edges raise the metric, red dashed edges lower it; width is the size of the score. Nodes \
                     with a blue ring are new heads (the tooltip says which are emergent), with a red ring heads of \
                     the base’s circuit."
                }
                div class="grid" { @for (name, frames) in &groups { (slider(name, frames)) } }
            }
        }
    }
}

/// One run's drawings, the last one shown.
fn slider(group: &str, frames: &[Figure]) -> Markup {
    let last = frames.len() - 1;
    html! {
        div class="frames" {
            h3 { (group) }
            @if last > 0 {
                label class="slider" {
                    span { "checkpoint" }
                    input type="range" min="0" max=(last) value=(last) step="1"
                        aria-label=(format!("checkpoint of {group}"));
                }
            }
            @for (i, frame) in frames.iter().enumerate() {
                div class=(if i == last { "frame shown" } else { "frame" }) { (figure(frame)) }
            }
        }
    }
}

/// Interventions, drawn and as a table.
pub(super) fn interventions(results: &Results) -> Markup {
    let drawn = results.trainings.iter().filter_map(|run| figures::ablation(results, run));
    html! {
        @if !results.interventions.is_empty() {
            section id="interventions" {
                h2 { "Heads ablated and scaled" }
                (grid(drawn))
                (tables::interventions(&results.interventions))
            }
        }
    }
}
