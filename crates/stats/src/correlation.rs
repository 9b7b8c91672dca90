//! Rank correlation with a permutation test.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A rank correlation with its permutation test.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Correlation {
    /// Spearman's coefficient, −1 to 1.
    pub coefficient: f64,
    /// Two-sided p-value: the share of permutations with at least this absolute coefficient.
    pub p_value: f64,
    /// Number of permutations drawn; the observed order is counted beside them.
    pub permutations: usize,
    /// Number of points.
    pub n: usize,
}

/// Ranks from 1; ties share the mean of their ranks.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |x: f64| values.iter().filter(|&&v| v < x).count() as f64;
    let equal = |x: f64| values.iter().filter(|&&v| v == x).count() as f64;
    values.iter().map(|&x| below(x) + (equal(x) + 1.0) / 2.0).collect()
}

/// Pearson's correlation; `None` where one side is constant.
pub(crate) fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let dot = |a: &[f64], ma: f64, b: &[f64], mb: f64| {
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum::<f64>()
    };
    let scale = (dot(x, mx, x, mx) * dot(y, my, y, my)).sqrt();
    (scale > 0.0).then(|| dot(x, mx, y, my) / scale)
}

/// Spearman's correlation of `x` with `y` (Pearson's correlation of their [`ranks`]), with a two-sided
/// permutation p-value `(1 + #{|r_perm| ≥ |r|}) / (1 + permutations)` (Davison & Hinkley 1997, eq. 4.11), which
/// is never 0. Deterministic in `seed`. `None` for slices of different lengths, fewer than four points, or a
/// constant side.
pub fn spearman(x: &[f64], y: &[f64], permutations: usize, seed: u64) -> Option<Correlation> {
    if x.len() != y.len() || x.len() < 4 {
        return None;
    }
    let (x, mut y) = (ranks(x), ranks(y));
    let coefficient = pearson(&x, &y)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut extreme = 1;
    for _ in 0..permutations {
        y.shuffle(&mut rng);
        if pearson(&x, &y).is_some_and(|r| r.abs() >= coefficient.abs() - 1e-12) {
            extreme += 1;
        }
    }
    let p_value = f64::from(extreme) / (permutations + 1) as f64;
    Some(Correlation { coefficient, p_value, permutations, n: x.len() })
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_monotone_relation_is_found_and_noise_is_not() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| x.exp()).collect();
        let found = spearman(&x, &y, 2000, 0).expect("enough points");
        assert!((found.coefficient - 1.0).abs() < 1e-12 && found.p_value < 0.005);
        let noise = [3.0, 9.0, 1.0, 12.0, 2.0, 11.0, 4.0, 8.0, 5.0, 10.0, 6.0, 7.0];
        assert!(spearman(&x, &noise, 2000, 0).expect("enough points").p_value > 0.2);
        assert!(spearman(&x, &[1.0; 12], 10, 0).is_none());
        assert_eq!(ranks(&[2.0, 1.0, 2.0]), [2.5, 1.0, 2.5]);
    }
}
