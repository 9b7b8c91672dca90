//! Many tests at once.

/// Which of `p_values` to reject so that the expected share of false rejections among all rejections (the
/// false-discovery rate) is at most `q`: the step-up rule of Benjamini and Hochberg (1995, eq. 1). With `m`
/// p-values sorted ascending, all up to the largest `k` with `p_(k) ≤ q k / m` are rejected.
///
/// Valid for independent or positively dependent tests (Benjamini and Yekutieli 2001). No p-values give no
/// rejections.
pub fn benjamini_hochberg(p_values: &[f64], q: f64) -> Vec<bool> {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let m = sorted.len() as f64;
    let passes = |(k, p): &(usize, &f64)| **p <= q * (*k + 1) as f64 / m;
    let cut = sorted.iter().enumerate().filter(passes).map(|(_, p)| *p).next_back();
    p_values.iter().map(|&p| cut.is_some_and(|cut| p <= cut)).collect()
}

/// Holm's step-down correction (1979): each p-value times the number of hypotheses that are not yet rejected, made
/// monotone, at most 1. Rejecting those at most `α` keeps the chance of any false rejection at `α`, whatever the
/// dependence.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let (mut corrected, mut largest) = (vec![0.0; p_values.len()], 0.0f64);
    for (k, &at) in order.iter().enumerate() {
        largest = largest.max((p_values.len() - k) as f64 * p_values[at]).min(1.0);
        corrected[at] = largest;
    }
    corrected
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
    fn holm_by_hand() {
        // 0.01 × 4, 0.02 × 3, then 0.03 × 2 = 0.06 and 0.04 × 1, which may not fall below it.
        let corrected = holm(&[0.04, 0.01, 0.03, 0.02]);
        for (found, wanted) in corrected.iter().zip([0.06, 0.04, 0.06, 0.06]) {
            assert!((found - wanted).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[0.5, 0.9]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
