//! Tables of the page: heads kept, new, emergent and lost; interventions with their intervals; checkpoints.

use hooks::Head;
use maud::{Markup, html};
use stats::Interval;

use super::words::{count, number, percent};
use crate::results::{Action, CheckpointFacts, HeadSet, Intervention, Results, SuiteFacts, Training};

/// A short description of an intervention: `grpo-60: 3 emergent heads of GRPO zeroed`.
pub(super) fn described(row: &Intervention) -> String {
    let set = match row.set {
        HeadSet::Emergent => "emergent head",
        HeadSet::New => "new head",
        HeadSet::Kept => "kept head",
        HeadSet::Lost => "lost head",
        HeadSet::Joint => "new or lost head",
        HeadSet::Control => "control-task head",
        HeadSet::OffOnly => "head of the mode without thinking",
    };
    let action = match row.action {
        Action::Zero => "zeroed".to_owned(),
        Action::Mean => "set to their mean".to_owned(),
        Action::Resample => "set to those of other problems".to_owned(),
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
                    button type="button" class=(format!("chip {class}")) data-head=(head) { (head) } " "
                }
            }
        }
    }
}

/// Heads kept, new, emergent and lost at the end of each run.
pub(super) fn heads(runs: &[Training]) -> Markup {
    let ends = runs.iter().filter_map(|run| Some((run, run.changes.last()?)));
    html! {
        div class="wide" tabindex="0" {
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

/// Accuracy of every checkpoint on every suite.
pub(super) fn checkpoints(results: &Results) -> Markup {
    let suites = &results.task.suites;
    let all = std::iter::once(&results.base).chain(results.trainings.iter().flat_map(|run| &run.checkpoints));
    html! {
        div class="wide" tabindex="0" {
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
