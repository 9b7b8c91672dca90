//! Eight f32 values at once, the unit of [`super::linear`].
//!
//! Two implementations: AVX2 with fused multiply-add, and plain arrays for any processor. They differ in rounding:
//! a fused multiply-add rounds once, a product and a sum twice.

use half::{bf16, f16};

/// Eight f32 values.
#[allow(unsafe_code)]
pub(crate) trait Lanes: Copy {
    /// Eight zeros.
    fn zero() -> Self;
    /// One value eight times.
    fn splat(x: f32) -> Self;
    /// Writes the eight from `to` on.
    ///
    /// # Safety
    /// Eight values can be written there.
    unsafe fn store(self, to: *mut f32);
    /// Eight values from `from` on.
    ///
    /// # Safety
    /// Eight values can be read there. The same holds of the other two loads.
    unsafe fn load(from: *const f32) -> Self;
    /// Eight bfloat16 values, widened.
    unsafe fn load_bf16(from: *const bf16) -> Self;
    /// Eight half-precision values, widened.
    unsafe fn load_f16(from: *const f16) -> Self;
    /// `self + a * b`.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum of the eight: lanes four apart, then two, then one.
    fn sum(self) -> f32;
}

/// Eight values in an array.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 8]);

#[allow(unsafe_code)]
impl Lanes for Plain {
    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; 8])
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { *to.cast::<[f32; 8]>() = self.0 }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's; an array of eight needs no more alignment than its elements.
        Self(unsafe { *from.cast::<[f32; 8]>() })
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: as above.
        Self(unsafe { *from.cast::<[bf16; 8]>() }.map(f32::from))
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: as above.
        Self(unsafe { *from.cast::<[f16; 8]>() }.map(f32::from))
    }
    #[inline(always)]
    fn add_product(mut self, a: Self, b: Self) -> Self {
        for l in 0..8 {
            self.0[l] += a.0[l] * b.0[l];
        }
        self
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

/// Eight values in an AVX register.
///
/// Its methods are for functions that are compiled for AVX2, FMA and F16C and entered only where the
/// processor has all three: [`super::linear`] sees to that.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(std::arch::x86_64::__m256);

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Avx2, Lanes, bf16, f16};

    // SAFETY of every block: the processor has the features (see the type), and loads are the caller's.
    impl Lanes for Avx2 {
        #[inline(always)]
        fn zero() -> Self {
            Self(unsafe { _mm256_setzero_ps() })
        }
        #[inline(always)]
        fn splat(x: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            let wide = unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())) };
            Self(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)) })
        }
        #[inline(always)]
        unsafe fn load_f16(from: *const f16) -> Self {
            Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
        }
        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        fn sum(self) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps(self.0, 1));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
            }
        }
    }
}
