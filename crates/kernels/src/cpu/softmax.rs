//! Softmax over the keys that each query may see.

use super::{by_rows, compiled_twice, exp::exp, lane_max, lane_sum};
use crate::CausalMask;

#[inline(always)]
fn forward_row(scores: &[f32], scale: f32, out: &mut [f32]) {
    let max = lane_max(scores) * scale;
    for (o, &s) in out.iter_mut().zip(scores) {
        *o = exp(s * scale - max);
    }
    let inverse = 1.0 / lane_sum(out, out, |a, _| a);
    for o in out {
        *o *= inverse;
    }
}

#[inline(always)]
fn backward_rows(p: &[f32], grad: &[f32], scale: f32, width: usize, out: &mut [f32]) {
    for ((p, grad), out) in
        p.chunks_exact(width).zip(grad.chunks_exact(width)).zip(out.chunks_exact_mut(width))
    {
        let mean = lane_sum(p, grad, |a, b| a * b);
        for ((o, &p), &g) in out.iter_mut().zip(p).zip(grad) {
            *o = p * (g - mean) * scale;
        }
    }
}

compiled_twice!(pub(crate) fn forward_one(scores: &[f32], scale: f32, out: &mut [f32]) = forward_row);
compiled_twice!(pub(crate) fn backward_block(p: &[f32], grad: &[f32], scale: f32, width: usize, out: &mut [f32]) = backward_rows);

/// `out` must be zero on entry: hidden keys are not written. `per_row` is how many queries (all heads
/// together) each row of the batch has.
pub(crate) fn forward(
    scores: &[f32],
    scale: f32,
    mask: &CausalMask,
    per_row: usize,
    kv_seq: usize,
    out: &mut [f32],
) {
    assert!(scale > 0.0, "the scale of attention scores is positive");
    by_rows(out, kv_seq, |first, out| {
        for (i, out) in out.chunks_exact_mut(kv_seq).enumerate() {
            let query = first + i;
            let visible = mask.visible(query / per_row, query % mask.seq, kv_seq);
            if !visible.is_empty() {
                let at = query * kv_seq;
                forward_one(&scores[at + visible.start..at + visible.end], scale, &mut out[visible]);
            }
        }
    });
}

/// `out = scale p (grad - sum(p grad))` on rows of `width`: hidden keys have p = 0.
pub(crate) fn backward(p: &[f32], grad: &[f32], scale: f32, width: usize, out: &mut [f32]) {
    by_rows(out, width, |row, out| {
        let span = row * width..row * width + out.len();
        backward_block(&p[span.clone()], &grad[span], scale, width, out);
    });
}
