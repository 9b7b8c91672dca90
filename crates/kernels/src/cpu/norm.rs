//! Root-mean-square norm, row by row.

use rayon::prelude::*;

use super::{by_rows, compiled_twice, lane_sum};

/// Rows summed into one partial weight gradient: fixed, so that the sum does not depend on threads.
const BLOCK: usize = 64;

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f64) -> f32 {
    let mean_square = lane_sum(x, x, |a, b| a * b) / x.len() as f32;
    1.0 / (mean_square + eps as f32).sqrt()
}

#[inline(always)]
fn forward_body(x: &[f32], weight: &[f32], eps: f64, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
        let r = inverse_rms(x, eps);
        for ((o, &x), &w) in out.iter_mut().zip(x).zip(weight) {
            *o = w * (x * r);
        }
    }
}

/// With c = w g: dx = c r - x r³ (x·c) / d.
#[inline(always)]
fn backward_row(x: &[f32], weight: &[f32], grad: &[f32], r: f32, out: &mut [f32]) {
    for ((o, &g), &w) in out.iter_mut().zip(grad).zip(weight) {
        *o = g * w;
    }
    let along = lane_sum(x, out, |a, b| a * b) * r * r / x.len() as f32;
    for (o, &x) in out.iter_mut().zip(x) {
        *o = r * (*o - x * along);
    }
}

/// What the gradient with respect to `x` `[batch, seq, width]` is made of: `grad` is `[batch, heads, seq, width]`.
pub(crate) struct Backward<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) grad: &'a [f32],
    pub(crate) eps: f64,
    pub(crate) heads: usize,
    pub(crate) seq: usize,
}

#[inline(always)]
fn backward_body(of: &Backward<'_>, first: usize, out: &mut [f32]) {
    let width = of.weight.len();
    for (i, out) in out.chunks_exact_mut(width).enumerate() {
        let row = first + i; // over [batch, heads, seq]; x is over [batch, seq]
        let at = (row / (of.heads * of.seq)) * of.seq + row % of.seq;
        let x = &of.x[at * width..(at + 1) * width];
        let grad = &of.grad[row * width..(row + 1) * width];
        backward_row(x, of.weight, grad, inverse_rms(x, of.eps), out);
    }
}

#[inline(always)]
fn weight_body(x: &[f32], grad: &[f32], eps: f64, out: &mut [f32]) {
    for (x, grad) in x.chunks_exact(out.len()).zip(grad.chunks_exact(out.len())) {
        let r = inverse_rms(x, eps);
        for ((o, &x), &g) in out.iter_mut().zip(x).zip(grad) {
            *o += g * (x * r);
        }
    }
}

compiled_twice!(fn forward_block(x: &[f32], weight: &[f32], eps: f64, out: &mut [f32]) = forward_body);
compiled_twice!(fn backward_block(of: &Backward<'_>, first: usize, out: &mut [f32]) = backward_body);
compiled_twice!(fn weight_block(x: &[f32], grad: &[f32], eps: f64, out: &mut [f32]) = weight_body);

/// `out = weight * x / rms(x)` on rows of `width`.
pub(crate) fn forward(x: &[f32], weight: &[f32], eps: f64, width: usize, out: &mut [f32]) {
    by_rows(out, width, |row, out| {
        forward_block(&x[row * width..row * width + out.len()], weight, eps, out);
    });
}

/// The gradient with respect to `x`, one row for each row of `grad`.
pub(crate) fn backward(of: &Backward<'_>, out: &mut [f32]) {
    by_rows(out, of.weight.len(), |row, out| backward_block(of, row, out));
}

/// The gradient with respect to the weight.
pub(crate) fn backward_weight(x: &[f32], grad: &[f32], eps: f64, width: usize) -> Vec<f32> {
    let partial = |(x, grad): (&[f32], &[f32])| {
        let mut out = vec![0.0; width];
        weight_block(x, grad, eps, &mut out);
        out
    };
    let blocks: Vec<Vec<f32>> =
        x.par_chunks(BLOCK * width).zip(grad.par_chunks(BLOCK * width)).map(partial).collect();
    let mut out = vec![0.0; width];
    for block in blocks {
        for (o, b) in out.iter_mut().zip(block) {
            *o += b;
        }
    }
    out
}
