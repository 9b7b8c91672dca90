//! Accuracy by kind of problem: what one number of a benchmark hides.

use hooks::Head;
use maud::{Markup, html};
use stats::{Interval, clustered};

use super::tables::{cell, wide};
use super::words::percent;
use crate::results::{Results, Training};

/// Kinds of problems beyond which a benchmark is not told by kind.
const MOST: usize = 6;

/// Problems of one kind: what their ids have before the first hyphen, and their places.
struct Kind<'a> {
    name: &'a str,
    places: Vec<usize>,
}

/// The kinds of a benchmark's problems; none where the ids name fewer than two, or more than [`MOST`].
fn kinds<'a>(results: &'a Results, benchmark: &str) -> Vec<Kind<'a>> {
    let Some(of) = results.benchmarks.iter().find(|b| b.name == benchmark) else { return Vec::new() };
    let mut all: Vec<Kind<'a>> = Vec::new();
    for (place, id) in of.problems.iter().enumerate() {
        let Some((name, _)) = id.split_once('-') else { return Vec::new() };
        match all.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.places.push(place),
            None => all.push(Kind { name, places: vec![place] }),
        }
    }
    all.sort_by_key(|kind| std::cmp::Reverse(kind.name));
    if (2..=MOST).contains(&all.len()) { all } else { Vec::new() }
}

/// `, 14 of kind three, 26 of kind four`: what the first problems of a benchmark are; nothing where the ids name no kinds.
pub(super) fn of_first(results: &Results, benchmark: &str, n: usize) -> String {
    let one = |kind: Kind<'_>| {
        format!(", {} of kind {}", kind.places.iter().filter(|&&place| place < n).count(), kind.name)
    };
    kinds(results, benchmark).into_iter().map(one).collect()
}

/// The accuracy of a checkpoint on the problems of one kind, with its 95 % interval.
fn share(results: &Results, (checkpoint, benchmark): (&str, &str), kind: &Kind<'_>) -> Option<Interval> {
    let mut answers = results.answers.iter();
    let of = answers.find(|a| a.checkpoint == checkpoint && a.benchmark == benchmark)?;
    let rates: Option<Vec<f64>> = kind.places.iter().map(|&place| of.rates.get(place).copied()).collect();
    Some(clustered(&rates?, 0.95))
}

/// A kind of problem with the accuracy on it before and after a training.
pub(super) struct Change<'a> {
    pub(super) kind: &'a str,
    pub(super) n: usize,
    pub(super) before: f64,
    pub(super) after: f64,
}

/// What a training changed on each kind of a benchmark's problems.
pub(super) fn changes<'a>(results: &'a Results, run: &Training, benchmark: &str) -> Vec<Change<'a>> {
    let Some(last) = run.checkpoints.last() else { return Vec::new() };
    let one = |kind: Kind<'a>| {
        let at = |label: &str| Some(share(results, (label, benchmark), &kind)?.estimate);
        let (before, after) = (at(&results.base.label)?, at(&last.label)?);
        Some(Change { kind: kind.name, n: kind.places.len(), before, after })
    };
    kinds(results, benchmark).into_iter().filter_map(one).collect()
}

/// ` By kind of problem: three 13 % to 50 % (50 problems), …`; nothing where the ids name no kinds.
pub(super) fn sentence(changes: &[Change<'_>]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let one = |c: &Change<'_>| {
        format!("{} {} before, {} after (n = {})", c.kind, percent(c.before), percent(c.after), c.n)
    };
    format!(" By kind of problem: {}.", changes.iter().map(one).collect::<Vec<_>>().join("; "))
}

/// Of the kinds of a benchmark that rises, those that rise and those that do not: `three, not four`.
pub(super) fn alone(changes: &[Change<'_>]) -> Option<String> {
    let (up, not): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.after > c.before);
    let names = |all: Vec<&Change<'_>>| all.iter().map(|c| c.kind).collect::<Vec<_>>().join(" and ");
    (!up.is_empty() && !not.is_empty()).then(|| format!("{}, not {}", names(up), names(not)))
}

/// Accuracy by kind of problem before and after each training.
pub(super) fn table(results: &Results) -> Markup {
    let ends: Vec<&str> = std::iter::once(results.base.label.as_str())
        .chain(results.trainings.iter().filter_map(|run| Some(run.checkpoints.last()?.label.as_str())))
        .collect();
    let rows: Vec<(&str, Kind<'_>)> = (results.benchmarks.iter())
        .flat_map(|b| kinds(results, &b.name).into_iter().map(|kind| (b.name.as_str(), kind)))
        .collect();
    let columns: Vec<&str> =
        ["Benchmark", "Kind", "Problems"].into_iter().chain(ends.iter().copied()).collect();
    html! {
        @if !rows.is_empty() {
            h3 { "By kind of problem" }
            p class="facts" { "The kind is what a problem’s id has before its first hyphen. 95 % intervals are over problems." }
            (wide("numbers", &columns, html! {
                @for (benchmark, kind) in &rows {
                    tr {
                        th scope="row" { (benchmark) }
                        td { (kind.name) }
                        td { (kind.places.len()) }
                        @for &end in &ends {
                            td { @match share(results, (end, benchmark), kind) { Some(i) => (cell(&i)), None => "–" } }
                        }
                    }
                }
            }))
        }
    }
}

/// Heads in parentheses where they are few: ` (L0H5, L1H3)`.
pub(crate) fn few(heads: &[Head]) -> String {
    let all: Vec<String> = heads.iter().map(ToString::to_string).collect();
    if all.is_empty() || all.len() > MOST { String::new() } else { format!(" ({})", all.join(", ")) }
}
