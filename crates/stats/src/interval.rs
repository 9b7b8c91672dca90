//! Confidence intervals of shares: Wilson's for one sample a problem, a clustered one for several samples.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// A point estimate with a confidence interval, all in the units of what was averaged.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interval {
    /// The point estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// `estimate` with the central percentiles of `draws` that hold a share `level` of them (nearest rank); the
    /// draws are bootstrap replicates of the estimate, or repeats of a measurement.
    ///
    /// # Panics
    /// `draws` is empty.
    pub fn percentile(estimate: f64, draws: &[f64], level: f64) -> Self {
        let mut sorted = draws.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        let at = |q: f64| sorted[((q * last as f64).round() as usize).min(last)];
        Self { estimate, low: at((1.0 - level) / 2.0), high: at((1.0 + level) / 2.0) }
    }

    /// Whether 0 is inside.
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// The two-sided standard normal quantile of confidence `level`, e.g. 1.96 for 0.95.
///
/// # Panics
/// `level` is not strictly between 0 and 1 (as everywhere in this file).
fn normal_quantile(level: f64) -> f64 {
    assert!(level > 0.0 && level < 1.0, "level: expected a number between 0 and 1, got {level}");
    Normal::standard().inverse_cdf(0.5 + level / 2.0)
}

/// The same for Student's t with `freedom` degrees of freedom (at least 1).
fn student_quantile(level: f64, freedom: f64) -> f64 {
    assert!(level > 0.0 && level < 1.0, "level: expected a number between 0 and 1, got {level}");
    StudentsT::new(0.0, 1.0, freedom.max(1.0)).map_or(f64::INFINITY, |t| t.inverse_cdf(0.5 + level / 2.0))
}

/// Wilson's score interval of `successes` in `n` independent trials (Wilson 1927, eq. in Brown, Cai & DasGupta
/// 2001, §3.1.1). `n = 0` gives the vacuous `[0, 1]` with estimate NaN.
///
/// # Panics
/// `successes > n`.
pub fn wilson(successes: usize, n: usize, level: f64) -> Interval {
    assert!(successes <= n, "successes: expected at most n = {n}, got {successes}");
    if n == 0 {
        return Interval { estimate: f64::NAN, low: 0.0, high: 1.0 };
    }
    score(successes as f64 / n as f64, n as f64, normal_quantile(level))
}

/// The score interval of proportion `p` among `n` trials (`n` may be fractional: an effective size).
fn score(p: f64, n: f64, z: f64) -> Interval {
    let z2 = z * z;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Interval { estimate: p, low: (centre - half).clamp(0.0, p), high: (centre + half).clamp(p, 1.0) }
}

/// The mean of per-problem rates in `[0, 1]` (each the mean over that problem's samples), with an interval
/// clustered by problem.
///
/// The standard error is that of the cluster means; it becomes an effective sample size
/// `n* = p(1-p)/SE²`, shrunk by `(z/t)²` with t on `problems - 1` degrees of freedom, and Wilson's interval is
/// taken at `n*` (Korn & Graubard 1998; Franco et al. 2019), which stays inside `[0, 1]` and keeps its coverage
/// near the ends. With no spread at all `n*` is the number of problems. With one sample a problem it is close
/// to [`wilson`]. No problems gives `[0, 1]` with estimate NaN.
pub fn clustered(rates: &[f64], level: f64) -> Interval {
    let n = rates.len() as f64;
    if rates.is_empty() {
        return Interval { estimate: f64::NAN, low: 0.0, high: 1.0 };
    }
    let p = (rates.iter().sum::<f64>() / n).clamp(0.0, 1.0);
    let z = normal_quantile(level);
    if rates.len() == 1 {
        return Interval { estimate: p, low: 0.0, high: 1.0 };
    }
    let variance = rates.iter().map(|r| (r - p).powi(2)).sum::<f64>() / (n * (n - 1.0));
    let effective = if variance > 0.0 && p * (1.0 - p) > 0.0 {
        p * (1.0 - p) / variance * (z / student_quantile(level, n - 1.0)).powi(2)
    } else {
        n
    };
    score(p, effective, z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_published_values() {
        // Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29 at 95 %.
        for (x, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let w = wilson(x, n, 0.95);
            assert!((w.low - low).abs() < 1e-4 && (w.high - high).abs() < 1e-4, "{x}/{n}: {w:?}");
        }
    }

    #[test]
    fn clustered_is_near_wilson_for_one_sample_a_problem() {
        let rates: Vec<f64> = (0..30).map(|i| f64::from(u8::from(i < 9))).collect();
        let (c, w) = (clustered(&rates, 0.95), wilson(9, 30, 0.95));
        assert!((c.low - w.low).abs() < 0.02 && (c.high - w.high).abs() < 0.02, "{c:?} {w:?}");
        assert!(clustered(&[0.0; 30], 0.95).high > 0.1, "no successes is not certainty");
    }
}
