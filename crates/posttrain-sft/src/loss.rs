//! What a trained token adds to the loss, and sums over tokens.

use posttrain::{TokenStats, TokenWeights};

use crate::{LossKind, SftConfig};

/// The loss of a token as a function of its statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    kind: LossKind,
    smoothing: f32,
}

impl Loss {
    pub(crate) fn new(config: &SftConfig) -> Self {
        Self { kind: config.loss, smoothing: config.label_smoothing as f32 }
    }

    /// Whether the derivative is the same at every token, so that no statistics are needed for it.
    pub(crate) fn is_linear(&self) -> bool {
        self.kind == LossKind::Nll
    }

    /// The loss.
    pub(crate) fn value(&self, token: &TokenStats) -> f64 {
        let (log_p, mean) = (f64::from(token.log_prob), f64::from(token.mean_log_prob));
        let smoothing = f64::from(self.smoothing);
        match self.kind {
            LossKind::Nll if smoothing == 0.0 => -log_p,
            LossKind::Nll => -(1.0 - smoothing) * log_p - smoothing * mean,
            LossKind::Dft => -log_p.exp() * log_p,
        }
    }

    /// Its derivatives; of `token`, only what [`is_linear`](Self::is_linear) says is read.
    pub(crate) fn weights(&self, token: &TokenStats) -> TokenWeights {
        match self.kind {
            LossKind::Nll => {
                TokenWeights { log_prob: self.smoothing - 1.0, entropy: 0.0, mean_log_prob: -self.smoothing }
            }
            LossKind::Dft => TokenWeights::from(-token.log_prob.exp()),
        }
    }
}

/// Sums over trained tokens; that of the loss is weighted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) loss: f64,
    pub(crate) entropy: f64,
    pub(crate) correct: usize,
}

impl Sums {
    pub(crate) fn of(stats: &[TokenStats], weights: &[f32], loss: Loss) -> Self {
        let mut sums = Self::default();
        for (token, &weight) in stats.iter().zip(weights) {
            sums.loss += f64::from(weight) * loss.value(token);
            sums.entropy += f64::from(token.entropy);
            sums.correct += usize::from(token.correct);
        }
        sums
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.entropy += other.entropy;
        self.correct += other.correct;
    }
}
