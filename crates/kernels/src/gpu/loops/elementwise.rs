//! One unit a value, or a pair of values.
#![allow(clippy::too_many_arguments)] // a kernel takes tensors and numbers, no structs of both

use cubecl::prelude::*;
use cubecl::std::tensor::layout::linear::{LinearView, LinearViewMut};

#[cube(launch_unchecked)]
pub(crate) fn swiglu(gate: LinearView<'_, f32>, up: LinearView<'_, f32>, mut out: LinearViewMut<'_, f32>) {
    if !out.is_in_bounds(ABSOLUTE_POS) {
        terminate!();
    }
    let x = gate.read(ABSOLUTE_POS);
    let sigmoid = 1.0f32 / (1.0f32 + (-x).exp());
    out.write(ABSOLUTE_POS, x * sigmoid * up.read(ABSOLUTE_POS));
}

#[cube(launch_unchecked)]
pub(crate) fn swiglu_backward_gate(
    gate: LinearView<'_, f32>,
    up: LinearView<'_, f32>,
    grad: LinearView<'_, f32>,
    mut out: LinearViewMut<'_, f32>,
) {
    if !out.is_in_bounds(ABSOLUTE_POS) {
        terminate!();
    }
    let x = gate.read(ABSOLUTE_POS);
    let sigmoid = 1.0f32 / (1.0f32 + (-x).exp());
    let slope = sigmoid * (1.0f32 + x * (1.0f32 - sigmoid));
    out.write(ABSOLUTE_POS, grad.read(ABSOLUTE_POS) * up.read(ABSOLUTE_POS) * slope);
}

/// One unit a pair of values; `x` `[batch, heads, seq, d]` with any strides, `cos` and `sin` `[batch, seq, d / 2]`.
#[cube(launch_unchecked)]
pub(crate) fn rotary(
    x: &Tensor<f32>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    out: &mut Tensor<f32>,
    pairs: u32,
) {
    if ABSOLUTE_POS >= pairs as usize {
        terminate!();
    }
    let (heads, seq, half) = (x.shape(1), x.shape(2), x.shape(3) / 2);
    let i = ABSOLUTE_POS % half;
    let line = ABSOLUTE_POS / half;
    let s = line % seq;
    let h = line / seq % heads;
    let b = line / seq / heads;
    let at = b * x.stride(0) + h * x.stride(1) + s * x.stride(2);
    let angle = b * cos.stride(0) + s * cos.stride(1) + i * cos.stride(2);
    let left = x[at + i * x.stride(3)];
    let right = x[at + (i + half) * x.stride(3)];
    let (c, d) = (cos[angle], sin[angle]);
    let to = line * half * 2 + i;
    out[to] = left * c - right * d;
    out[to + half] = right * c + left * d;
}

/// What [`adamw`] multiplies by: decay of the weight, both betas and what is left of them, the factor of the gradient,
/// the corrected rate, the correction of the second moment, epsilon.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) decay: f32,
    pub(crate) beta1: f32,
    pub(crate) rest1: f32,
    pub(crate) beta2: f32,
    pub(crate) rest2: f32,
    pub(crate) grad: f32,
    pub(crate) rate: f32,
    pub(crate) root: f32,
    pub(crate) eps: f32,
}

/// In place.
#[cube(launch_unchecked)]
pub(crate) fn adamw(
    weight: &mut Tensor<f32>,
    grad: &Tensor<f32>,
    m: &mut Tensor<f32>,
    v: &mut Tensor<f32>,
    rates: &Rates,
    n: u32,
) {
    let i = ABSOLUTE_POS;
    if i >= n as usize {
        terminate!();
    }
    let g = grad[i] * rates.grad;
    let first = m[i] * rates.beta1 + g * rates.rest1;
    let second = v[i] * rates.beta2 + g * g * rates.rest2;
    m[i] = first;
    v[i] = second;
    weight[i] = weight[i] * rates.decay - first / (second.sqrt() / rates.root + rates.eps) * rates.rate;
}
