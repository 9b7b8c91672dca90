//! Power: the smallest difference that a comparison detects. Print it beside every small suite: 30.0 against
//! 26.6 on thirty problems is far below it.

use statrs::distribution::{ContinuousCDF, Normal};

fn upper(probability: f64) -> f64 {
    assert!(
        probability > 0.0 && probability < 1.0,
        "expected a probability between 0 and 1, got {probability}"
    );
    Normal::standard().inverse_cdf(probability)
}

/// The smallest absolute difference in accuracy that a *paired* comparison on `problems` problems detects with
/// the given `power` at two-sided level `alpha`: `(z_{1-α/2} + z_power) · σ_d / √problems`, where `σ_d` is the
/// standard deviation over problems of the per-problem difference (a fraction; with one greedy sample in each
/// run and a share `d` of problems changing, `σ_d ≈ √d`). Normal approximation (Miller 2024, §5). At most 1.
/// For two independent runs take `σ_d` from [`unpaired_sd`].
///
/// # Panics
/// `problems` is 0, or `alpha` or `power` is not between 0 and 1.
pub fn minimum_detectable_effect(problems: usize, sd_difference: f64, alpha: f64, power: f64) -> f64 {
    assert!(problems > 0, "problems: expected at least 1");
    detectable(sd_difference / (problems as f64).sqrt(), alpha, power).min(1.0)
}

/// The smallest absolute effect that a two-sided test at level `alpha` finds with the given `power`, of an estimate with
/// this standard error: `(z_{1-α/2} + z_power) · standard_error`. Normal approximation.
///
/// # Panics
/// `alpha` or `power` is not between 0 and 1.
pub fn detectable(standard_error: f64, alpha: f64, power: f64) -> f64 {
    (upper(1.0 - alpha / 2.0) + upper(power)) * standard_error
}

/// The two-sided p-value of a standard normal statistic.
pub fn normal_p(z: f64) -> f64 {
    2.0 * (1.0 - Normal::standard().cdf(z.abs()))
}

/// `σ_d` of two *independent* runs, from what one run knows: accuracy `p`, `samples` samples a problem, and
/// `between`, the variance over problems of the true per-problem accuracy (0 to `p(1-p)`, clamped; the top value
/// is that of problems that are always or never solved, and is the safe choice):
/// `√(2 (between + (p(1-p) - between) / samples))` (Miller 2024, §3.2). For [`minimum_detectable_effect`].
///
/// # Panics
/// `samples` is 0, or `p` is outside `[0, 1]`.
pub fn unpaired_sd(samples: usize, p: f64, between: f64) -> f64 {
    assert!(samples > 0, "samples: expected at least 1");
    assert!((0.0..=1.0).contains(&p), "p: expected a fraction, got {p}");
    let total = p * (1.0 - p);
    let between = between.clamp(0.0, total);
    (2.0 * (between + (total - between) / samples as f64)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_problems_detect_a_third() {
        let detects =
            |samples, between| minimum_detectable_effect(30, unpaired_sd(samples, 0.3, between), 0.05, 0.8);
        // 2.8016 √(2 · 0.3 · 0.7 / 30) = 0.3315
        assert!((detects(1, 0.0) - 0.3315).abs() < 1e-3, "{}", detects(1, 0.0));
        // Samples help only with the part of the variance that is within problems.
        assert!(detects(64, 0.0) < detects(1, 0.0) / 7.0);
        assert!((detects(64, 0.21) - detects(1, 0.0)).abs() < 1e-9);
    }

    #[test]
    fn normal_statistics() {
        assert!((normal_p(1.959_964) - 0.05).abs() < 1e-6 && (normal_p(-1.0) - 0.317_311).abs() < 1e-6);
        assert!((detectable(1.0, 0.05, 0.8) - 2.801_585).abs() < 1e-5);
    }
}
