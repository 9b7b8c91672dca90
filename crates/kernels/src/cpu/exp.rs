//! A branchless exponential that the compiler turns into vector code.

/// `e^x` to 2 units in the last place on [-87, 88], 0 below -87.33 and `f32::MAX`-like at the upper clamp.
///
/// Range reduction `x = n ln 2 + r` with ln 2 in two parts and a degree-6 polynomial on |r| <= ln 2 / 2
/// (Cephes' `expf` coefficients). NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let clamped = if x > 88.376 { 88.376 } else { x };
    let clamped = if clamped < -87.336 { -87.336 } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = clamped - n * LN2_HI - n * LN2_LO;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // n is between -126 and 128 and sits in the low bits of `shifted`: it goes into the exponent in two steps.
    let n = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
    // Wrapping, though nothing wraps: an overflow check would keep the loop around from becoming vector code.
    let (half, rest) = (n >> 1, n.wrapping_sub(n >> 1));
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let y = y * power(half) * power(rest);
    if x < -87.336 { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn close_to_the_exact_exponential_everywhere() {
        let mut worst = 0f64;
        for i in -873_000..=883_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.4e-7, "worst relative error {worst:e}, two units in the last place are 2.4e-7");
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
