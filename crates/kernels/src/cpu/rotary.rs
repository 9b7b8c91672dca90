//! Rotation of half-split pairs.

use super::{by_rows, compiled_twice};

#[inline(always)]
fn rotate_row(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) {
    let half = cos.len();
    let ((left, right), (out_left, out_right)) = (x.split_at(half), out.split_at_mut(half));
    for i in 0..half {
        out_left[i] = left[i] * cos[i] - right[i] * sin[i];
        out_right[i] = right[i] * cos[i] + left[i] * sin[i];
    }
}

compiled_twice!(fn rotate(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) = rotate_row);

/// `x` `[batch, heads, seq, d_head]`, `cos` and `sin` `[batch, seq, d_head / 2]`.
pub(crate) fn forward(
    x: &[f32],
    cos: &[f32],
    sin: &[f32],
    heads: usize,
    seq: usize,
    d_head: usize,
    out: &mut [f32],
) {
    let half = d_head / 2;
    by_rows(out, d_head, |first, out| {
        for (i, out) in out.chunks_exact_mut(d_head).enumerate() {
            let row = first + i;
            let at = (row / (heads * seq)) * seq + row % seq;
            let turn = at * half..(at + 1) * half;
            rotate(&x[row * d_head..(row + 1) * d_head], &cos[turn.clone()], &sin[turn], out);
        }
    });
}
