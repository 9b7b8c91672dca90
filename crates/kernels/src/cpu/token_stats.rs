//! Statistics of the softmax of a row of logits, and the row's gradient in their place.

use rayon::prelude::*;

use super::{compiled_twice, exp::exp, lane_max, lane_sums};
use crate::{TokenStats, TokenWeights};

/// The statistics and the logarithm of the partition function.
///
/// The sums are short f32 sums joined in f64, in the order of [`super::log_prob`]: the log-probability has its bits.
#[inline(always)]
fn stats_row(logits: &[f32], token: usize, scale: f32) -> (TokenStats, f32) {
    let largest = lane_max(logits);
    let max = largest * scale;
    let [mut sum, mut weighted, mut all] = [0f64; 3];
    for part in logits.chunks(4096) {
        let [s, w, a] = lane_sums(part, part, |a, _| {
            let below = a * scale - max;
            let e = exp(below);
            [e, if e == 0.0 { 0.0 } else { e * below }, a]
        });
        (sum, weighted, all) = (sum + f64::from(s), weighted + f64::from(w), all + f64::from(a));
    }
    let log_z = max + sum.ln() as f32;
    let mean_log_prob = all * f64::from(scale) / logits.len() as f64 - f64::from(max) - sum.ln();
    let is_largest = logits[token] == largest;
    let stats = TokenStats {
        log_prob: logits[token] * scale - log_z,
        entropy: (sum.ln() - weighted / sum) as f32,
        mean_log_prob: mean_log_prob as f32,
        correct: is_largest && !logits[..token].contains(&largest),
    };
    (stats, log_z)
}

#[inline(always)]
fn backward_row(row: &mut [f32], token: usize, weights: TokenWeights, scale: f32) -> TokenStats {
    let (stats, log_z) = stats_row(row, token, scale);
    let constant = weights.mean_log_prob * scale / row.len() as f32;
    let of_p = (weights.log_prob + weights.mean_log_prob) * scale;
    if weights.entropy == 0.0 {
        for x in row.iter_mut() {
            *x = constant - of_p * exp(*x * scale - log_z);
        }
    } else {
        let of_surprise = weights.entropy * scale;
        for x in row.iter_mut() {
            let log_p = *x * scale - log_z;
            let p = exp(log_p);
            let factor = of_p + of_surprise * (log_p + stats.entropy);
            *x = constant - if p == 0.0 { 0.0 } else { p * factor };
        }
    }
    row[token] += weights.log_prob * scale;
    stats
}

compiled_twice!(fn stats_one(logits: &[f32], token: usize, scale: f32) -> (TokenStats, f32) = stats_row);
compiled_twice!(
    fn backward_one(row: &mut [f32], token: usize, weights: TokenWeights, scale: f32) -> TokenStats = backward_row
);

/// See [`crate::token_stats`].
pub(crate) fn forward(logits: &[f32], tokens: &[u32], scale: f32, vocab: usize) -> Vec<TokenStats> {
    let one = |(row, &token): (&[f32], &u32)| stats_one(row, token as usize, scale).0;
    logits.par_chunks_exact(vocab).zip(tokens).map(one).collect()
}

/// See [`crate::token_stats_backward`]; the gradient takes the place of the logits.
pub(crate) fn backward(
    logits: &mut [f32],
    tokens: &[u32],
    weights: &[TokenWeights],
    scale: f32,
    vocab: usize,
) -> Vec<TokenStats> {
    let rows = logits.par_chunks_exact_mut(vocab).zip(tokens).zip(weights);
    rows.map(|((row, &token), &weights)| backward_one(row, token as usize, weights, scale)).collect()
}
