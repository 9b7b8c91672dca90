//! What noise on the weights alone does to heads, beside what a training did.

use hooks::Head;
use maud::{Markup, html};

use super::evidence::every_trial;
use super::words::{count, number, p_value, percent};
use crate::results::{ControlTrial, HeadChange, MatchedNoise, Results, Training};

/// The trials whose noise is as large as the change of `run`.
fn matched<'a>(results: &'a Results, run: &str) -> Option<&'a MatchedNoise> {
    let all = results.controls.iter().flat_map(|controls| &controls.matched);
    all.into_iter().find(|noise| noise.training == run && !noise.trials.is_empty())
}

/// Trials of noise that go with `run`, and how large it is: as its change, where such trials were made.
fn trials<'a>(results: &'a Results, run: &Training) -> Option<(&'a [ControlTrial], &'static str)> {
    if let Some(noise) = matched(results, &run.name) {
        return Some((&noise.trials, "noise as large as its change"));
    }
    let negative = results.controls.as_ref()?.negative.as_ref()?;
    Some((&negative.trials, "noise alone"))
}

/// How many of `n` heads the test finds changed under noise, on average, and under which noise.
pub(super) fn changed(results: &Results, run: &Training, n: usize) -> Option<(f64, &'static str)> {
    let (trials, what) = trials(results, run)?;
    if trials.is_empty() || trials.iter().any(|trial| trial.tested == 0) {
        return None;
    }
    let share: f64 = trials.iter().map(|trial| trial.changed as f64 / trial.tested as f64).sum();
    Some((share / trials.len() as f64 * n as f64, what))
}

/// Of a training's lost heads those that noise loses as well: ` Of the lost heads, noise alone loses L1H4 in 22 of 50
/// trials.`
pub(super) fn lost(results: &Results, run: &Training, change: &HeadChange) -> String {
    let Some((trials, what)) = trials(results, run) else { return String::new() };
    let times = |head: Head| trials.iter().filter(|trial| trial.lost.contains(&head)).count();
    let mut mine: Vec<(usize, Head)> =
        change.lost.iter().map(|&head| (times(head), head)).filter(|&(n, _)| n > 0).collect();
    if mine.is_empty() {
        return String::new();
    }
    mine.sort_by_key(|&(n, head)| (std::cmp::Reverse(n), head));
    let mine: Vec<String> = mine.iter().map(|(n, head)| format!("{head} in {n}")).collect();
    format!(" Of the lost heads, {what} loses {} of {}.", mine.join(", "), count(trials.len(), "trial"))
}

/// How many heads noise makes new and emergent: on average, and at most.
pub(super) struct Made {
    new: (f64, usize),
    emergent: (f64, usize),
    trials: usize,
}

/// Of noise as large as the change of `run`.
pub(super) fn made(results: &Results, run: &Training) -> Option<Made> {
    let trials = &matched(results, &run.name)?.trials;
    let of = |heads: fn(&ControlTrial) -> &[Head]| {
        let most = trials.iter().map(|trial| heads(trial).len()).max().unwrap_or(0);
        (mean(trials, |trial| heads(trial).len()), most)
    };
    Some(Made { new: of(|t| &t.new), emergent: of(|t| &t.emergent), trials: trials.len() })
}

impl Made {
    /// For a cell of a table.
    pub(super) fn cell(&self) -> Markup {
        let words = |(mean, most): (f64, usize)| format!("{} (at most {most})", number(mean, 1));
        html! {
            (words(self.new))
            small { "emergent: " (words(self.emergent)) ", " (count(self.trials, "trial")) }
        }
    }
}

/// Whether the training has more emergent heads than noise as large as its change makes, in a sentence.
pub(super) fn verdict(results: &Results, run: &Training, change: &HeadChange) -> Option<String> {
    let noise = matched(results, &run.name)?;
    Some(match change.emergent.as_ref()?.len() {
        0 => format!("{} has no emergent head.", run.name),
        emergent => {
            let (n, p) = as_many(noise, emergent);
            format!(
                "{} has {}; in {n} of {} noise as large as its change of the weights makes as many (one-sided {}).",
                run.name,
                count(emergent, "emergent head"),
                count(noise.trials.len(), "trial"),
                p_value(p)
            )
        }
    })
}

/// How often noise makes as many heads emergent as the training has, with the p-value of that.
fn as_many(noise: &MatchedNoise, emergent: usize) -> (usize, f64) {
    let n = noise.trials.iter().filter(|trial| trial.emergent.len() >= emergent).count();
    (n, (n + 1) as f64 / (noise.trials.len() + 1) as f64)
}

/// What noise as large as the change makes, and how often it makes as many heads emergent as the training has.
pub(super) fn beside(results: &Results, run: &Training, change: &HeadChange) -> String {
    let Some((made, noise)) = made(results, run).zip(matched(results, &run.name)) else {
        return String::new();
    };
    let often = match change.emergent.as_ref().map_or(0, Vec::len) {
        0 => String::new(),
        emergent => {
            let (n, p) = as_many(noise, emergent);
            let trials = count(noise.trials.len(), "trial");
            format!(
                "; in {n} of {trials} as many are emergent as after {} (one-sided {})",
                run.name,
                p_value(p)
            )
        }
    };
    format!(
        " Noise as large as {}’s change of the weights makes {} heads new and {} emergent on average, never more than {} and {} \
         ({}){often}.",
        run.name,
        number(made.new.0, 1),
        number(made.emergent.0, 1),
        made.new.1,
        made.emergent.1,
        count(made.trials, "trial")
    )
}

/// The section on noise as large as each training's change.
pub(super) fn section(results: &Results) -> Markup {
    let all = results.controls.iter().flat_map(|controls| &controls.matched);
    let runs =
        all.filter_map(|noise| Some((results.trainings.iter().find(|t| t.name == noise.training)?, noise)));
    let runs: Vec<_> = runs.filter(|(_, noise)| !noise.trials.is_empty()).collect();
    html! {
        @if !runs.is_empty() {
            h3 { "Noise as large as a training’s change: what its heads have to be compared with" }
            p {
                "Every matrix of the base’s blocks is moved by noise whose root mean square is that of the training’s change of the "
                "matrix. So large a change of the weights, in no direction, is a change too: nothing says that it makes no head "
                "emergent. A training whose heads are no more than that has not shown that they are of what it learned."
            }
        }
        @for (run, noise) in runs {
            p {
                strong { (run.name) } " moved the matrices by " (percent(noise.change)) " of their own root mean square (the median)."
                @if let Some(last) = run.changes.last() {
                    " It has " (count(last.gained.len(), "new head")) " (" (last.emergent.as_ref().map_or(0, Vec::len)) " emergent)."
                    (beside(results, run, last))
                }
            }
            (every_trial(&noise.trials, false))
            p class="facts" { "Made by " code { (noise.command) } }
        }
    }
}

fn mean(trials: &[ControlTrial], of: impl Fn(&ControlTrial) -> usize) -> f64 {
    trials.iter().map(of).sum::<usize>() as f64 / trials.len().max(1) as f64
}
