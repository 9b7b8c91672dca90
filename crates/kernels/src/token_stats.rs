//! What training asks of the output layer beside log-probabilities, and the gradient of weighted sums of it.

use burn::tensor::{Tensor, TensorData};

#[cfg(feature = "gpu")]
use crate::gpu;
use crate::{cpu, on_cpu, portable};

/// Statistics of `p = softmax(logits * inverse_temperature)` in one row, with one token singled out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TokenStats {
    /// `log p(token)`, in nats, with the bits of [`token_log_probs`](crate::token_log_probs).
    pub log_prob: f32,
    /// `-Σ p log p` over the vocabulary, in nats.
    pub entropy: f32,
    /// The mean of `log p` over the vocabulary, each id with the same weight.
    pub mean_log_prob: f32,
    /// Whether the token is the most likely one; of equally likely ones, the first.
    pub correct: bool,
}

/// How a loss depends on the statistics of one row: the derivative with respect to each.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TokenWeights {
    /// Of [`TokenStats::log_prob`].
    pub log_prob: f32,
    /// Of [`TokenStats::entropy`].
    pub entropy: f32,
    /// Of [`TokenStats::mean_log_prob`].
    pub mean_log_prob: f32,
}

impl From<f32> for TokenWeights {
    /// The derivative with respect to the log-probability alone.
    fn from(log_prob: f32) -> Self {
        Self { log_prob, ..Self::default() }
    }
}

impl std::ops::Mul<f32> for TokenWeights {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        Self {
            log_prob: self.log_prob * factor,
            entropy: self.entropy * factor,
            mean_log_prob: self.mean_log_prob * factor,
        }
    }
}

/// The statistics of each row, and the logits: passing them through leaves them uniquely owned.
///
/// # Shapes
/// `logits` `[rows, vocab]`, one token id a row.
///
/// # Panics
/// If the numbers of rows differ or a token is not below `vocab`.
pub fn token_stats(
    logits: Tensor<2>,
    tokens: &[u32],
    inverse_temperature: f64,
) -> (Vec<TokenStats>, Tensor<2>) {
    let [_, vocab] = check(&logits, tokens);
    #[cfg(feature = "gpu")]
    if crate::is_gpu(&logits.device()) && !logits.is_autodiff() && crate::fused(&logits) {
        return (gpu::token_stats::token_stats(logits.clone(), tokens, inverse_temperature), logits);
    }
    if !on_cpu(&logits) || logits.is_autodiff() {
        let stats = portable::token_stats(logits.clone(), tokens, inverse_temperature);
        return (stats, logits);
    }
    let device = logits.device();
    let data = logits.into_data();
    let stats = cpu::token_stats::forward(slice(&data), tokens, inverse_temperature as f32, vocab);
    (stats, Tensor::from_data(data, &device))
}

/// The statistics of each row, and the gradient in the logits of
/// `Σ w.log_prob * log_prob + w.entropy * entropy + w.mean_log_prob * mean_log_prob` over the rows. Logits that are
/// uniquely owned are overwritten.
///
/// # Shapes
/// `logits` `[rows, vocab]` untracked, one token id and one weight a row; the gradient has the shape of the logits.
///
/// # Panics
/// If the numbers of rows differ, a token is not below `vocab`, or the logits are tracked.
pub fn token_stats_backward(
    logits: Tensor<2>,
    tokens: &[u32],
    weights: &[TokenWeights],
    inverse_temperature: f64,
) -> (Vec<TokenStats>, Tensor<2>) {
    let [rows, vocab] = check(&logits, tokens);
    assert_eq!(rows, weights.len(), "one weight for each row of logits");
    assert!(!logits.is_autodiff(), "second derivatives are not implemented");
    #[cfg(feature = "gpu")]
    if crate::is_gpu(&logits.device()) && crate::fused(&logits) {
        return gpu::token_stats::token_stats_backward(logits, tokens, weights, inverse_temperature);
    }
    if !on_cpu(&logits) {
        return portable::token_stats_backward(logits, tokens, weights, inverse_temperature);
    }
    let device = logits.device();
    let mut data = logits.into_data();
    let Ok(values) = data.as_mut_slice() else { panic!("f32 tensors hold f32") };
    let stats = cpu::token_stats::backward(values, tokens, weights, inverse_temperature as f32, vocab);
    (stats, Tensor::from_data(data, &device))
}

pub(crate) fn check(logits: &Tensor<2>, tokens: &[u32]) -> [usize; 2] {
    let [rows, vocab] = logits.dims();
    assert_eq!(rows, tokens.len(), "one token for each row of logits");
    assert!(tokens.iter().all(|&t| (t as usize) < vocab), "token ids are below the vocabulary size");
    [rows, vocab]
}

fn slice(data: &TensorData) -> &[f32] {
    match data.as_slice() {
        Ok(values) => values,
        Err(_) => panic!("f32 tensors hold f32"),
    }
}
