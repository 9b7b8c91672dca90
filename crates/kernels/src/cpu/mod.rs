//! The fused loops over plain slices, each compiled for the baseline and for AVX2.
//!
//! Sums run over a fixed number of lanes in a fixed order, so the number of threads changes no bit. All but
//! [`linear`] and [`attention`] use no fused multiply-add, so that both compilations give the same bits.

pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod decode;
pub(crate) mod dropout;
pub(crate) mod exp;
pub(crate) mod lanes;
pub(crate) mod linear;
pub(crate) mod log_prob;
pub(crate) mod norm;
pub(crate) mod product;
pub(crate) mod rotary;
pub(crate) mod softmax;
pub(crate) mod swiglu;
pub(crate) mod token_stats;

use rayon::prelude::*;

/// The instruction sets that the fused loops are compiled for.
pub const FEATURES: &str = "x86-64 baseline, avx2 (products: avx2, fma, f16c; avx512f)";

/// Lanes of a sum: two AVX registers.
pub(crate) const LANES: usize = 16;

/// Elements below which a loop stays on one thread.
const SERIAL: usize = 1 << 15;

/// Defines `$name` as `$body` compiled twice and chosen by what the processor has.
macro_rules! compiled_twice {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                #[target_feature(enable = "avx2")]
                        fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                // SAFETY: the processor has the feature that the function is compiled for.
                #[allow(unsafe_code)]
                return unsafe { avx2($($arg),*) };
            }
            $body($($arg),*)
        }
    };
}
pub(crate) use compiled_twice;

/// Calls `f(first_row, rows_of_out)` on blocks of whole rows, in parallel where it pays.
pub(crate) fn by_rows(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() <= SERIAL || rayon::current_num_threads() == 1 {
        return f(0, out);
    }
    let rows = (SERIAL / 2 / width.max(1)).max(1);
    out.par_chunks_mut(rows * width).enumerate().for_each(|(i, block)| f(i * rows, block));
}

/// `sum(f(a[i], b[i]))` over lanes, then over the lanes.
#[inline(always)]
pub(crate) fn lane_sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    lane_sums(a, b, |a, b| [f(a, b)])[0]
}

/// Several sums in one pass, each in the order of [`lane_sum`].
#[inline(always)]
pub(crate) fn lane_sums<const N: usize>(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0f32; LANES]; N];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in a.by_ref().zip(b.by_ref()) {
        for l in 0..LANES {
            let terms = f(a[l], b[l]);
            for n in 0..N {
                lanes[n][l] += terms[n];
            }
        }
    }
    for (l, (&a, &b)) in a.remainder().iter().zip(b.remainder()).enumerate() {
        let terms = f(a, b);
        for n in 0..N {
            lanes[n][l] += terms[n];
        }
    }
    lanes.map(|mut lanes| {
        let mut step = LANES / 2;
        while step > 0 {
            for l in 0..step {
                lanes[l] += lanes[l + step];
            }
            step /= 2;
        }
        lanes[0]
    })
}

/// The largest element; minus infinity where there is none, NaN ignored.
#[inline(always)]
pub(crate) fn lane_max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = a.chunks_exact(LANES);
    for a in chunks.by_ref() {
        for l in 0..LANES {
            lanes[l] = if a[l] > lanes[l] { a[l] } else { lanes[l] };
        }
    }
    for (l, &a) in chunks.remainder().iter().enumerate() {
        lanes[l] = if a > lanes[l] { a } else { lanes[l] };
    }
    lanes.iter().fold(f32::NEG_INFINITY, |m, &l| if l > m { l } else { m })
}
