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
}
