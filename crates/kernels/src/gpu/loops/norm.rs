//! RMSNorm and its gradients.
#![allow(clippy::too_many_arguments)] // a kernel takes tensors and numbers, no structs of both

use cubecl::prelude::*;

use super::{inverse_rms, row, total};

#[cube(launch_unchecked)]
pub(crate) fn rms_norm(
    x: &Tensor<f32>,
    weight: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    pitch: u32,
    eps: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let at = row * pitch as usize;
    let factor = inverse_rms(x, at, width, eps, units);
    let mut i = UNIT_POS_X as usize;
    while i < width {
        out[row * width + i] = x[at + i] * factor * weight[i];
        i += units;
    }
}

/// `grad` has `heads` rows of `seq` for each row of `seq` of `x`.
#[cube(launch_unchecked)]
pub(crate) fn rms_norm_backward(
    x: &Tensor<f32>,
    weight: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    x_pitch: u32,
    grad_pitch: u32,
    heads: u32,
    seq: u32,
    eps: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let (heads, seq) = (heads as usize, seq as usize);
    let x_at = (row / (heads * seq) * seq + row % seq) * x_pitch as usize;
    let grad_at = row * grad_pitch as usize;
    let mut squares = 0.0f32;
    let mut along = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < width {
        let value = x[x_at + i];
        squares += value * value;
        along += value * grad[grad_at + i] * weight[i];
        i += units;
    }
    let n = width as f32;
    let mean = total(squares, units) / n;
    let along = total(along, units);
    let factor = 1.0f32 / (mean + eps).sqrt();
    let back = along * factor * factor * factor / n;
    let mut i = UNIT_POS_X as usize;
    while i < width {
        out[row * width + i] = grad[grad_at + i] * weight[i] * factor - x[x_at + i] * back;
        i += units;
    }
}

/// `x / rms(x) * grad`, whose sum over rows is the gradient at the weight of the norm.
#[cube(launch_unchecked)]
pub(crate) fn normed_times(
    x: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    x_pitch: u32,
    grad_pitch: u32,
    eps: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let (x_at, grad_at) = (row * x_pitch as usize, row * grad_pitch as usize);
    let factor = inverse_rms(x, x_at, width, eps, units);
    let mut i = UNIT_POS_X as usize;
    while i < width {
        out[row * width + i] = x[x_at + i] * factor * grad[grad_at + i];
        i += units;
    }
}
