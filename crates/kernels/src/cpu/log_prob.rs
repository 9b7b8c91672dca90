//! Log-probability of one token a row, without a copy of the logits.

use rayon::prelude::*;

use super::{by_rows, compiled_twice, exp::exp, lane_max, lane_sum};

#[inline(always)]
fn log_sum_exp_row(logits: &[f32], scale: f32) -> f32 {
    let max = lane_max(logits) * scale;
    // Short f32 sums, joined in f64: a vocabulary has 150,000 terms.
    let block = |part: &[f32]| f64::from(lane_sum(part, part, |a, _| exp(a * scale - max)));
    let sum: f64 = logits.chunks(4096).map(block).sum();
    max + sum.ln() as f32
}

#[inline(always)]
fn backward_row(logits: &[f32], token: usize, grad: f32, scale: f32, out: &mut [f32]) {
    let log_z = log_sum_exp_row(logits, scale);
    let g = -grad * scale;
    for (o, &x) in out.iter_mut().zip(logits) {
        *o = g * exp(x * scale - log_z);
    }
    out[token] += grad * scale;
}

compiled_twice!(fn log_sum_exp(logits: &[f32], scale: f32) -> f32 = log_sum_exp_row);
compiled_twice!(
    fn backward_one(logits: &[f32], token: usize, grad: f32, scale: f32, out: &mut [f32]) = backward_row
);

/// `scale * logits[token] - log(sum(exp(scale * logits)))` for each row.
pub(crate) fn forward(logits: &[f32], tokens: &[u32], scale: f32, vocab: usize) -> Vec<f32> {
    let one = |(row, &token): (&[f32], &u32)| row[token as usize] * scale - log_sum_exp(row, scale);
    logits.par_chunks_exact(vocab).zip(tokens).map(one).collect()
}

/// `out = grad * scale * (one_hot(token) - softmax(scale * logits))`.
pub(crate) fn backward(
    logits: &[f32],
    tokens: &[u32],
    grad: &[f32],
    scale: f32,
    vocab: usize,
    out: &mut [f32],
) {
    by_rows(out, vocab, |first, out| {
        for (i, out) in out.chunks_exact_mut(vocab).enumerate() {
            let row = first + i;
            backward_one(
                &logits[row * vocab..(row + 1) * vocab],
                tokens[row] as usize,
                grad[row],
                scale,
                out,
            );
        }
    });
}
