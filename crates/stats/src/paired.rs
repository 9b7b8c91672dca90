//! Two runs on the same problems: the paired bootstrap of their difference and McNemar's exact test.

use statrs::distribution::{Binomial, DiscreteCDF};

use crate::Interval;
use crate::bootstrap::{interval_of_mean, resampled_means};

/// The difference between two runs, resampled over problems.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairedBootstrap {
    /// Mean of `after - before`, with its percentile interval.
    pub difference: Interval,
    /// Two-sided bootstrap p-value of "no difference": twice the smaller share of resamples on either side of
    /// zero, with one added to both counts (Davison & Hinkley 1997, eq. 4.11).
    pub p_value: f64,
}

/// Resamples problems `resamples` times and takes the mean of `after[i] - before[i]`; deterministic in `seed`.
///
/// # Panics
/// The slices differ in length or are empty, or `level` is not between 0 and 1.
pub fn paired_bootstrap(
    before: &[f64],
    after: &[f64],
    level: f64,
    resamples: usize,
    seed: u64,
) -> PairedBootstrap {
    assert_eq!(before.len(), after.len(), "before and after: expected one value for each problem");
    assert!(!before.is_empty(), "expected at least one problem");
    assert!(level > 0.0 && level < 1.0, "level: expected a number between 0 and 1, got {level}");
    let differences: Vec<f64> = before.iter().zip(after).map(|(b, a)| a - b).collect();
    let means = resampled_means(&differences, resamples, seed);
    // A mean of exactly zero counts on both sides.
    let below = means.iter().filter(|&&m| m <= 0.0).count();
    let above = means.iter().filter(|&&m| m >= 0.0).count();
    let p_value = (2.0 * (below.min(above) + 1) as f64 / (means.len() + 1) as f64).min(1.0);
    PairedBootstrap { difference: interval_of_mean(&differences, level, &means), p_value }
}

/// McNemar's test on problems that exactly one of two runs solved.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mcnemar {
    /// Problems that only the first run solved.
    pub only_before: usize,
    /// Problems that only the second run solved.
    pub only_after: usize,
    /// Two-sided exact p-value: `min(1, 2 P[Binomial(b + c, ½) ≤ min(b, c)])`.
    pub p_value: f64,
}

/// The exact test (McNemar 1947, binomial form) on one verdict a problem and run.
///
/// # Panics
/// The slices differ in length.
pub fn mcnemar(before: &[bool], after: &[bool]) -> Mcnemar {
    assert_eq!(before.len(), after.len(), "before and after: expected one verdict for each problem");
    let only_before = before.iter().zip(after).filter(|(b, a)| **b && !**a).count();
    let only_after = before.iter().zip(after).filter(|(b, a)| !**b && **a).count();
    let n = (only_before + only_after) as u64;
    let tail = Binomial::new(0.5, n).map_or(1.0, |d| d.cdf(only_before.min(only_after) as u64));
    Mcnemar { only_before, only_after, p_value: if n == 0 { 1.0 } else { (2.0 * tail).min(1.0) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_matches_the_binomial_tail() {
        let run = |b: usize, c: usize| {
            let before: Vec<bool> = (0..b + c).map(|i| i < b).collect();
            let after: Vec<bool> = before.iter().map(|x| !x).collect();
            mcnemar(&before, &after).p_value
        };
        assert!((run(1, 0) - 1.0).abs() < 1e-12);
        assert!((run(0, 6) - 2.0 / 64.0).abs() < 1e-12);
        assert!((run(2, 8) - 2.0 * 56.0 / 1024.0).abs() < 1e-12);
        assert_eq!(mcnemar(&[true, false], &[true, false]).p_value, 1.0);
    }

    #[test]
    fn bootstrap_sees_a_large_shift_and_not_a_null() {
        let before = [0.0; 20];
        let after = [1.0; 20];
        assert!(paired_bootstrap(&before, &after, 0.95, 500, 0).p_value < 0.01);
        assert_eq!(paired_bootstrap(&before, &before, 0.95, 500, 0).p_value, 1.0);
    }
}
