//! What a comparison with the base rests on: its circuit, the noise of the pairs, and weights moved by noise; and
//! whether circuits are faithful.

use hooks::Head;

use super::verdict::{ClaimVerdict, Finding, Part};
use super::words::{count, metric, number};
use crate::results::{CheckpointFacts, CircuitFacts, HeadChange, Results};

/// The faithfulness below which a circuit is not taken to explain its model.
pub(crate) const FAITHFUL: f64 = 0.5;
/// Below this share of the widest difference between clean and corrupt prompts a checkpoint has next to none.
pub(crate) const NARROW: f64 = 0.1;

/// The base and every checkpoint.
fn checkpoints(results: &Results) -> impl Iterator<Item = &CheckpointFacts> {
    std::iter::once(&results.base).chain(results.trainings.iter().flat_map(|run| &run.checkpoints))
}

fn gap(circuit: &CircuitFacts) -> f64 {
    (circuit.clean - circuit.corrupt).abs()
}

fn best(nulls: &[f64]) -> Option<f64> {
    nulls.iter().copied().reduce(f64::max)
}

/// Why new and lost heads say little where the base's own circuit does not explain the base; `None` where it does.
pub(super) fn weak_base(results: &Results) -> Option<String> {
    let of = results.base.circuit.as_ref()?;
    let widest = checkpoints(results).filter_map(|c| c.circuit.as_ref()).map(gap).fold(0.0, f64::max);
    let narrow = gap(of) < NARROW * widest;
    let random = best(&of.nulls);
    if !narrow && of.faithfulness >= FAITHFUL && random.is_none_or(|null| null < of.faithfulness) {
        return None;
    }
    let beside = random.map_or(String::new(), |null| {
        format!(", {} as much as {}", count(of.nulls.len(), "random circuit"), number(null, 2))
    });
    let pairs = results.heads.first().map_or(String::new(), |study| format!(" on the pairs {}", study.suite));
    Some(format!(
        "New and lost are relative to the circuit of {}, a weak one{pairs}: the mean {} is {} on clean and {} on corrupt prompts{}, \
         and the circuit keeps {} of that difference{beside}.",
        results.base.label,
        metric(&of.metric).0,
        number(of.clean, 2),
        number(of.corrupt, 2),
        if narrow { ", next to no difference to explain" } else { "" },
        number(of.faithfulness, 2)
    ))
}

/// Heads that some trial with noise alone calls lost, with the number of its trials, the most often first.
pub(super) fn lost_by_noise(results: &Results) -> Vec<(Head, usize)> {
    let Some(noise) = results.controls.as_ref().and_then(|c| c.negative.as_ref()) else { return Vec::new() };
    let mut all: Vec<(Head, usize)> = Vec::new();
    for head in noise.trials.iter().flat_map(|trial| &trial.lost) {
        match all.iter_mut().find(|(known, _)| known == head) {
            Some((_, n)) => *n += 1,
            None => all.push((*head, 1)),
        }
    }
    all.sort_by_key(|&(head, n)| (std::cmp::Reverse(n), head));
    all
}

/// Of a training's lost heads those that noise alone loses as well: ` Noise alone loses L1H4 in 22 of 50 trials.`
pub(super) fn lost_as_by_noise(results: &Results, change: &HeadChange) -> String {
    let trials = results.controls.as_ref().and_then(|c| c.negative.as_ref()).map_or(0, |c| c.trials.len());
    let mine: Vec<String> = lost_by_noise(results)
        .into_iter()
        .filter(|(head, _)| change.lost.contains(head))
        .map(|(head, n)| format!("{head} in {n}"))
        .collect();
    if mine.is_empty() {
        return String::new();
    }
    format!(" Of the lost heads, noise on the weights alone loses {} of {trials} trials.", mine.join(", "))
}

/// Whether the circuits of the base and of each training are faithful to their models.
pub(super) fn faithful(results: &Results) -> Vec<Finding> {
    let base = (&results.base.label, vec![&results.base]);
    let runs = results.trainings.iter().map(|run| (&run.name, run.checkpoints.iter().collect()));
    std::iter::once(base).chain(runs).filter_map(|(name, of)| one(name, &of)).collect()
}

fn one(name: &str, of: &[&CheckpointFacts]) -> Option<Finding> {
    let circuits: Vec<&CircuitFacts> = of.iter().filter_map(|c| c.circuit.as_ref()).collect();
    let worst = circuits.iter().map(|c| c.faithfulness).reduce(f64::min)?;
    let most = circuits.iter().map(|c| c.faithfulness).reduce(f64::max)?;
    let nulls: Vec<f64> = circuits.iter().flat_map(|c| c.nulls.iter().copied()).collect();
    let beaten = circuits.iter().filter(|c| c.nulls.iter().all(|&null| null < c.faithfulness)).count();
    let many = circuits.len() > 1;
    let (control, verdict) = match best(&nulls) {
        None => ("No random circuits were run beside them.".to_owned(), ClaimVerdict::Open),
        Some(null) => (
            format!(
                "Of {} of as many edges{} the best keeps {}; {}.",
                count(circuits.iter().map(|c| c.nulls.len()).max().unwrap_or(0), "random circuit"),
                if many { " beside each" } else { "" },
                number(null, 2),
                match (many, beaten) {
                    (true, n) => format!("{n} of {} circuits beat all of theirs", circuits.len()),
                    (false, 1) => "it beats all of them".into(),
                    (false, _) => "it does not beat all of them".into(),
                }
            ),
            match () {
                () if beaten < circuits.len() => ClaimVerdict::Fails,
                () if worst >= FAITHFUL => ClaimVerdict::Holds,
                () => ClaimVerdict::Open,
            },
        ),
    };
    let range = if many { format!("{} to {}", number(worst, 2), number(most, 2)) } else { number(worst, 2) };
    Some(Finding {
        part: Part::Circuits,
        short: best(&nulls)
            .map_or(range.clone(), |null| format!("{range}; random ones up to {}", number(null, 2))),
        rows: Vec::new(),
        claim: match many {
            true => format!("The circuits of {name} are faithful to their models"),
            false => format!("The circuit of {name} is faithful to its model"),
        },
        evidence: format!(
            "Faithfulness: with every other edge corrupted {} {range} of the difference between clean and corrupt prompts (1 is \
             all of it). {control}",
            if many { format!("the {} circuits keep", circuits.len()) } else { "it keeps".into() },
        ),
        verdict,
    })
}
