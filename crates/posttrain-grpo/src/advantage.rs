//! From rewards to advantages.

use crate::reward::RewardTable;
use crate::{Advantage, Aggregation};

/// Added to standard deviations, as TRL does.
const EPSILON: f64 = 1e-4;

/// Standard deviations up to this are 0: those of equal rewards differ from it by rounding.
const ZERO: f64 = 1e-8;

/// Advantages of rewards that lie group after group, `group` of each prompt (Shao et al. 2024, equation 3;
/// Liu et al. 2025 without the division; Ahmadian et al. 2024 with one left out). Standard deviations have Bessel's
/// correction.
///
/// A reward of NaN means that nobody could judge: it takes no part in means and deviations, and its
/// advantage is 0.
///
/// # Panics
/// If `rewards` is not whole groups.
pub fn advantages(rewards: &[f32], group: usize, kind: Advantage) -> Vec<f32> {
    assert!(group > 0 && rewards.len().is_multiple_of(group), "rewards are whole groups of {group}");
    let batch_std = std(rewards);
    let mut all = Vec::with_capacity(rewards.len());
    for rewards in rewards.chunks(group) {
        let (mean, n) = (mean(rewards), judged(rewards).count() as f64);
        let (factor, divisor) = match kind {
            Advantage::Group => (1.0, std(rewards) + EPSILON),
            Advantage::Batch => (1.0, batch_std + EPSILON),
            Advantage::None => (1.0, 1.0),
            // The reward less the mean of the others.
            Advantage::LeaveOneOut => (n, (n - 1.0).max(1.0)),
        };
        let one = |&r: &f32| if r.is_nan() { 0.0 } else { ((f64::from(r) - mean) * factor / divisor) as f32 };
        all.extend(rewards.iter().map(one));
    }
    all
}

/// Advantages of several rewards: of their weighted sum, or the weighted sum of each reward's advantages in its group,
/// over the batch's standard deviation (GDPO; TRL's `normalize_then_sum`).
pub(crate) fn of_table(table: &RewardTable, group: usize, kind: Advantage, how: Aggregation) -> Vec<f32> {
    match how {
        Aggregation::SumThenNormalize => advantages(&table.totals(), group, kind),
        Aggregation::NormalizeThenSum => {
            let mut normalised = RewardTable::default();
            for (at, (name, weight)) in table.names().iter().zip(table.weights()).enumerate() {
                let values = table.values(at);
                let mut each = advantages(values, group, Advantage::Group);
                each.iter_mut().zip(values).filter(|(_, r)| r.is_nan()).for_each(|(a, _)| *a = f32::NAN);
                normalised.push(name, *weight, each);
            }
            let sums = normalised.totals();
            advantages(&sums, sums.len().max(1), Advantage::Batch)
        }
    }
}

fn judged(rewards: &[f32]) -> impl Iterator<Item = f64> + Clone {
    rewards.iter().filter(|r| !r.is_nan()).map(|&r| f64::from(r))
}

/// Whether the rewards of a group teach nothing: all equal, or none judged.
pub(crate) fn is_still(rewards: &[f32]) -> bool {
    std(rewards) <= ZERO
}

/// The mean of the judged; 0 where there is none.
pub(crate) fn mean(rewards: &[f32]) -> f64 {
    judged(rewards).sum::<f64>() / judged(rewards).count().max(1) as f64
}

/// The standard deviation of the judged; 0 where there are not two.
pub(crate) fn std(rewards: &[f32]) -> f64 {
    let (n, mean) = (judged(rewards).count(), mean(rewards));
    let squares: f64 = judged(rewards).map(|r| (r - mean).powi(2)).sum();
    (squares / (n.max(2) - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REWARDS: [f32; 8] = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];

    #[test]
    fn golden_values() {
        let group = advantages(&REWARDS, 4, Advantage::Group);
        assert!((f64::from(group[0]) - 0.865_875_429_8).abs() < 1e-7);
        assert!((f64::from(group[6]) - 1.499_700_06).abs() < 1e-7);
        let batch = advantages(&REWARDS, 4, Advantage::Batch);
        assert!((f64::from(batch[6]) - 1.448_857_728_7).abs() < 1e-7);
        assert_eq!(advantages(&REWARDS, 4, Advantage::None)[4..], [-0.25, -0.25, 0.75, -0.25]);
    }

    #[test]
    fn groups_sum_to_zero_and_equal_rewards_teach_nothing() {
        for kind in [Advantage::Group, Advantage::Batch, Advantage::None, Advantage::LeaveOneOut] {
            for group in advantages(&REWARDS, 4, kind).chunks(4) {
                assert!(group.iter().sum::<f32>().abs() < 1e-6);
            }
            assert_eq!(advantages(&[0.3; 4], 4, kind), [0.0; 4]);
        }
    }

    #[test]
    fn what_nobody_judged_is_left_out() {
        let with = advantages(&[1.0, f32::NAN, 0.0], 3, Advantage::Group);
        let without = advantages(&[1.0, 0.0], 2, Advantage::Group);
        assert_eq!(with, [without[0], 0.0, without[1]]);
        assert_eq!(advantages(&[f32::NAN; 2], 2, Advantage::Group), [0.0, 0.0]);
    }

    #[test]
    fn one_left_out_is_compared_with_the_mean_of_the_others() {
        let rewards = [1.0, f32::NAN, 0.25, 0.0];
        let found = advantages(&rewards, 4, Advantage::LeaveOneOut);
        let expected = [1.0 - 0.125, 0.0, 0.25 - 0.5, -0.625];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        assert_eq!(advantages(&[1.0, f32::NAN], 2, Advantage::LeaveOneOut), [0.0, 0.0]);
    }
}
