//! The noise floor of a checkpoint: how much its circuit differs between draws of the pairs.

use circuits::{Circuit, PerPair, Rank, Selection};
use hooks::{EdgeMap, Head, Wiring};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use stats::Interval;

use crate::results::NoiseFloor;
use crate::{Error, dynamics};

/// How circuits are drawn: the rule that selects them, the number of pairs of draws, the seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    pub(crate) selection: Selection,
    pub(crate) rank: Rank,
    pub(crate) draws: usize,
    pub(crate) seed: u64,
}

impl Draws {
    /// The noise floor of one checkpoint's per-pair scores over `wiring`.
    pub(crate) fn noise(
        &self,
        checkpoint: &str,
        wiring: Wiring,
        scores: &PerPair,
    ) -> Result<NoiseFloor, Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x6e6f_6973);
        let rows = scores.rows(wiring)?;
        let (mut turnover, mut changed) = (Vec::new(), Vec::new());
        let heads = |circuit: Circuit| circuit.heads();
        for two in self.drawn(wiring, &rows, (2 * self.draws, &mut rng), heads)?.chunks_exact(2) {
            let (a, b) = (&two[0], &two[1]);
            changed.push(a.symmetric_difference(b).count() as f64);
            let (a, b): (Vec<Head>, Vec<Head>) = (a.iter().copied().collect(), b.iter().copied().collect());
            turnover.push(dynamics::turnover(&a, &b));
        }
        Ok(NoiseFloor {
            checkpoint: checkpoint.into(),
            repeats: self.draws,
            turnover: range(turnover),
            changed_heads: range(changed),
        })
    }

    /// What `of` makes of the circuits of draws of the pairs, with replacement; draw `k` takes the same pairs of any
    /// scores.
    pub(crate) fn circuits<T: Send>(
        &self,
        wiring: Wiring,
        scores: &PerPair,
        of: impl Fn(Circuit) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x6472_6177);
        let rows = scores.rows(wiring)?;
        self.drawn(wiring, &rows, (self.draws, &mut rng), of)
    }

    fn drawn<T: Send>(
        &self,
        wiring: Wiring,
        rows: &[&[f32]],
        (n, rng): (usize, &mut ChaCha8Rng),
        of: impl Fn(Circuit) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut draw = || -> Vec<usize> { rows.iter().map(|_| rng.random_range(0..rows.len())).collect() };
        let draws: Vec<Vec<usize>> = (0..n).map(|_| draw()).collect();
        let circuit = |draw: &Vec<usize>| {
            let mut sum = vec![0f32; wiring.n_edges()];
            for &at in draw {
                sum.iter_mut().zip(rows[at]).for_each(|(sum, x)| *sum += x);
            }
            let scale = 1.0 / rows.len() as f32;
            sum.iter_mut().for_each(|x| *x *= scale);
            let scores = EdgeMap::from_values(wiring, sum);
            Ok(of(Circuit::select(&scores, self.selection, self.rank)?.pruned()))
        };
        draws.par_iter().map(circuit).collect()
    }
}

/// Mean and the central 95 %.
fn range(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    Interval::percentile(values.iter().sum::<f64>() / values.len() as f64, &values, 0.95)
}
