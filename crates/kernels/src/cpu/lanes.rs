//! Eight or sixteen f32 values at once, the units of [`super::linear`] and [`super::product`].
//!
//! Three implementations: AVX-512 and AVX2 with fused multiply-add, and plain arrays for any processor. The plain one
//! differs in rounding: a fused multiply-add rounds once, a product and a sum twice.

use half::{bf16, f16};

/// `N` f32 values.
#[allow(unsafe_code)]
pub(crate) trait Vector: Copy {
    /// How many.
    const N: usize;
    /// Zeros.
    fn zero() -> Self;
    /// One value in each lane.
    fn splat(x: f32) -> Self;
    /// Writes the values from `to` on.
    ///
    /// # Safety
    /// `N` values can be written there.
    unsafe fn store(self, to: *mut f32);
    /// Values from `from` on.
    ///
    /// # Safety
    /// `N` values can be read there.
    unsafe fn load(from: *const f32) -> Self;
    /// `self + a * b`.
    fn add_product(self, a: Self, b: Self) -> Self;
}

/// Eight f32 values.
#[allow(unsafe_code)]
pub(crate) trait Lanes: Vector {
    /// Eight bfloat16 values, widened.
    ///
    /// # Safety
    /// Eight values can be read there. The same holds of the other load.
    unsafe fn load_bf16(from: *const bf16) -> Self;
    /// Eight half-precision values, widened.
    unsafe fn load_f16(from: *const f16) -> Self;
    /// The sum of the eight: lanes four apart, then two, then one.
    fn sum(self) -> f32;
    /// Columns of eight rows.
    fn transposed(rows: [Self; 8]) -> [Self; 8];
}

/// Sums of products of one token with one weight row, or with two side by side, eight lanes each.
#[allow(unsafe_code)]
pub(crate) trait Dots: Copy {
    /// Eight lanes of a token or a row.
    type Eight: Lanes + Dots<Eight = Self::Eight>;
    /// One or two.
    const ROWS: usize;
    /// No products yet.
    fn zero() -> Self;
    /// A token, for every row.
    fn token(x: Self::Eight) -> Self;
    /// The weights of the rows, by number.
    fn weights(row: impl Fn(usize) -> Self::Eight) -> Self;
    /// `self + token * weights`.
    fn add_product(self, token: Self, weights: Self) -> Self;
    /// The sum over the lanes of a row.
    fn sum(self, row: usize) -> f32;
}

/// Lanes are the sums of one row.
impl<L: Lanes> Dots for L {
    type Eight = L;
    const ROWS: usize = 1;
    #[inline(always)]
    fn zero() -> Self {
        Vector::zero()
    }
    #[inline(always)]
    fn token(x: L) -> L {
        x
    }
    #[inline(always)]
    fn weights(row: impl Fn(usize) -> L) -> L {
        row(0)
    }
    #[inline(always)]
    fn add_product(self, token: L, weights: L) -> L {
        Vector::add_product(self, token, weights)
    }
    #[inline(always)]
    fn sum(self, _row: usize) -> f32 {
        Lanes::sum(self)
    }
}

/// Asks for the cache line at `at`, which need not be memory of the program: nothing where the processor cannot.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: a prefetch reads no value, and is part of the baseline instruction set.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Eight values in an array.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 8]);

#[allow(unsafe_code)]
impl Vector for Plain {
    const N: usize = 8;
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
    fn add_product(mut self, a: Self, b: Self) -> Self {
        for l in 0..8 {
            self.0[l] += a.0[l] * b.0[l];
        }
        self
    }
}

#[allow(unsafe_code)]
impl Lanes for Plain {
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
    fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn transposed(rows: [Self; 8]) -> [Self; 8] {
        std::array::from_fn(|l| Self(rows.map(|row| row.0[l])))
    }
}

/// Eight values in an AVX register.
///
/// Its methods are for functions that are compiled for AVX2, FMA and F16C and entered only where the
/// processor has all three: [`Level::of_processor`] sees to that.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(std::arch::x86_64::__m256);

/// Sixteen values in an AVX-512 register, for functions compiled for AVX-512 F, VL
/// and DQ and entered where the processor has them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512(std::arch::x86_64::__m512);

/// Which code a product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best that the processor has.
    pub(crate) fn of_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
        {
            let wide = std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512vl")
                && std::arch::is_x86_feature_detected!("avx512dq");
            return if wide { Self::Avx512 } else { Self::Avx2 };
        }
        Self::Plain
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Avx2, Avx512, Dots, Lanes, Vector, bf16, f16};

    // SAFETY of every block: the processor has the features (see the types), and loads are the caller's.
    impl Vector for Avx2 {
        const N: usize = 8;
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
        fn add_product(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }
    }

    impl Lanes for Avx2 {
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
        fn sum(self) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps(self.0, 1));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
            }
        }
        #[inline(always)]
        fn transposed(rows: [Self; 8]) -> [Self; 8] {
            // No closures and no `map`: what is not inlined is not compiled for the processor.
            let [Self(a), Self(b), Self(c), Self(d), Self(e), Self(f), Self(g), Self(h)] = rows;
            unsafe {
                let [a, b, c, d] = four_columns([a, b, c, d]);
                let [e, f, g, h] = four_columns([e, f, g, h]);
                [
                    Self(_mm256_permute2f128_ps::<0x20>(a, e)),
                    Self(_mm256_permute2f128_ps::<0x20>(b, f)),
                    Self(_mm256_permute2f128_ps::<0x20>(c, g)),
                    Self(_mm256_permute2f128_ps::<0x20>(d, h)),
                    Self(_mm256_permute2f128_ps::<0x31>(a, e)),
                    Self(_mm256_permute2f128_ps::<0x31>(b, f)),
                    Self(_mm256_permute2f128_ps::<0x31>(c, g)),
                    Self(_mm256_permute2f128_ps::<0x31>(d, h)),
                ]
            }
        }
    }

    /// Columns of four rows, within each half of the registers.
    #[inline(always)]
    unsafe fn four_columns([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (lower, higher) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0x44>(low, lower),
                _mm256_shuffle_ps::<0xEE>(low, lower),
                _mm256_shuffle_ps::<0x44>(high, higher),
                _mm256_shuffle_ps::<0xEE>(high, higher),
            ]
        }
    }

    impl Vector for Avx512 {
        const N: usize = 16;
        #[inline(always)]
        fn zero() -> Self {
            Self(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        fn splat(x: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }
    }

    impl Dots for Avx512 {
        type Eight = Avx2;
        const ROWS: usize = 2;
        #[inline(always)]
        fn zero() -> Self {
            Vector::zero()
        }
        #[inline(always)]
        fn token(x: Avx2) -> Self {
            Self(unsafe { _mm512_broadcast_f32x8(x.0) })
        }
        #[inline(always)]
        fn weights(row: impl Fn(usize) -> Avx2) -> Self {
            Self(unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(row(0).0), row(1).0) })
        }
        #[inline(always)]
        fn add_product(self, token: Self, weights: Self) -> Self {
            Vector::add_product(self, token, weights)
        }
        #[inline(always)]
        fn sum(self, row: usize) -> f32 {
            let half = unsafe {
                if row == 0 { _mm512_castps512_ps256(self.0) } else { _mm512_extractf32x8_ps::<1>(self.0) }
            };
            Lanes::sum(Avx2(half))
        }
    }
}
