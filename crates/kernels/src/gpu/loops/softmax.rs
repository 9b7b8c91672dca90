//! Softmax over the keys that a query sees, and its gradient.
#![allow(clippy::too_many_arguments)] // a kernel takes tensors and numbers, no structs of both

use cubecl::prelude::*;

use super::{row, row_largest, total};

/// Softmax of `scale * scores` over the keys `first..end` of each query, 0 elsewhere. `ranges` holds first and end of
/// each of the `seq` queries of each row of the batch.
#[cube(launch_unchecked)]
pub(crate) fn causal_softmax(
    scores: &Tensor<f32>,
    ranges: &Tensor<u32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    pitch: u32,
    per_row: u32,
    seq: u32,
    scale: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let (per_row, seq) = (per_row as usize, seq as usize);
    let range = (row / per_row * seq + row % seq) * 2;
    let (first, end) = (ranges[range] as usize, ranges[range + 1] as usize);
    let at = row * pitch as usize;
    let unit = UNIT_POS_X as usize;
    let most = row_largest(scores, at + first, at + end, scale, units);
    let mut sum = 0.0f32;
    let mut i = first + unit;
    while i < end {
        let power = (scores[at + i] * scale - most).exp();
        out[row * width + i] = power;
        sum += power;
        i += units;
    }
    let sum = total(sum, units);
    let mut i = unit;
    while i < width {
        if i >= first && i < end {
            out[row * width + i] = out[row * width + i] / sum;
        } else {
            out[row * width + i] = 0.0f32;
        }
        i += units;
    }
}

/// `scale p (grad - sum(p grad))`, the gradient at the scores of the softmax `p`.
#[cube(launch_unchecked)]
pub(crate) fn softmax_backward(
    p: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    x_pitch: u32,
    grad_pitch: u32,
    scale: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let (p_at, grad_at) = (row * x_pitch as usize, row * grad_pitch as usize);
    let mut along = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < width {
        along += p[p_at + i] * grad[grad_at + i];
        i += units;
    }
    let along = total(along, units);
    let mut i = UNIT_POS_X as usize;
    while i < width {
        out[row * width + i] = scale * p[p_at + i] * (grad[grad_at + i] - along);
        i += units;
    }
}
