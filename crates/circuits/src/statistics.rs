//! Small statistics on plain numbers: quantiles, intervals, false-discovery control.

use serde::Serialize;

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The central interval of `values` that holds `level` of them (a percentile bootstrap interval when
    /// they are bootstrap replicates).
    ///
    /// # Panics
    /// If there are no values.
    pub fn central(values: &[f64], level: f64) -> Self {
        let tail = (1.0 - level) / 2.0;
        Self { low: quantile(values, tail), high: quantile(values, 1.0 - tail) }
    }
}

/// The quantile of `values` at `p` by linear interpolation (type 7).
pub(crate) fn quantile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = p * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (place - low as f64) * (sorted[high] - sorted[low])
}

/// Which of `p_values` to reject so that the expected share of false rejections is at most `q`: the step-up
/// rule of Benjamini and Hochberg (1995), the largest k with p_(k) ≤ q k / m.
pub fn benjamini_hochberg(p_values: &[f64], q: f64) -> Vec<bool> {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let m = sorted.len() as f64;
    let passes = |(k, p): &(usize, &f64)| **p <= q * (*k + 1) as f64 / m;
    let cut = sorted.iter().enumerate().filter(passes).map(|(_, p)| *p).next_back();
    p_values.iter().map(|&p| cut.is_some_and(|cut| p <= cut)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_example() {
        // Benjamini & Hochberg (1995), section 3.1: 15 p-values, four rejected at q = 0.05.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0,
        ];
        assert_eq!(benjamini_hochberg(&p, 0.05).iter().filter(|&&r| r).count(), 4);
        assert!(benjamini_hochberg(&[], 0.05).is_empty());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.25), 1.5);
        assert_eq!(Interval::central(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.5), Interval { low: 1.0, high: 3.0 });
    }
}
