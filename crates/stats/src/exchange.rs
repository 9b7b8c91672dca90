//! Permutation test for two sets of vectors: which features differ between them.

use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::quantile;

/// A two-sample permutation test on many features at once.
///
/// Under the null hypothesis the two sides are exchangeable, so their labels may be exchanged at random
/// (Fisher 1935; Good 2005, ch. 3). A statistic maps one side's vectors to one number a feature; the test is on
/// the difference `statistic(after) − statistic(before)`, compared with the differences after exchanging labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeTest {
    /// Whether vector `i` of one side belongs to vector `i` of the other. If so labels are exchanged within
    /// each such pair, else over all vectors.
    pub paired: bool,
    /// Exchanges of labels.
    pub draws: usize,
}

impl ExchangeTest {
    /// A two-sided p-value for each feature; see [`pooled_p_values`]. `rng` is advanced by `draws` exchanges.
    ///
    /// # Panics
    /// `statistic` returns vectors of different lengths; or the test is paired and the sides differ in length.
    pub fn p_values<T: Copy + Send + Sync>(
        &self,
        before: &[T],
        after: &[T],
        rng: &mut impl Rng,
        statistic: impl Fn(&[T]) -> Vec<f32> + Sync,
    ) -> Vec<f64> {
        assert!(!self.paired || before.len() == after.len(), "a paired test has two sides of one length");
        let difference = |a: &[T], b: &[T]| -> Vec<f32> {
            statistic(a).iter().zip(statistic(b)).map(|(a, b)| b - a).collect()
        };
        let observed = difference(before, after);
        let draws: Vec<_> = (0..self.draws).map(|_| exchanged(before, after, self.paired, rng)).collect();
        let null: Vec<Vec<f32>> = draws.par_iter().map(|(a, b)| difference(a, b)).collect();
        pooled_p_values(&observed, &null)
    }
}

/// The two sides with labels exchanged at random.
fn exchanged<T: Copy>(a: &[T], b: &[T], paired: bool, rng: &mut impl Rng) -> (Vec<T>, Vec<T>) {
    if paired {
        return a.iter().zip(b).map(|(&a, &b)| if rng.random_bool(0.5) { (b, a) } else { (a, b) }).unzip();
    }
    let mut all: Vec<T> = a.iter().chain(b).copied().collect();
    all.shuffle(rng);
    let rest = all.split_off(a.len());
    (all, rest)
}

/// Two-sided p-values of `observed[i]` against a null distribution pooled over features and draws:
/// `null[d][i]` is feature `i` in draw `d`.
///
/// Each value is standardised, `z = |x| / (s_i + median s)`, with `s_i` the root mean square of feature `i`
/// over draws and the observed value (Tusher et al. 2001, eq. 1). The p-value is the share of the pool, which
/// holds all draws and the observed values, with `z` at least as large; so no p-value is 0. A difference of
/// exactly 0 has p-value 1.
///
/// # Panics
/// A draw has fewer features than `observed`.
pub fn pooled_p_values(observed: &[f32], null: &[Vec<f32>]) -> Vec<f64> {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let deviation = |i: usize| {
        let squares = null.iter().map(|draw| square(draw[i])).sum::<f64>() + square(observed[i]);
        (squares / (null.len() + 1) as f64).sqrt()
    };
    let deviations: Vec<f64> = (0..observed.len()).map(deviation).collect();
    let positive: Vec<f64> = deviations.iter().copied().filter(|&d| d > 0.0).collect();
    let offset = if positive.is_empty() { 1.0 } else { quantile(&positive, 0.5) };
    let standard = |i: usize, x: f32| (f64::from(x.abs()) / (deviations[i] + offset)) as f32;
    let draws = null.iter().map(Vec::as_slice).chain([observed]);
    let mut pool: Vec<f32> =
        draws.flat_map(|draw| draw.iter().enumerate().map(|(i, &x)| standard(i, x))).collect();
    pool.sort_unstable_by(f32::total_cmp);
    let p = |(i, &x): (usize, &f32)| {
        let z = standard(i, x);
        let below = pool.partition_point(|&other| other < z);
        if x == 0.0 { 1.0 } else { (pool.len() - below) as f64 / pool.len() as f64 }
    };
    observed.iter().enumerate().map(p).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn mean(rows: &[[f32; 2]]) -> Vec<f32> {
        (0..2).map(|i| rows.iter().map(|row| row[i]).sum::<f32>() / rows.len() as f32).collect()
    }

    #[test]
    fn a_shifted_feature_is_found_and_the_other_is_not() {
        let row = |i: usize, shift: f32| [(i % 5) as f32 + shift, (i * 7 % 5) as f32];
        let before: Vec<[f32; 2]> = (0..30).map(|i| row(i, 0.0)).collect();
        let after: Vec<[f32; 2]> = (0..30).map(|i| row(i + 1, 3.0)).collect();
        for paired in [false, true] {
            let test = ExchangeTest { paired, draws: 200 };
            let p = test.p_values(&before, &after, &mut ChaCha8Rng::seed_from_u64(0), mean);
            assert!(p[0] < 0.01 && p[1] > 0.2, "{p:?}");
            let same = test.p_values(&before, &before, &mut ChaCha8Rng::seed_from_u64(0), mean);
            assert_eq!(same, [1.0, 1.0], "no difference");
        }
    }

    #[test]
    fn no_p_value_is_zero() {
        assert_eq!(pooled_p_values(&[100.0], &[vec![0.0], vec![0.0]]), [1.0 / 3.0]);
    }
}
