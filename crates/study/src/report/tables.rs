//! Tables of the page: heads kept, new, emergent and lost; turnover against reward; checkpoints.

use hooks::Head;
use maud::{Markup, html};
use stats::Interval;

use super::words::{count, number, p_value, percent};
use crate::results::{
    Action, CheckpointFacts, HeadSet, HeadStudy, Intervention, Results, SuiteFacts, Training,
};

/// A table in a box that scrolls where the page is narrow. Its head is repeated on each printed page.
pub(super) fn wide(class: &str, columns: &[&str], rows: Markup) -> Markup {
    html! {
        div class="wide" tabindex="0" {
            table class=[(!class.is_empty()).then_some(class)] {
                @if !columns.is_empty() { thead { tr { @for name in columns { th scope="col" { (name) } } } } }
                tbody { (rows) }
            }
        }
    }
}

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
    wide(
        "stack",
        &["Run", "New", "Emergent", "Kept", "Lost"],
        html! {
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
        },
    )
}

/// Lags of the table of turnover against reward.
const LAGS: [i64; 3] = [-1, 0, 1];

/// The correlation of turnover with reward: the one place of the page that tells it for every suite and rule.
pub(super) fn turnover_and_reward(heads: &[HeadStudy]) -> Markup {
    let at = |study: &HeadStudy, lag: i64| {
        let found = study.dynamics.as_ref()?.lags.iter().find(|l| l.lag == lag)?;
        Some(format!("{} ({}, n = {})", number(found.coefficient, 2), p_value(found.p_value), found.n))
    };
    html! {
        @if heads.iter().any(|study| study.dynamics.is_some()) {
            h3 { "Turnover and reward" }
            p {
                "Spearman’s rank correlation, over checkpoints, of turnover less its noise floor with the size of the change of "
                "reward (of loss for SFT). At lag 1 turnover is one checkpoint ahead. p: the share of circular shifts of one "
                "series against the other whose coefficient at that lag is at least as large; n shifts cannot give less than "
                "1/n, and lags, suites and rules are not corrected for. The claim about GRPO takes lag 0 of the first row of its training."
            }
            (wide("numbers", &["training", "pairs", "rule", "lag −1", "lag 0", "lag 1"], html! {
                @for study in heads.iter().filter(|study| study.dynamics.is_some()) {
                    tr {
                        th scope="row" { (study.training) }
                        td { (study.suite) }
                        td { (study.rule) }
                        @for lag in LAGS { td { (at(study, lag).unwrap_or_else(|| "–".into())) } }
                    }
                }
            }))
        } @else if !heads.is_empty() {
            p class="facts" { "Not in this study: the correlation of turnover with reward; there are too few checkpoints, or no curve." }
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
    let measured = suites.iter().map(|suite| suite.name.as_str());
    let columns: Vec<&str> = std::iter::once("Checkpoint")
        .chain(measured)
        .chain(["Thinks first", "Heads", "Faithfulness"])
        .collect();
    wide("numbers", &columns, html! { @for at in all { (checkpoint(at, suites)) } })
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
