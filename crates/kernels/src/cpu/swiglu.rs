//! `silu(gate) * up` and its derivatives.

use super::{by_rows, compiled_twice, exp::exp};

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn forward_body(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((o, &g), &u) in out.iter_mut().zip(gate).zip(up) {
        *o = g * sigmoid(g) * u;
    }
}

#[inline(always)]
fn backward_gate_body(gate: &[f32], up: &[f32], grad: &[f32], out: &mut [f32]) {
    for (((o, &g), &u), &d) in out.iter_mut().zip(gate).zip(up).zip(grad) {
        let s = sigmoid(g);
        *o = d * u * s * (1.0 + g * (1.0 - s));
    }
}

compiled_twice!(fn forward_block(gate: &[f32], up: &[f32], out: &mut [f32]) = forward_body);
compiled_twice!(
    fn backward_gate_block(gate: &[f32], up: &[f32], grad: &[f32], out: &mut [f32]) = backward_gate_body
);

/// `out = silu(gate) * up`; with the gradient as `up` it is also the derivative with respect to `up`.
pub(crate) fn forward(gate: &[f32], up: &[f32], out: &mut [f32]) {
    by_rows(out, 1, |i, out| {
        let span = i..i + out.len();
        forward_block(&gate[span.clone()], &up[span], out);
    });
}

/// `out = grad * up * d silu(gate) / d gate`.
pub(crate) fn backward_gate(gate: &[f32], up: &[f32], grad: &[f32], out: &mut [f32]) {
    by_rows(out, 1, |i, out| {
        let span = i..i + out.len();
        backward_gate_block(&gate[span.clone()], &up[span.clone()], &grad[span], out);
    });
}
