//! Values dropped by a hash of their place.

use super::{by_rows, compiled_twice};
use crate::Dropout;

#[inline(always)]
fn row(x: &[f32], key: u64, start: u32, (threshold, keep): (u32, f32), out: &mut [f32]) {
    for (i, (o, &x)) in out.iter_mut().zip(x).enumerate() {
        *o = x * Dropout::factor(key, start.wrapping_add(i as u32), threshold, keep);
    }
}

compiled_twice!(fn one(x: &[f32], key: u64, start: u32, numbers: (u32, f32), out: &mut [f32]) = row);

/// `x` `[batch, seq, width]`.
pub(crate) fn forward(x: &[f32], how: &Dropout, seq: usize, width: usize, out: &mut [f32]) {
    let numbers = how.numbers();
    by_rows(out, width, |first, out| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let token = first + i;
            let start = ((token % seq) * width) as u32;
            one(&x[token * width..(token + 1) * width], how.keys[token / seq], start, numbers, out);
        }
    });
}
