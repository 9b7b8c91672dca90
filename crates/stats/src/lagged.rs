//! Correlation of two series at several lags, tested without breaking the series apart.

use crate::correlation::{pearson, ranks};

/// Spearman's correlation of two series at one lag.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lagged {
    /// Points by which the first series is ahead: `x[t]` is compared with `y[t + lag]`.
    pub lag: i64,
    /// Spearman's coefficient, −1 to 1.
    pub coefficient: f64,
    /// Two-sided p-value at this lag alone, not corrected for the number of lags: the share of circular shifts of `y`,
    /// the observed one included, whose coefficient at this lag is at least as large.
    pub p_value: f64,
    /// Number of points compared.
    pub n: usize,
}

/// Correlations at several lags, and one test of the largest.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LaggedCorrelation {
    /// One entry a lag, from `-max_lag` to `max_lag`; lags at which a side is constant are left out.
    pub lags: Vec<Lagged>,
    /// Two-sided p-value of the largest absolute coefficient over lags: the share of circular shifts of `y`, the
    /// observed one included, whose largest is at least as large. Never below 1 over the number of points.
    pub p_value: f64,
    /// Number of circular shifts, the observed one included.
    pub shifts: usize,
}

/// Spearman's correlation of `x` with `y` at lags `-max_lag` to `max_lag`. The test compares with all circular
/// shifts of `y`, which keep the autocorrelation of both series (Politis & White 2004 discuss why exchanging single
/// points does not); taking the largest over lags corrects for their number. `None` for series of different
/// lengths, fewer than four points at the largest lag, or where every lag has a constant side.
pub fn lagged_spearman(x: &[f64], y: &[f64], max_lag: usize) -> Option<LaggedCorrelation> {
    if x.len() != y.len() || x.len() < max_lag + 4 {
        return None;
    }
    let shifts = y.len();
    let mut shifted = y.to_vec();
    // One entry a shift, the observed one first.
    let all: Vec<Vec<(i64, f64)>> = (0..shifts)
        .map(|_| {
            let found = at_lags(x, &shifted, max_lag);
            shifted.rotate_left(1);
            found
        })
        .collect();
    let largest = |found: &[(i64, f64)]| found.iter().map(|(_, c)| c.abs()).reduce(f64::max);
    let share = |least: f64, sizes: &mut dyn Iterator<Item = f64>| {
        sizes.filter(|size| *size >= least - 1e-12).count() as f64 / shifts as f64
    };
    let at_lag = |found: &[(i64, f64)], lag: i64| found.iter().find(|(l, _)| *l == lag).map(|(_, c)| c.abs());
    let one = |&(lag, coefficient): &(i64, f64)| Lagged {
        lag,
        coefficient,
        p_value: share(coefficient.abs(), &mut all.iter().filter_map(|found| at_lag(found, lag))),
        n: shifts - lag.unsigned_abs() as usize,
    };
    let observed = largest(&all[0])?;
    let p_value = share(observed, &mut all.iter().filter_map(|found| largest(found)));
    Some(LaggedCorrelation { lags: all[0].iter().map(one).collect(), p_value, shifts })
}

/// The lags at which neither side is constant, with their coefficients.
fn at_lags(x: &[f64], y: &[f64], max_lag: usize) -> Vec<(i64, f64)> {
    let n = x.len();
    let one = |lag: i64| {
        let by = lag.unsigned_abs() as usize;
        let (x, y) = if lag >= 0 { (&x[..n - by], &y[by..]) } else { (&x[by..], &y[..n - by]) };
        pearson(&ranks(x), &ranks(y)).map(|coefficient| (lag, coefficient))
    };
    (-(max_lag as i64)..=max_lag as i64).filter_map(one).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_delayed_copy_is_found_at_its_lag() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let noise: Vec<f64> = (0..42).map(|_| rng.random()).collect();
        let (x, y) = (&noise[2..], &noise[..40]); // y[t + 2] = x[t]
        let found = lagged_spearman(x, y, 3).unwrap();
        let best = found.lags.iter().max_by(|a, b| a.coefficient.total_cmp(&b.coefficient)).unwrap();
        // No other shift is as large at that lag.
        assert_eq!((best.lag, best.coefficient, best.p_value, best.n), (2, 1.0, 1.0 / 40.0, 38));
        // The shift that lags by one more, still within the largest lag, is as large.
        assert_eq!((found.p_value, found.shifts), (2.0 / 40.0, 40));
    }

    #[test]
    fn the_test_keeps_its_level_on_independent_slow_series() {
        // First-order autoregression with coefficient 0.9: exchanging single points would find far too much.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let slow = |rng: &mut ChaCha8Rng| {
            let mut at = 0.0;
            (0..60)
                .map(|_| {
                    at = 0.9 * at + rng.random::<f64>() - 0.5;
                    at
                })
                .collect::<Vec<f64>>()
        };
        let (mut ours, mut exchanged) = (0, 0);
        for seed in 0..200 {
            let (x, y) = (slow(&mut rng), slow(&mut rng));
            ours += usize::from(lagged_spearman(&x, &y, 2).unwrap().p_value <= 0.05);
            exchanged += usize::from(crate::spearman(&x, &y, 200, seed).unwrap().p_value <= 0.05);
        }
        // 10 expected; 24 is beyond 4 standard deviations of a binomial. Ends that do not meet cost a little.
        assert!(ours <= 24, "{ours} of 200");
        assert!(exchanged > 60, "{exchanged} of 200");
    }

    #[test]
    fn too_few_or_constant_points_give_nothing() {
        assert_eq!(lagged_spearman(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 0), None);
        assert_eq!(lagged_spearman(&[1.0; 9], &[2.0; 9], 1), None);
    }
}
