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
fn trials<'a>(results: &'a Results, run: &Training) -> Option<(&'a [ControlTrial], String)> {
    if let Some(noise) = matched(results, &run.name) {
        return Some((&noise.trials, format!("noise as large as {}’s change", run.name)));
    }
    let negative = results.controls.as_ref()?.negative.as_ref()?;
    Some((&negative.trials, "noise alone".into()))
}

/// How many of `n` heads the test finds changed under noise, on average, and under which noise.
pub(super) fn changed(results: &Results, run: &Training, n: usize) -> Option<(f64, String)> {
    let (trials, what) = trials(results, run)?;
    if trials.is_empty() || trials.iter().any(|trial| trial.tested == 0) {
        return None;
    }
    let share: f64 = trials.iter().map(|trial| trial.changed as f64 / trial.tested as f64).sum();
    Some((share / trials.len() as f64 * n as f64, what))
}

/// Of `heads`, those that trials have in a set: `L1H4 in 22, L0H2 in 3`.
fn as_well(trials: &[ControlTrial], heads: &[Head], of: fn(&ControlTrial) -> &[Head]) -> Option<String> {
    let times = |head: Head| trials.iter().filter(|trial| of(trial).contains(&head)).count();
    let mut mine: Vec<(usize, Head)> =
        heads.iter().map(|&head| (times(head), head)).filter(|&(n, _)| n > 0).collect();
    mine.sort_by_key(|&(n, head)| (std::cmp::Reverse(n), head));
    let mine: Vec<String> = mine.iter().map(|(n, head)| format!("{head} in {n}")).collect();
    (!mine.is_empty()).then(|| mine.join(", "))
}

/// Of a training's lost heads those that noise loses as well: ` Of the lost heads, noise alone loses L1H4 in 22 of 50
/// trials.`
pub(super) fn lost(results: &Results, run: &Training, change: &HeadChange) -> String {
    let said = trials(results, run).and_then(|(trials, what)| {
        let mine = as_well(trials, &change.lost, |t| &t.lost)?;
        Some(format!(" Of the lost heads, {what} loses {mine} of {}.", count(trials.len(), "trial")))
    });
    said.unwrap_or_default()
}

/// The same of new heads.
pub(super) fn new(results: &Results, run: &Training, change: &HeadChange) -> String {
    let said = trials(results, run).and_then(|(trials, what)| {
        let mine = as_well(trials, &change.gained, |t| &t.new)?;
        Some(format!(" Of the new heads, {what} makes {mine} of {}.", count(trials.len(), "trial")))
    });
    said.unwrap_or_default()
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

/// Whether the training has more emergent heads than noise as large as its change makes, beside its other seeds.
pub(super) fn verdict(results: &Results, run: &Training, change: &HeadChange) -> Option<String> {
    let noise = matched(results, &run.name)?;
    let trials = count(noise.trials.len(), "trial");
    let others: Vec<String> = results
        .stability
        .iter()
        .flat_map(|found| &found.runs)
        .filter(|seed| seed.seed != results.run.seed)
        .filter_map(|seed| seed.trainings.iter().find(|t| t.name == run.name))
        .map(|t| t.emergent.len().to_string())
        .collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!(" (other seeds {})", others.join(", ")),
    };
    let (any, _) = as_many(noise, 1);
    Some(match change.emergent.as_ref()?.len() {
        0 => format!("Seed {} of {} has no emergent head{others}.", results.run.seed, run.name),
        emergent => {
            let (n, p) = as_many(noise, emergent);
            format!(
                "Seed {} of {} has {}{others}; noise as large as its change of the weights makes as many in {n} of {trials} (one-sided \
                 {}), and at least one in {any}.",
                results.run.seed,
                run.name,
                count(emergent, "emergent head"),
                p_value(p)
            )
        }
    })
}

/// Heads by which a trial's circuit differs from the base's.
fn differ(trial: &ControlTrial) -> usize {
    trial.new.len() + trial.lost.len()
}

/// How many heads noise as large as the change makes differ, and how often as many as the training does: on the same pairs,
/// which the noise floors draw anew.
pub(super) fn difference(results: &Results, run: &Training, change: &HeadChange) -> Option<String> {
    let trials = &matched(results, &run.name)?.trials;
    let changed = change.gained.len() + change.lost.len();
    let n = trials.iter().filter(|trial| differ(trial) >= changed).count();
    Some(format!(
        "{} on average, and by as many as after {} in {n} of {} (one-sided {})",
        number(mean(trials, differ), 1),
        run.name,
        count(trials.len(), "trial"),
        p_value((n + 1) as f64 / (trials.len() + 1) as f64)
    ))
}

/// In how many trials noise as large as the change loses all of `heads`.
pub(super) fn loses(results: &Results, run: &Training, heads: &[Head]) -> Option<(usize, usize)> {
    let trials = &matched(results, &run.name)?.trials;
    let all = trials.iter().filter(|trial| heads.iter().all(|head| trial.lost.contains(head)));
    Some((all.count(), trials.len()))
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
         ({}){often}.{}",
        run.name,
        number(made.new.0, 1),
        number(made.emergent.0, 1),
        made.new.1,
        made.emergent.1,
        count(made.trials, "trial"),
        difference(results, run, change).map_or(String::new(), |said| format!(
            " Circuits under such noise differ from the base’s, new and lost heads together, by {said}."
        ))
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
                "emergent. A training whose heads are no more than that has not shown that they are of what it learned. Noise teaches nothing, "
                "so that more than it makes may still be no more than what follows where the metric grows."
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
