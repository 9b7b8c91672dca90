//! Dropout whose mask is a function of keys and places, so that it is never stored.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::ops::FusedOps as _;
use crate::{fused, portable};

/// Which values are dropped: a function of the row's key, the position and the feature, of nothing else.
///
/// A value is kept where `hash(key, position * width + feature) >= p * 2^32`, with two rounds of the 32-bit mixer
/// `lowbias32` (Wellons 2018), and then multiplied by `1 / (1 - p)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dropout {
    /// Probability of a value to be dropped, below 1.
    pub p: f64,
    /// One key a row of the batch.
    pub keys: Vec<u64>,
}

impl Dropout {
    /// What a value at `at = position * width + feature` of a row with `key` is multiplied by.
    #[inline(always)]
    pub(crate) fn factor(key: u64, at: u32, threshold: u32, keep: f32) -> f32 {
        let hash = mix(mix(at ^ key as u32).wrapping_add((key >> 32) as u32));
        if hash >= threshold { keep } else { 0.0 }
    }

    /// Hashes below it are dropped, and what kept values are multiplied by.
    pub(crate) fn numbers(&self) -> (u32, f32) {
        ((self.p * 4_294_967_296.0) as u32, (1.0 / (1.0 - self.p)) as f32)
    }
}

#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// `x` with some values set to 0 and the others multiplied by `1 / (1 - p)` (Srivastava et al. 2014).
///
/// # Shapes
/// `x` `[batch, seq, width]`, one key a row of the batch; returns the shape of `x`.
///
/// # Panics
/// If there is not one key a row, or `p` is not from 0 and below 1.
pub fn dropout(x: Tensor<3>, how: &Dropout) -> Tensor<3> {
    assert_eq!(x.dims()[0], how.keys.len(), "one key for each row of the batch");
    assert!((0.0..1.0).contains(&how.p), "the probability of dropping is from 0 and below 1");
    if fused(&x) {
        Tensor::from_dispatch(Dispatch::dropout(x.into_dispatch(), how.clone()))
    } else {
        portable::dropout(x, how)
    }
}
