//! A training run as far as it is: its curve, the heads of its circuits, and how their turnover goes with reward.
//! Read from the run folder while the run goes on.

use std::collections::BTreeSet;
use std::path::Path;

use common::Error;
use hooks::Head;
use serde::{Deserialize, Serialize};
use stats::LaggedCorrelation;

use crate::results::{CurvePoint, TrainingMethod};
use crate::stages::curves::{self, Curves};

/// Circuits between which turnover and reward may be shifted against each other.
const MAX_LAG: usize = 1;

/// A run as far as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveRun {
    /// How it trains.
    pub method: Option<TrainingMethod>,
    /// Optimiser steps done and logged.
    pub done: u64,
    /// Steps of the run; none before the first is logged.
    pub steps: Option<u64>,
    /// One point a logged step.
    pub curve: Vec<CurvePoint>,
    /// One entry for each circuit of `[watch]`.
    pub circuits: Vec<LiveCircuit>,
    /// See [`dynamics`].
    pub dynamics: Option<LaggedCorrelation>,
}

/// The heads of a circuit during a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveCircuit {
    /// Steps done.
    pub step: u64,
    /// Heads of the circuit.
    pub heads: usize,
    /// Heads that the circuit before had not.
    pub born: Vec<String>,
    /// Heads of the circuit before that are no more.
    pub died: Vec<String>,
    /// Of the heads that were ever born since the first circuit, the share that is in this one.
    pub survival: Option<f64>,
    /// Born and died over heads in either circuit.
    pub turnover: Option<f64>,
    /// Mean turnover between circuits of two halves of the pairs.
    pub noise_floor: Option<f64>,
    /// Change of the mean reward (or loss) between the steps before the last circuit and those before this one.
    pub reward_change: Option<f64>,
}

/// The fields of a line of `heads.jsonl` that are read.
#[derive(Deserialize)]
struct Line {
    step: u64,
    heads: Vec<String>,
    noise_floor: Option<f64>,
}

impl LiveRun {
    /// Reads a run folder. A last line that is not whole yet is left out.
    ///
    /// # Errors
    /// A folder that is not a run's, or a file that cannot be read.
    pub fn read(run: &Path) -> Result<Self, Error> {
        let curves = curves::read(Some(run))?;
        let path = run.join("heads.jsonl");
        let text = if path.exists() { common::read_text(&path)? } else { String::new() };
        let mut lines = Vec::new();
        for (n, line) in text.split_inclusive('\n').enumerate().filter(|(_, line)| line.ends_with('\n')) {
            lines.push(serde_json::from_str::<Line>(line).map_err(|e| Error::line(&path, n + 1, e))?);
        }
        let circuits = circuits(&lines, &curves)?;
        Ok(Self {
            method: curves.method,
            done: curves.points.last().map_or(0, |point| point.step + 1),
            steps: curves.steps,
            dynamics: dynamics(&circuits),
            curve: curves.points,
            circuits,
        })
    }

    /// What the curve is of: mean reward, or loss in nats a token.
    pub fn value_name(&self) -> &'static str {
        match self.method {
            Some(TrainingMethod::Grpo) => "mean reward",
            _ => "loss, nats a token",
        }
    }

    /// The curve as points (step, reward or loss).
    pub fn values(&self) -> Vec<(f64, f64)> {
        self.curve.iter().filter_map(|p| Some((p.step as f64, p.reward.or(p.loss)?))).collect()
    }
}

fn circuits(lines: &[Line], curves: &Curves) -> Result<Vec<LiveCircuit>, Error> {
    let parse =
        |line: &Line| line.heads.iter().map(|head| head.parse()).collect::<Result<BTreeSet<Head>, _>>();
    let sets: Vec<BTreeSet<Head>> = lines.iter().map(parse).collect::<Result<_, Error>>()?;
    let mut ever: BTreeSet<Head> = BTreeSet::new();
    let mut all: Vec<LiveCircuit> = Vec::new();
    let mut rewards: Vec<Option<f64>> = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let before = i.checked_sub(1).map(|at| &sets[at]);
        let born: Vec<Head> =
            before.map_or(Vec::new(), |before| sets[i].difference(before).copied().collect());
        let died: Vec<Head> =
            before.map_or(Vec::new(), |before| before.difference(&sets[i]).copied().collect());
        ever.extend(born.iter().filter(|head| !sets[0].contains(head)));
        let alive = ever.intersection(&sets[i]).count();
        let either = before.map_or(0, |before| before.union(&sets[i]).count());
        let from = i.checked_sub(1).map_or(0, |at| lines[at].step);
        rewards.push(curves.mean(from..line.step));
        let names = |heads: &[Head]| heads.iter().map(ToString::to_string).collect();
        all.push(LiveCircuit {
            step: line.step,
            heads: sets[i].len(),
            turnover: (either > 0).then(|| (born.len() + died.len()) as f64 / either as f64),
            survival: (!ever.is_empty()).then(|| alive as f64 / ever.len() as f64),
            noise_floor: line.noise_floor,
            reward_change: i.checked_sub(1).and_then(|at| Some(rewards[i]? - rewards[at]?)),
            born: names(&born),
            died: names(&died),
        });
    }
    Ok(all)
}

/// The lagged rank correlation of turnover, less its noise floor, with the absolute change of reward (or loss) over
/// circuits; a positive lag: turnover is ahead. `None` where there are too few circuits.
pub fn dynamics(circuits: &[LiveCircuit]) -> Option<LaggedCorrelation> {
    let both = circuits
        .iter()
        .filter_map(|c| Some((c.turnover? - c.noise_floor.unwrap_or(0.0), c.reward_change?.abs())));
    let (turnover, reward): (Vec<f64>, Vec<f64>) = both.unzip();
    stats::lagged_spearman(&turnover, &reward, MAX_LAG)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A run folder by hand: reward 0.1 a step, and heads that come and go.
    fn folder(dir: &Path, last: &str) {
        std::fs::write(dir.join("config.toml"), "[grpo]\ngroup_size = 4\n").unwrap();
        let metrics = (0..6).map(|k| {
            format!("{{\"step\":{k},\"loss\":0.0,\"lr\":1e-3,\"reward\":{},\"steps\":20}}\n", 0.1 * k as f64)
        });
        std::fs::write(dir.join("metrics.jsonl"), metrics.collect::<String>()).unwrap();
        let heads =
            [(0, "[\"L0H0\",\"L1H1\"]"), (2, "[\"L0H0\",\"L2H2\"]"), (4, "[\"L0H0\",\"L1H1\",\"L2H3\"]")];
        let line = |(step, heads): &(u64, &str)| {
            format!(
                "{{\"step\":{step},\"edges\":9,\"heads\":{heads},\"noise_floor\":0.25,\"watch_time\":1.0}}\n"
            )
        };
        let text: String = heads.iter().map(line).collect();
        std::fs::write(dir.join("heads.jsonl"), text + last).unwrap();
    }

    #[test]
    fn the_numbers_are_those_counted_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), "{\"step\":6,\"edg");
        let run = LiveRun::read(dir.path()).unwrap();
        assert_eq!((run.done, run.steps, run.circuits.len()), (6, Some(20), 3));
        let [first, second, third] = &run.circuits[..] else { panic!("three") };
        assert_eq!((first.heads, first.turnover, first.survival, first.reward_change), (2, None, None, None));
        assert_eq!(
            (second.born.clone(), second.died.clone()),
            (vec!["L2H2".to_owned()], vec!["L1H1".to_owned()])
        );
        // One born, one died, three in either; L2H2 is alive.
        assert_eq!((second.turnover, second.survival), (Some(2.0 / 3.0), Some(1.0)));
        // L2H3 and L1H1 are born, L2H2 died; of L2H2 and L2H3 one is alive. L1H1 was in the first circuit.
        assert_eq!((third.turnover, third.survival), (Some(3.0 / 4.0), Some(0.5)));
        // Mean rewards 0.05 before step 2 and 0.25 before step 4.
        assert!((third.reward_change.unwrap() - 0.2).abs() < 1e-12 && second.reward_change.is_none());
        assert_eq!(run.dynamics, None);
        assert!(LiveRun::read(&dir.path().join("none")).is_err());
    }
}
