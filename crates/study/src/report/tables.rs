//! Tables of the page: heads kept, new, emergent and lost; interventions with their intervals; checkpoints.

use hooks::Head;
use maud::{Markup, html};
use stats::Interval;

use super::summary::control_p;
use super::verdict::difference;
use super::words::{count, number, p_value, percent, points};
use crate::results::{Action, CheckpointFacts, HeadSet, Intervention, Results, SuiteFacts, Training};

/// A short description of an intervention: `grpo-60: 3 emergent heads of GRPO zeroed`.
pub(super) fn described(row: &Intervention) -> String {
    let set = match row.set {
        HeadSet::Emergent => "emergent head",
        HeadSet::New => "new head",
        HeadSet::Kept => "kept head",
        HeadSet::Lost => "lost head",
    };
    let action = match row.action {
        Action::Zero => "zeroed".to_owned(),
        Action::Mean => "set to their mean".to_owned(),
        Action::Scale { factor } => format!("× {factor}"),
    };
    format!("{}: {} of {} {action}", row.checkpoint, count(row.heads.len(), set), row.training)
}

fn chips(heads: &[Head], class: &str) -> Markup {
    html! {
        @if heads.is_empty() {
            span class="none" { "none" }
        } @else {
            span {
                @for head in heads {
                    span class=(format!("chip {class}")) data-head=(head) tabindex="0" { (head) } " "
                }
            }
        }
    }
}

/// Heads kept, new, emergent and lost at the end of each run.
pub(super) fn heads(runs: &[Training]) -> Markup {
    let ends = runs.iter().filter_map(|run| Some((run, run.changes.last()?)));
    html! {
        div class="wide" {
            table class="stack" {
                thead { tr { th { "Run" } th { "New" } th { "Emergent" } th { "Kept" } th { "Lost" } } }
                tbody {
                    @for (run, last) in ends {
                        tr {
                            th scope="row" { (run.name) ", step " (last.step) }
                            td data-label="New" { (chips(&last.gained, "new")) }
                            td data-label="Emergent" {
                                @match &last.emergent {
                                    Some(heads) => (chips(heads, "new")),
                                    None => span class="none" { "not tested" },
                                }
                            }
                            td data-label="Kept" { (chips(&last.kept, "old")) }
                            td data-label="Lost" { (chips(&last.lost, "off")) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(i: &Interval) -> Markup {
    html! { span { (percent(i.estimate)) } " " small { (percent(i.low)) " to " (percent(i.high)) } }
}

/// Interventions beside their controls.
pub(super) fn interventions(rows: &[Intervention]) -> Markup {
    html! {
        div class="wide" {
            table class="numbers stack" {
                thead {
                    tr {
                        th { "Intervention" } th { "Heads" } th { "Solved" } th { "Change, points" }
                        th { "Random heads" } th { "Against random" }
                    }
                }
                tbody { @for row in rows { (intervention(row)) } }
            }
        }
    }
}

fn intervention(row: &Intervention) -> Markup {
    let change = difference(&row.untouched, &row.accuracy);
    html! {
        tr {
            th scope="row" { (described(row)) " " small { (row.suite) ", n = " (row.n) } }
            td data-label="Heads" { (chips(&row.heads, "new")) }
            td data-label="Solved" { (cell(&row.accuracy)) }
            td data-label="Change, points" {
                span { (points(change.estimate)) } " "
                small { (points(change.low)) " to " (points(change.high)) }
            }
            td data-label="Random heads" { (control(row)) }
            td data-label="Against random" {
                span { @if row.random.is_empty() { "–" } @else { (p_value(control_p(row))) } }
            }
        }
    }
}

fn control(row: &Intervention) -> Markup {
    let mut random: Vec<f64> = row.random.iter().map(|r| r.accuracy.estimate).collect();
    random.sort_by(f64::total_cmp);
    let mean = random.iter().sum::<f64>() / random.len() as f64;
    html! {
        @if let (Some(&low), Some(&high)) = (random.first(), random.last()) {
            span { (percent(mean)) } " "
            small { (percent(low)) " to " (percent(high)) ", " (count(random.len(), "draw")) }
        } @else {
            span class="none" { "not run" }
        }
    }
}

/// Accuracy of every checkpoint on every suite.
pub(super) fn checkpoints(results: &Results) -> Markup {
    let suites = &results.task.suites;
    let all = std::iter::once(&results.base).chain(results.trainings.iter().flat_map(|run| &run.checkpoints));
    html! {
        div class="wide" {
            table class="numbers" {
                thead {
                    tr {
                        th { "Checkpoint" }
                        @for suite in suites { th { (suite.name) } }
                        th { "Thinks first" } th { "Heads" } th { "Faithfulness" }
                    }
                }
                tbody { @for at in all { (checkpoint(at, suites)) } }
            }
        }
    }
}

fn checkpoint(at: &CheckpointFacts, suites: &[SuiteFacts]) -> Markup {
    let circuit = at.circuit.as_ref();
    html! {
        tr {
            th scope="row" { (at.label) }
            @for suite in suites {
                td {
                    @match at.accuracy(&suite.name) {
                        Some(a) => { (cell(&a.interval)) " " small { "n = " (a.n) } },
                        None => "–",
                    }
                }
            }
            td { (at.accuracy.first().and_then(|a| a.worked).map_or("–".into(), percent)) }
            td { (circuit.map_or("–".into(), |c| c.heads.len().to_string())) }
            td { (circuit.map_or("–".into(), |c| number(c.faithfulness, 2))) }
        }
    }
}
