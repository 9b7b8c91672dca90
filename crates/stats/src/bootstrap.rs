//! The percentile bootstrap over problems.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Interval;

/// The mean of `values` (one a problem) with the percentile bootstrap interval of `resamples` resamples of
/// problems (Efron & Tibshirani 1993, ch. 13). Deterministic in `seed`. For statistics that are not rates:
/// lengths, scores. No values give NaN throughout.
///
/// # Panics
/// `level` is not strictly between 0 and 1.
pub fn bootstrap_mean(values: &[f64], level: f64, resamples: usize, seed: u64) -> Interval {
    assert!(level > 0.0 && level < 1.0, "level: expected a number between 0 and 1, got {level}");
    if values.is_empty() {
        return Interval { estimate: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
    interval_of_mean(values, level, &resampled_means(values, resamples, seed))
}

/// Means of `resamples` (at least one) resamples of `values`.
pub(crate) fn resampled_means(values: &[f64], resamples: usize, seed: u64) -> Vec<f64> {
    let n = values.len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..resamples.max(1))
        .map(|_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect()
}

/// The mean of `values` with the percentile interval of `means`, widened to hold it.
pub(crate) fn interval_of_mean(values: &[f64], level: f64, means: &[f64]) -> Interval {
    let estimate = values.iter().sum::<f64>() / values.len() as f64;
    let percentile = Interval::percentile(estimate, means, level);
    Interval { low: percentile.low.min(estimate), high: percentile.high.max(estimate), ..percentile }
}
