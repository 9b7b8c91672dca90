//! Stage `circuits`: a circuit selected from each checkpoint's scores, pruned; its faithfulness beside that of random
//! circuits.

use ablation::Baseline;
use circuits::{Circuit, Null, PerPair, ScoreFile, faithfulness_of};
use common::Error;
use hooks::{EdgeMap, Task};
use serde_json::json;

use super::Subject;
use super::attribution::Scored;
use super::pairs::Suite;
use crate::config::CircuitConfig;
use crate::jobs::{Done, Job};
use crate::results::{CircuitFacts, ScoredEdge};
use crate::{Stage, Study};

/// The file of a job's circuit.
const FILE: &str = "circuit.json";

/// Scores as a rule ranks them: those of the metric, or in the convention of a loss where the rule is signed.
pub(crate) struct Ranked {
    /// What the scores of the metric are multiplied by: −1 where a metric that should grow is ranked as a loss.
    sign: f32,
    pub(crate) mean: EdgeMap<f32>,
    pub(crate) per_pair: PerPair,
}

impl Ranked {
    pub(crate) fn new(file: &ScoreFile, rule: &CircuitConfig) -> Result<Self, Error> {
        let sign = if rule.signed { file.loss_sign()? } else { 1.0 };
        let mut per_pair =
            file.per_pair.clone().ok_or_else(|| Error::internal("scores without those of each pair"))?;
        per_pair.values.iter_mut().for_each(|x| *x *= sign);
        Ok(Self { sign, mean: file.scores.map(|s| sign * s), per_pair })
    }

    /// The pruned circuit that the rule selects.
    pub(crate) fn circuit(&self, rule: &CircuitConfig) -> Result<Circuit, Error> {
        let selection = rule.selection(self.mean.values().len());
        Ok(Circuit::select(&self.mean, selection, rule.rank())?.pruned())
    }
}

/// The circuit of `subject` on `suite` by `rule`; `None` where it is not done here.
pub(crate) fn circuit(
    study: &mut Study<'_>,
    subject: &Subject,
    (suite, rule): (&Suite, &CircuitConfig),
    (scored, is_base): (&Scored, bool),
) -> Result<Option<Done<CircuitFacts>>, Error> {
    let (controls, metric) = (study.config.controls.clone(), study.config.attribution.metric.clone());
    let seed = study.config.study.seed;
    let name = format!("{}/{}/{}", subject.label, suite.name, rule.name);
    let inputs = json!({
        "scores": scored.hash, "model": subject.hash, "rule": rule, "nulls": controls.nulls,
        "batch": controls.batch, "seed": seed, "edges": "in units of the metric", "null circuits": "others",
    });
    let job = Job { stage: Stage::Circuits, name: &name, inputs, files: &[FILE], ready: true };
    let Study { jobs, work, .. } = study;
    jobs.run(&job, |dir| {
        work.say(format!("circuits: {} on {}, {}", subject.label, suite.name, rule.name));
        let ranked = Ranked::new(&scored.file, rule)?;
        let circuit = ranked.circuit(rule)?;
        let pairs = suite.of(subject, is_base)?;
        let task = Task::new(work.model(subject)?, &pairs, metric.clone()).batch_size(controls.batch);
        let mut file = scored.file.clone();
        file.per_pair = None;
        file.with_circuit(&circuit)?.write(&dir.join(FILE))?;
        facts(&task, (&circuit, &ranked), controls.nulls, seed)
    })
}

/// A circuit with its faithfulness and that of random circuits of both kinds. A draw that gives the circuit itself, where
/// few edges leave no other, is no random circuit and left out.
pub(crate) fn facts(
    task: &Task<'_>,
    (circuit, ranked): (&Circuit, &Ranked),
    nulls: usize,
    seed: u64,
) -> Result<CircuitFacts, Error> {
    let null = |kind| {
        let all = (0..nulls as u64).map(move |k| circuit.null(kind, seed + k).pruned());
        all.filter(|null| !null.edges().eq(circuit.edges()))
    };
    let by_layer: Vec<Circuit> = null(Null::LayerMatched).collect();
    let n = by_layer.len();
    let random = by_layer.into_iter().chain(null(Null::DegreeMatched));
    let all: Vec<Circuit> = std::iter::once(circuit.clone()).chain(random).collect();
    let measured = faithfulness_of(task, &all.iter().collect::<Vec<_>>(), &Baseline::Corrupt)?;
    let found = measured.first().ok_or_else(|| Error::internal("no circuit was measured"))?;
    let values: Vec<f64> = measured.iter().map(|f| f64::from(f.faithfulness)).collect();
    // In units of the metric, whatever the rule ranks by.
    let score =
        |edge| ScoredEdge { edge, score: ranked.mean.get(edge).map_or(0.0, |&s| f64::from(ranked.sign * s)) };
    let mut edges: Vec<ScoredEdge> = circuit.edges().map(score).collect();
    edges.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()).then(a.edge.cmp(&b.edge)));
    Ok(CircuitFacts {
        n_nodes: circuit.nodes().len(),
        heads: circuit.heads().into_iter().collect(),
        edges,
        n_edges: None,
        metric: task.metric.to_string(),
        clean: f64::from(found.clean),
        corrupt: f64::from(found.corrupt),
        circuit: f64::from(found.circuit),
        faithfulness: finite(values[0])?,
        nulls: values[1..=n].to_vec(),
        degree_nulls: values[1 + n..].to_vec(),
    })
}

/// A faithfulness that JSON can hold.
fn finite(value: f64) -> Result<f64, Error> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::input("faithfulness is not defined: the metric is the same on clean and on corrupt prompts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all edges every draw is the same circuit.
    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_circuit_is_not_its_own_random_circuit() {
        let model = toy::base(&burn::tensor::Device::flex()).unwrap();
        let mix = toy::Mix::only(toy::ProblemKind::Three);
        let pairs = toy::swap_pairs(mix, toy::Place::Direct, 0, 2).unwrap();
        let task = Task::new(&model, &pairs, hooks::Metric::LogitDiff);
        let wiring = task.model.wiring();
        let mean =
            EdgeMap::from_values(wiring, (0..wiring.n_edges()).map(|i| ((i * 7919) % 3637) as f32).collect());
        let per_pair = PerPair { ids: Vec::new(), values: Vec::new() };
        let ranked = Ranked { sign: 1.0, mean, per_pair };
        let random = |n: usize| {
            let circuit =
                Circuit::select(&ranked.mean, circuits::Selection::Top(n), circuits::Rank::Absolute).unwrap();
            let found = facts(&task, (&circuit.pruned(), &ranked), 3, 0).unwrap();
            (found.nulls.len(), found.degree_nulls.len())
        };
        assert_eq!(random(ranked.mean.values().len()), (0, 0));
        assert_eq!(random(300), (3, 3));
    }
}
