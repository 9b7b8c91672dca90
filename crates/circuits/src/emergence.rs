//! Emergent heads and edges: what changed between two checkpoints beyond the noise of the pairs.
//!
//! A head or edge in the later circuit only is **new**. It is **emergent** if it is new and its change is found
//! at the stated false-discovery rate ([`Emergence::rate`]).
//!
//! The test is on strength `S(h) = Σ |mean score|` over *all* edges whose source is head `h`, divided by its sum
//! over heads: importance before any edge is selected, since which edges pass a cut is noisier than their
//! scores. The statistic is `T = S_post − S_base`. Labels of the two checkpoints are exchanged at random, within
//! each pair of prompts where both sides have the same pairs, else over all pairs
//! ([`stats::ExchangeTest`], with p-values pooled over heads). Heads are rejected by
//! [`stats::benjamini_hochberg`] over all heads. Equations: `docs/METHODS.md`, "Heads between checkpoints".

use hooks::{Edge, EdgeMap, Head, Wiring, Writer};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use stats::{ExchangeTest, Interval, benjamini_hochberg, quantile};

use crate::compare::{effect, head_importance};
use crate::{Circuit, Error, PerPair, Rank, Selection};

/// Membership of a head or edge in the earlier and the later circuit, and whether a new one is emergent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// In the later circuit only, and the change is found at the false-discovery rate.
    Emergent,
    /// In the later circuit only; the change is not found.
    New,
    /// In both circuits.
    Retained,
    /// In the earlier circuit only.
    Lost,
    /// In neither.
    Outside,
}

impl Fate {
    fn of(was: bool, is: bool, significant: bool) -> Self {
        match (was, is) {
            (false, true) if significant => Fate::Emergent,
            (false, true) => Fate::New,
            (true, true) => Fate::Retained,
            (true, false) => Fate::Lost,
            (false, false) => Fate::Outside,
        }
    }
}

/// One edge between two checkpoints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdgeEmergence {
    /// Which edge.
    pub edge: Edge,
    /// Which circuits it is in.
    pub fate: Fate,
    /// Its mean score before, as a share of Σ |mean score| over edges.
    pub base: f32,
    /// Its share after.
    pub post: f32,
    /// Two-sided p-value of the change in share.
    pub p_value: f64,
    /// Whether the change is found at the false-discovery rate asked for.
    pub significant: bool,
}

/// One head between two checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeadEmergence {
    /// Which head.
    pub head: Head,
    /// Which circuits it is in.
    pub fate: Fate,
    /// Its importance before.
    pub base: f32,
    /// Its importance after.
    pub post: f32,
    /// E = (post − base) / (post + base + 1e-6).
    pub effect: f32,
    /// E with its 95 % percentile interval over bootstrap draws of the pairs (−1 to 1 without draws).
    pub effect_interval: Interval,
    /// The share of bootstrap draws whose earlier circuit has the head.
    pub base_frequency: f32,
    /// The share of bootstrap draws whose later circuit has the head.
    pub post_frequency: f32,
    /// Two-sided p-value of the change in strength.
    pub p_value: f64,
    /// Whether the change is found at the false-discovery rate asked for.
    pub significant: bool,
}

/// The test of change between two checkpoints: how circuits are selected, number of draws, false-discovery rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Emergence {
    /// How edges are selected from mean scores; circuits are pruned.
    pub selection: Selection,
    /// By which scores.
    pub rank: Rank,
    /// Exchanges of labels, and as many bootstrap draws.
    pub draws: usize,
    /// The false-discovery rate.
    pub rate: f64,
    /// Seed of all draws.
    pub seed: u64,
}

/// The noise floor: how much circuits of one checkpoint differ between random halves of its pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SplitNoise {
    /// Heads in the second half's circuit and not in the first's, on average.
    pub heads_gained: f64,
    /// Jaccard index of the two sets of heads, on average.
    pub heads_jaccard: f64,
    /// Jaccard index of the two sets of edges, on average.
    pub edges_jaccard: f64,
    /// The 95th percentile of |E| over heads in either circuit and splits: smaller effects are noise.
    pub effect_95: f64,
}

impl Emergence {
    /// The defaults: 200 draws, a rate of 5 %, absolute scores.
    pub fn new(selection: Selection) -> Self {
        Self { selection, rank: Rank::Absolute, draws: 200, rate: 0.05, seed: 0 }
    }

    /// The circuit of the mean over `rows` of per-pair scores.
    fn circuit(&self, wiring: Wiring, rows: &[&[f32]]) -> Result<(Circuit, EdgeMap<f32>), Error> {
        let mut sum = summed(rows);
        let scale = 1.0 / rows.len().max(1) as f32;
        sum.iter_mut().for_each(|x| *x *= scale);
        let scores = EdgeMap::from_values(wiring, sum);
        Ok((Circuit::select(&scores, self.selection, self.rank)?.pruned(), scores))
    }

    /// Tests every head between two checkpoints' per-pair scores over `wiring`. Where both have the same pair
    /// ids in the same order the test is paired.
    ///
    /// # Errors
    /// Fewer than two pairs on a side, scores of another graph, or what [`Circuit::select`] refuses.
    pub fn test(&self, wiring: Wiring, base: &PerPair, post: &PerPair) -> Result<Vec<HeadEmergence>, Error> {
        let (before, after) = (base.rows(wiring)?, post.rows(wiring)?);
        let paired = base.ids == post.ids;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let (pre_circuit, pre_scores) = self.circuit(wiring, &before)?;
        let (post_circuit, post_scores) = self.circuit(wiring, &after)?;
        let (pre, now) =
            (head_importance(&pre_circuit, &pre_scores), head_importance(&post_circuit, &post_scores));
        let heads: Vec<Head> = wiring.heads().collect();
        let sources = sources(wiring);
        let strength = |rows: &[&[f32]]| strength(&sources, rows, heads.len());
        let test = ExchangeTest { paired, draws: self.draws };
        let p_values = test.p_values(&before, &after, &mut rng, strength);
        let significant = benjamini_hochberg(&p_values, self.rate);

        let mut draw = |n: usize| -> Vec<usize> { (0..n).map(|_| rng.random_range(0..n)).collect() };
        let draws = (0..self.draws).map(|_| {
            let of_base = draw(before.len());
            let of_post = if paired { of_base.clone() } else { draw(after.len()) };
            (of_base, of_post)
        });
        let pick = |rows: &[&'_ [f32]], draw: &[usize]| -> Result<_, Error> {
            let rows: Vec<&[f32]> = draw.iter().map(|&i| rows[i]).collect();
            let (circuit, scores) = self.circuit(wiring, &rows)?;
            Ok((circuit.heads(), head_importance(&circuit, &scores)))
        };
        let draws: Vec<_> = draws.collect();
        let picked = draws.par_iter().map(|(base, post)| Ok((pick(&before, base)?, pick(&after, post)?)));
        let mut effects = vec![Vec::with_capacity(self.draws); heads.len()];
        let mut counts = vec![(0usize, 0usize); heads.len()];
        for ((pre_heads, pre), (post_heads, now)) in picked.collect::<Result<Vec<_>, Error>>()? {
            for (i, head) in heads.iter().enumerate() {
                effects[i].push(f64::from(effect(*pre.get(*head), *now.get(*head))));
                counts[i].0 += usize::from(pre_heads.contains(head));
                counts[i].1 += usize::from(post_heads.contains(head));
            }
        }
        let (was, is) = (pre_circuit.heads(), post_circuit.heads());
        let n = self.draws.max(1) as f32;
        let row = |(i, &head): (usize, &Head)| HeadEmergence {
            head,
            fate: Fate::of(was.contains(&head), is.contains(&head), significant[i]),
            base: *pre.get(head),
            post: *now.get(head),
            effect: effect(*pre.get(head), *now.get(head)),
            effect_interval: interval(effect(*pre.get(head), *now.get(head)), &effects[i]),
            base_frequency: counts[i].0 as f32 / n,
            post_frequency: counts[i].1 as f32 / n,
            p_value: p_values[i],
            significant: significant[i],
        };
        Ok(heads.iter().enumerate().map(row).collect())
    }

    /// Tests every edge between two checkpoints' per-pair scores, as [`test`](Self::test) does heads: the
    /// statistic is the edge's share `mean score / Σ |mean score|`, sign included.
    ///
    /// # Errors
    /// As [`test`](Self::test).
    pub fn test_edges(
        &self,
        wiring: Wiring,
        base: &PerPair,
        post: &PerPair,
    ) -> Result<Vec<EdgeEmergence>, Error> {
        let (before, after) = (base.rows(wiring)?, post.rows(wiring)?);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let ((was, _), (is, _)) = (self.circuit(wiring, &before)?, self.circuit(wiring, &after)?);
        let test = ExchangeTest { paired: base.ids == post.ids, draws: self.draws };
        let p_values = test.p_values(&before, &after, &mut rng, shares);
        let significant = benjamini_hochberg(&p_values, self.rate);
        let (pre, now) = (shares(&before), shares(&after));
        let row = |(i, edge): (usize, Edge)| EdgeEmergence {
            edge,
            fate: Fate::of(was.contains(edge), is.contains(edge), significant[i]),
            base: pre[i],
            post: now[i],
            p_value: p_values[i],
            significant: significant[i],
        };
        Ok(wiring.edges().enumerate().map(row).collect())
    }

    /// How often each edge is selected over bootstrap draws of pairs.
    ///
    /// # Errors
    /// As [`test`](Self::test).
    pub fn selection_frequency(&self, wiring: Wiring, scores: &PerPair) -> Result<EdgeMap<f32>, Error> {
        let rows = scores.rows(wiring)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut counts = vec![0usize; wiring.n_edges()];
        for _ in 0..self.draws {
            let draw: Vec<&[f32]> = (0..rows.len()).map(|_| rows[rng.random_range(0..rows.len())]).collect();
            let (circuit, _) = self.circuit(wiring, &draw)?;
            counts
                .iter_mut()
                .zip(circuit.selection().values())
                .for_each(|(n, &kept)| *n += usize::from(kept));
        }
        let share = |n: &usize| *n as f32 / self.draws.max(1) as f32;
        Ok(EdgeMap::from_values(wiring, counts.iter().map(share).collect()))
    }

    /// Splits the pairs of one checkpoint in two at random, `draws` times, and compares the halves' circuits.
    ///
    /// # Errors
    /// As [`test`](Self::test).
    pub fn noise_floor(&self, wiring: Wiring, scores: &PerPair) -> Result<SplitNoise, Error> {
        let mut rows = scores.rows(wiring)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let (mut gained, mut heads, mut edges, mut effects) = (0.0, 0.0, 0.0, vec![0.0]);
        for _ in 0..self.draws {
            rows.shuffle(&mut rng);
            let (first, second) = rows.split_at(rows.len() / 2);
            let (a, b) = (self.circuit(wiring, first)?, self.circuit(wiring, second)?);
            let found = crate::compare((&a.0, &a.1), (&b.0, &b.1))?;
            let jaccard = |kept: usize, other: usize| kept as f64 / (kept + other).max(1) as f64;
            gained += found.heads_gained.len() as f64;
            heads += jaccard(found.heads_kept.len(), found.heads_gained.len() + found.heads_lost.len());
            edges += jaccard(found.edges_kept.len(), found.edges_gained.len() + found.edges_lost.len());
            effects.extend(found.effects.iter().map(|change| f64::from(change.effect.abs())));
        }
        let n = self.draws.max(1) as f64;
        Ok(SplitNoise {
            heads_gained: gained / n,
            heads_jaccard: heads / n,
            edges_jaccard: edges / n,
            effect_95: quantile(&effects, 0.95),
        })
    }
}

/// The 95 % percentile interval of E.
fn interval(effect: f32, draws: &[f64]) -> Interval {
    let at = |p: f64, none: f64| if draws.is_empty() { none } else { quantile(draws, p) };
    let tail = (1.0 - 0.95) / 2.0;
    Interval { estimate: f64::from(effect), low: at(tail, -1.0), high: at(1.0 - tail, 1.0) }
}

/// The head (layer by layer) that each edge starts from, or `usize::MAX`.
fn sources(wiring: Wiring) -> Vec<usize> {
    let of = |edge: hooks::Edge| match edge.from {
        Writer::Head(h) => h.layer * wiring.n_heads + h.head,
        Writer::Input | Writer::Mlp(_) => usize::MAX,
    };
    wiring.edges().map(of).collect()
}

/// Sums of rows, in the order of the rows.
fn summed(rows: &[&[f32]]) -> Vec<f32> {
    let mut sums = vec![0.0f32; rows.first().map_or(0, |row| row.len())];
    for row in rows {
        sums.iter_mut().zip(*row).for_each(|(sum, x)| *sum += x);
    }
    sums
}

/// Each edge's mean score over Σ |mean score|.
fn shares(rows: &[&[f32]]) -> Vec<f32> {
    let sums = summed(rows);
    let total = sums.iter().map(|s| f64::from(s.abs())).sum::<f64>().max(f64::MIN_POSITIVE);
    sums.iter().map(|&s| (f64::from(s) / total) as f32).collect()
}

/// S(h) of each head: its share of Σ |mean score| over edges that start from heads.
fn strength(sources: &[usize], rows: &[&[f32]], n_heads: usize) -> Vec<f32> {
    let sums = summed(rows);
    let mut strengths = vec![0.0f64; n_heads];
    for (&source, sum) in sources.iter().zip(&sums).filter(|(source, _)| **source != usize::MAX) {
        strengths[source] += f64::from(sum.abs());
    }
    let total = strengths.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    strengths.iter().map(|s| (s / total) as f32).collect()
}
