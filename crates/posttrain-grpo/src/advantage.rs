//! From rewards to advantages.

use crate::Advantage;

/// Added to standard deviations, as TRL does.
const EPSILON: f64 = 1e-4;

/// Advantages of rewards that lie group after group, `group` of each prompt (Shao et al. 2024, equation 3;
/// Liu et al. 2025 without the division). Standard deviations have Bessel's correction.
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
        let mean = mean(rewards);
        let divisor = match kind {
            Advantage::Group => std(rewards) + EPSILON,
            Advantage::Batch => batch_std + EPSILON,
            Advantage::None => 1.0,
        };
        all.extend(
            rewards.iter().map(|&r| if r.is_nan() { 0.0 } else { ((f64::from(r) - mean) / divisor) as f32 }),
        );
    }
    all
}

fn judged(rewards: &[f32]) -> impl Iterator<Item = f64> + Clone {
    rewards.iter().filter(|r| !r.is_nan()).map(|&r| f64::from(r))
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
        for kind in [Advantage::Group, Advantage::Batch, Advantage::None] {
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
}
