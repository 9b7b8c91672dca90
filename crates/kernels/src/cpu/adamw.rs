//! One pass over weight, gradient and both moments.

use rayon::prelude::*;

use super::{LANES, SERIAL, compiled_twice};
use crate::AdamW;

/// The numbers of a step as the loop wants them.
#[derive(Clone, Copy)]
struct Scalars {
    scale: f32,
    keep: f32,
    beta2: f32,
    new1: f32,
    new2: f32,
    step_size: f32,
    root: f32,
    eps: f32,
}

impl From<&AdamW> for Scalars {
    fn from(step: &AdamW) -> Self {
        let [beta1, beta2] = step.betas;
        let t = step.t as i32;
        let (bias1, bias2) = (1.0 - beta1.powi(t), 1.0 - beta2.powi(t));
        Self {
            scale: step.scale as f32,
            keep: (1.0 - step.lr * step.weight_decay) as f32,
            beta2: beta2 as f32,
            new1: (1.0 - beta1) as f32,
            new2: (1.0 - beta2) as f32,
            step_size: (step.lr / bias1) as f32,
            root: bias2.sqrt() as f32,
            eps: step.eps as f32,
        }
    }
}

#[inline(always)]
fn body(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], s: Scalars) {
    for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * s.scale;
        *m += (g - *m) * s.new1;
        *v = *v * s.beta2 + g * g * s.new2;
        let denominator = v.sqrt() / s.root + s.eps;
        *w = *w * s.keep - s.step_size * (*m / denominator);
    }
}

compiled_twice!(fn block(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], s: Scalars) = body);

/// See [`crate::adamw`]; all slices have one length.
pub(crate) fn step(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], how: &AdamW) {
    let s = Scalars::from(how);
    if w.len() <= SERIAL {
        return block(w, g, m, v, s);
    }
    w.par_chunks_mut(SERIAL)
        .zip(g.par_chunks(SERIAL))
        .zip(m.par_chunks_mut(SERIAL))
        .zip(v.par_chunks_mut(SERIAL))
        .for_each(|(((w, g), m), v)| block(w, g, m, v, s));
}

#[inline(always)]
fn squares_body(x: &[f32]) -> f64 {
    let mut lanes = [0f64; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for x in chunks.by_ref() {
        for l in 0..LANES {
            lanes[l] += f64::from(x[l]) * f64::from(x[l]);
        }
    }
    for (l, &x) in chunks.remainder().iter().enumerate() {
        lanes[l] += f64::from(x) * f64::from(x);
    }
    lanes.iter().sum()
}

compiled_twice!(fn squares(x: &[f32]) -> f64 = squares_body);

/// The sum of squares in f64, in blocks of fixed size: the same for any number of threads.
pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
    let parts: Vec<f64> = x.par_chunks(SERIAL).map(squares).collect();
    parts.iter().sum()
}
