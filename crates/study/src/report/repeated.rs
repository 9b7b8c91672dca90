//! Heads that every seed of a training has, beside how many chance would give.

use std::collections::BTreeSet;

use hooks::Head;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::results::{Results, SeedRun, SeedTraining, Training};

/// Heads that every seed has in a set.
pub(super) struct Same {
    pub(super) heads: Vec<Head>,
    /// How many it would have there by chance: as many heads drawn from the same layers.
    pub(super) expected: f64,
    /// How often chance gives at least as many.
    pub(super) p: f64,
}

/// New and lost heads that every seed has.
pub(super) struct Repeated {
    pub(super) new: Same,
    pub(super) lost: Same,
}

/// What is drawn by chance, for the reader.
pub(super) const CHANCE: &str = "by chance: as many heads drawn from the same layers, new ones outside and lost ones inside the seed’s circuit of the base";

/// Draws behind [`Same::p`].
const DRAWN: usize = 9999;

/// `None` with one seed.
pub(super) fn same_in_every_seed(results: &Results, run: &Training) -> Option<Repeated> {
    let seeds = &results.stability.as_ref().filter(|found| found.runs.len() > 1)?.runs;
    let ends: Option<Vec<&SeedTraining>> =
        seeds.iter().map(|s| s.trainings.iter().find(|t| t.name == run.name)).collect();
    let ends = ends?;
    let same = |sets: fn(&SeedTraining) -> &[Head], kept: bool| {
        let pools: Vec<Vec<Layer>> =
            seeds.iter().zip(&ends).map(|(s, t)| layers(results, s, (sets(t), kept))).collect();
        let heads: Vec<Head> = sets(ends[0])
            .iter()
            .filter(|head| ends.iter().all(|t| sets(t).contains(head)))
            .copied()
            .collect();
        let chance = |head: Head| -> f64 { pools.iter().map(|seed| seed[head.layer].chance(head)).product() };
        let expected = results.model.heads().map(chance).sum();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut as_many = || {
            let mut left: Vec<Head> = results.model.heads().collect();
            for seed in &pools {
                let drawn: BTreeSet<Head> = seed.iter().flat_map(|layer| layer.draw(&mut rng)).collect();
                left.retain(|head| drawn.contains(head));
            }
            left.len() >= heads.len()
        };
        let n = (0..DRAWN).filter(|_| as_many()).count();
        Same { heads, expected, p: (n + 1) as f64 / (DRAWN + 1) as f64 }
    };
    Some(Repeated { new: same(|t| &t.new, false), lost: same(|t| &t.lost, true) })
}

/// The chance that a seed has `head` in a set of new heads, were they as many drawn from the same layers.
pub(super) fn chance(results: &Results, seed: &SeedRun, set: &[Head], head: Head) -> f64 {
    layers(results, seed, (set, false))[head.layer].chance(head)
}

/// How many heads a seed has in a set in one layer, and the heads that they are drawn from.
struct Layer {
    n: usize,
    pool: Vec<Head>,
}

impl Layer {
    /// The chance that a draw has `head`.
    fn chance(&self, head: Head) -> f64 {
        if self.pool.contains(&head) { (self.n as f64 / self.pool.len() as f64).min(1.0) } else { 0.0 }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<Head> {
        self.pool.choose_multiple(rng, self.n).copied().collect()
    }
}

/// The layers of a seed's set. Heads are drawn out of those inside (`kept`) or outside the seed's circuit of the base; where
/// that was not stored it is this study's.
fn layers(results: &Results, seed: &SeedRun, (set, kept): (&[Head], bool)) -> Vec<Layer> {
    let here = || results.base.circuit.as_ref().map_or(&[][..], |c| &c.heads);
    let base = if seed.base_heads.is_empty() { here() } else { &seed.base_heads };
    let one = |layer: usize| Layer {
        n: set.iter().filter(|h| h.layer == layer).count(),
        pool: results.model.heads().filter(|h| h.layer == layer && base.contains(h) == kept).collect(),
    };
    (0..results.model.n_layers).map(one).collect()
}
