//! The noise floor of a checkpoint: how much its circuit differs between draws of the pairs.

use circuits::{Circuit, PerPair, Rank, Selection};
use hooks::{EdgeMap, Head, Wiring};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
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
        for _ in 0..self.draws {
            let (a, b) =
                (self.draw(wiring, &rows, &mut rng)?.heads(), self.draw(wiring, &rows, &mut rng)?.heads());
            changed.push(a.symmetric_difference(&b).count() as f64);
            let (a, b): (Vec<Head>, Vec<Head>) = (a.into_iter().collect(), b.into_iter().collect());
            turnover.push(dynamics::turnover(&a, &b));
        }
        Ok(NoiseFloor {
            checkpoint: checkpoint.into(),
            repeats: self.draws,
            turnover: range(turnover),
            changed_heads: range(changed),
        })
    }

    /// The circuits of draws of the pairs, with replacement; draw `k` takes the same pairs of any scores.
    pub(crate) fn circuits(&self, wiring: Wiring, scores: &PerPair) -> Result<Vec<Circuit>, Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x6472_6177);
        let rows = scores.rows(wiring)?;
        (0..self.draws).map(|_| self.draw(wiring, &rows, &mut rng)).collect()
    }

    /// The circuit that a draw of the pairs, with replacement, gives.
    fn draw(&self, wiring: Wiring, rows: &[&[f32]], rng: &mut ChaCha8Rng) -> Result<Circuit, Error> {
        let mut sum = vec![0f32; wiring.n_edges()];
        for _ in 0..rows.len() {
            let row = rows[rng.random_range(0..rows.len())];
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let scale = 1.0 / rows.len() as f32;
        sum.iter_mut().for_each(|x| *x *= scale);
        Ok(Circuit::select(&EdgeMap::from_values(wiring, sum), self.selection, self.rank)?.pruned())
    }
}

/// Mean and the central 95 %.
fn range(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    Interval::percentile(values.iter().sum::<f64>() / values.len() as f64, &values, 0.95)
}
