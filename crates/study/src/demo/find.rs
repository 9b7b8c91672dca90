//! The circuit of a checkpoint, always on the same pairs; tests of emergence and the noise floor.

use ablation::Baseline;
use attribution::{Endpoint, Method, Options, attribute};
use circuits::{
    Circuit, Emergence, HeadEmergence, Null, PerPair, Rank, Selection, faithfulness_of, head_importance,
};
use hooks::{EdgeMap, Head, HookedModel, Metric, Pairs, Task, Wiring};

use crate::noise::Draws;
use crate::results::{CircuitFacts, NoiseFloor, ScoredEdge, TrainingEffect};
use crate::{Error, dynamics};

/// Integration steps of every attribution.
const STEPS: usize = 5;

/// Resamples of pairs behind every interval, and exchanges of labels behind every test.
pub(super) const RESAMPLES: usize = 200;

/// The false-discovery rate of the test of emergence.
pub(super) const RATE: f64 = 0.05;

/// Finds circuits: the pairs, and how edges are selected.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    pairs: Pairs,
    edges: usize,
    nulls: usize,
    seed: u64,
}

/// A circuit with what it was selected from.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) facts: CircuitFacts,
    wiring: Wiring,
    circuit: Circuit,
    scores: EdgeMap<f32>,
    per_pair: PerPair,
}

impl Finder {
    /// Circuits of the `edges` best edges on `pairs`, each beside `nulls` random circuits of each layer's size.
    pub(super) fn new(pairs: Pairs, edges: usize, nulls: usize, seed: u64) -> Self {
        Self { pairs, edges, nulls, seed }
    }

    /// Attribution, selection, pruning and faithfulness of `model`.
    pub(super) fn find(&self, model: &dyn HookedModel) -> Result<Found, Error> {
        let method = Method::EapIgInputs { steps: STEPS, endpoint: Endpoint::Left };
        let options = Options { per_pair: true, ..Options::default() };
        let scores = attribute(&Task::new(model, &self.pairs, Metric::LogitDiff), method, options)?;
        let circuit = Circuit::top(&scores.mean, self.edges.min(scores.mean.values().len()))?.pruned();
        let nulls = (0..self.nulls as u64).map(|k| circuit.null(Null::LayerMatched, self.seed + k).pruned());
        let all: Vec<Circuit> = std::iter::once(circuit.clone()).chain(nulls).collect();
        let all: Vec<&Circuit> = all.iter().collect();
        let mut faithful = faithfulness_of(
            &Task::new(model, &self.pairs, Metric::LogitDiff).batch_size(16),
            &all,
            &Baseline::Corrupt,
        )?
        .into_iter();
        let found = faithful.next().ok_or_else(|| Error::input("no circuit was evaluated"))?;
        let mut edges: Vec<ScoredEdge> = circuit
            .edges()
            .map(|edge| ScoredEdge { edge, score: scores.mean.get(edge).map_or(0.0, |&s| f64::from(s)) })
            .collect();
        edges.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()).then(a.edge.cmp(&b.edge)));
        let facts = CircuitFacts {
            n_nodes: circuit.nodes().len(),
            heads: circuit.heads().into_iter().collect(),
            edges,
            metric: Metric::LogitDiff.to_string(),
            clean: f64::from(found.clean),
            corrupt: f64::from(found.corrupt),
            circuit: f64::from(found.circuit),
            faithfulness: f64::from(found.faithfulness),
            nulls: faithful.map(|f| f64::from(f.faithfulness)).collect(),
            degree_nulls: Vec::new(),
        };
        let ids = scores.pairs.iter().map(|p| p.id.clone()).collect();
        let values = scores.per_pair.into_iter().flatten().collect();
        let per_pair = PerPair { ids, values };
        Ok(Found { facts, wiring: model.wiring(), circuit, scores: scores.mean, per_pair })
    }

    /// How much two draws of the pairs differ at one checkpoint.
    pub(super) fn noise(&self, checkpoint: &str, found: &Found) -> Result<NoiseFloor, Error> {
        let selection = Selection::Top(self.edges.min(found.wiring.n_edges()));
        let draws = Draws { selection, rank: Rank::Absolute, draws: RESAMPLES, seed: self.seed };
        draws.noise(checkpoint, found.wiring, &found.per_pair)
    }

    /// The test of every head's change from `base` to `found`; emergent heads are decided by it.
    pub(super) fn test(&self, base: &Found, found: &Found) -> Result<Vec<HeadEmergence>, Error> {
        let mut how = Emergence::new(Selection::Top(self.edges.min(base.wiring.n_edges())));
        (how.draws, how.rate, how.seed) = (RESAMPLES, RATE, self.seed);
        how.test(base.wiring, &base.per_pair, &found.per_pair)
    }

    /// The effect of a run on every head: shares of importance in the base and, on average, in `found`. The
    /// interval is that of the last checkpoint, whose test is `tested`.
    pub(super) fn effects(
        &self,
        base: &Found,
        found: &[&Found],
        tested: &[HeadEmergence],
    ) -> Vec<TrainingEffect> {
        let importance = |f: &Found| head_importance(&f.circuit, &f.scores);
        let before = importance(base);
        let after: Vec<_> = found.iter().map(|f| importance(f)).collect();
        let row = |head: Head| {
            let pre = f64::from(*before.get(head));
            let post = after.iter().map(|m| f64::from(*m.get(head))).sum::<f64>() / after.len().max(1) as f64;
            let interval = tested.iter().find(|t| t.head == head).map(|t| t.effect_interval);
            TrainingEffect { head, before: pre, after: post, effect: dynamics::effect(pre, post), interval }
        };
        base.wiring.heads().map(row).filter(|e| e.before + e.after > 0.0).collect()
    }
}
