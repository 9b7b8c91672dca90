//! Tables of the page: heads kept, new, emergent and lost; turnover against reward; checkpoints.

use hooks::Head;
use maud::{Markup, html};
use stats::Interval;

use super::by_noise;
use super::headline::faithfulness;
use super::signal::{narrow_in, nearest, random_is_nearer, weak_base};
use super::summary::lost_and_found;
use super::words::{count, number, p_value, percent, range};
use crate::results::{
    Action, CheckpointFacts, CircuitFacts, HeadSet, HeadStudy, Intervention, Results, SuiteFacts,
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

/// Heads as buttons.
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

/// Kept heads beyond which the table tells their number alone until it is asked.
const MANY: usize = 40;

/// Heads kept, new, emergent and lost at the end of each run.
pub(super) fn heads(results: &Results) -> Markup {
    let ends = results.trainings.iter().filter_map(|run| Some((run, run.changes.last()?)));
    let table = wide(
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
                    td data-label="Kept" {
                        @if last.kept.len() > MANY {
                            details { summary { (last.kept.len()) } (chips(&last.kept, "old")) }
                        } @else {
                            (chips(&last.kept, "old"))
                        }
                    }
                    td data-label="Lost" {
                        (chips(&last.lost, "off"))
                        @if let Some(found) = lost_and_found(results, run).filter(|_| !last.lost.is_empty()) {
                            small { "a change of its share of scores is found in " (found.len()) " of " (last.lost.len()) }
                        }
                        @let noise = by_noise::lost(results, run, last);
                        @if !noise.is_empty() { small class="long" { (noise.trim_start()) } }
                    }
                }
            }
        },
    );
    html! {
        @if let Some(of) = results.heads.first() {
            p class="facts" {
                "Last checkpoints, pairs " (of.suite) ", rule " (of.rule) ", whatever the controls above say."
            }
        }
        (table)
        (by_pairs(results))
        @if let Some(why) = weak_base(results) { p class="warned" { (why) } }
        @if let Some(floor) = results.noise.as_ref().filter(|_| results.trainings.iter().any(|run| !run.changes.is_empty())) {
            p class="facts" {
                "Noise floor" @if let Some(of) = results.heads.first() { " on " (of.suite) ", " (of.rule) }
                ": circuits of " (floor.checkpoint) " itself, from resampled pairs, differ by "
                (number(floor.changed_heads.estimate, 1)) " heads on average, " (number(floor.changed_heads.low, 0)) " to "
                (number(floor.changed_heads.high, 0)) " in 95 % of draws, new and lost heads together. Where a row has no more "
                "than the wider of its own noise floors, their number is no evidence of training; how often draws have a single "
                "head is in tables/tests.csv."
            }
        }
    }
}

/// New and lost heads at the end of each training on every suite of pairs and by every rule.
fn by_pairs(results: &Results) -> Markup {
    let columns = [
        "Pairs",
        "Rule",
        "Run",
        "Base’s circuit",
        "Last circuit",
        "New",
        "Emergent",
        "Lost",
        "Noise floors",
        "Shares changed",
    ];
    html! {
        @if results.heads.len() > results.trainings.len() {
            h3 { "By pairs and rule" }
            p class="facts" {
                "Circuits: heads, faithfulness, and that of the random circuit nearest to 1. Noise floors: heads by which circuits of "
                "the base, and below it of the last checkpoint, from resampled pairs differ, new and lost together, 95 % of draws. Shares "
                "changed: heads whose share of all scores the test finds changed, of all heads."
            }
            (wide("numbers dense", &columns, html! {
                @for study in &results.heads {
                    @if let (Some(change), Some(last)) = (study.changes.last(), study.checkpoints.last()) {
                        tr {
                            th scope="row" { (study.suite) }
                            td { (study.rule) }
                            td { (study.training) }
                            @for circuit in [&study.base, &last.circuit] { td { (kept(results, study, circuit)) } }
                            td { (change.gained.len()) }
                            td { @match &change.emergent { Some(heads) => (heads.len()), None => "–" } }
                            td { (change.lost.len()) }
                            td {
                                (range(&study.base_noise.changed_heads, |x| number(x, 0)).trim_matches(['[', ']']))
                                small { (range(&last.noise.changed_heads, |x| number(x, 0)).trim_matches(['[', ']'])) }
                            }
                            td { (last.tests.iter().filter(|t| t.found).count()) " of " (last.tests.len()) }
                        }
                    }
                }
            }))
        }
    }
}

/// Heads of a circuit and its faithfulness, beside that of the random circuit nearest to 1.
fn kept(results: &Results, study: &HeadStudy, circuit: &CircuitFacts) -> Markup {
    html! {
        (circuit.heads.len())
        @if circuit.heads.is_empty() {
        } @else if narrow_in(results, study, circuit) {
            small { "no difference to explain" }
        } @else {
            small {
                (number(circuit.faithfulness, 2))
                @if let Some(null) = nearest(circuit) {
                    " (" (number(null, 2)) @if random_is_nearer(circuit) { ", random is nearer" } ")"
                }
            }
        }
    }
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
                "reward (of loss for SFT). At lag 1 turnover is one checkpoint ahead. n: the checkpoints that are compared; the first has no change of reward. p: the "
                "share of circular shifts of one whole series against the other, as many as n at lag 0, whose coefficient at "
                "that lag is at least as large: with n shifts never below 1/n. Lags, suites and rules are not corrected for. The claim about GRPO takes lag 0 of the first row of its training."
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

pub(super) fn cell(i: &Interval) -> Markup {
    html! { span { (percent(i.estimate)) } " " small { (percent(i.low)) " to " (percent(i.high)) } }
}

/// What a checkpoint has in one column.
type Column<'a> = (&'a str, Box<dyn Fn(&CheckpointFacts) -> Option<Markup> + 'a>);

fn accuracies(suite: &SuiteFacts) -> Column<'_> {
    let one = |at: &CheckpointFacts| {
        let found = at.accuracy(&suite.name)?;
        Some(html! { (cell(&found.interval)) " " small { "n = " (found.n) } })
    };
    (&suite.name, Box::new(one))
}

/// Accuracy of every checkpoint on every suite, and its circuit. A column that no checkpoint has a value in is left out.
pub(super) fn checkpoints(results: &Results) -> Markup {
    let all: Vec<&CheckpointFacts> = std::iter::once(&results.base)
        .chain(results.trainings.iter().flat_map(|run| &run.checkpoints))
        .collect();
    let rest: [Column<'_>; 3] = [
        ("Thinks first", Box::new(|at| at.accuracy.first()?.worked.map(|share| html! { (percent(share)) }))),
        ("Heads", Box::new(|at| at.circuit.as_ref().map(|c| html! { (c.heads.len()) }))),
        ("Faithfulness", Box::new(|at| at.circuit.as_ref().map(|c| faithfulness(results, c)))),
    ];
    let columns: Vec<Column<'_>> = (results.task.suites.iter().map(accuracies).chain(rest))
        .filter(|(_, value)| all.iter().any(|at| value(at).is_some()))
        .collect();
    let names: Vec<&str> =
        std::iter::once("Checkpoint").chain(columns.iter().map(|(name, _)| *name)).collect();
    wide(
        "numbers",
        &names,
        html! {
            @for at in all {
                tr {
                    th scope="row" { (at.label) }
                    @for (_, value) in &columns { td { @match value(at) { Some(text) => (text), None => "–" } } }
                }
            }
        },
    )
}
