//! Sample quantiles.

/// The quantile of `values` at probability `p`, by linear interpolation between order statistics: type 7 of
/// Hyndman and Fan (1996), the default of numpy and R. `values` need not be sorted.
///
/// # Panics
/// `values` is empty, or `p` is outside `[0, 1]`.
pub fn quantile(values: &[f64], p: f64) -> f64 {
    assert!(!values.is_empty(), "values: expected at least one");
    assert!((0.0..=1.0).contains(&p), "p: expected a number from 0 to 1, got {p}");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = p * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (place - low as f64) * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.25), 1.5);
        assert_eq!(quantile(&[4.0, 0.0, 1.0, 3.0, 2.0], 0.75), 3.0);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
    }
}
