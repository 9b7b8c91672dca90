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
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Losses times the tokens' weights, in nats.
    pub loss: f64,
    /// Weights: 1 for each token where the rows have none.
    pub weight: f64,
    /// Entropies of the predictions, in nats.
    pub entropy: f64,
    /// Tokens that were the most likely ones.
    pub correct: usize,
    /// Tokens.
    pub tokens: usize,
}

impl From<Sums> for [f64; 5] {
    fn from(s: Sums) -> Self {
        [s.loss, s.weight, s.entropy, s.correct as f64, s.tokens as f64]
    }
}

impl From<[f64; 5]> for Sums {
    fn from([loss, weight, entropy, correct, tokens]: [f64; 5]) -> Self {
        Self { loss, weight, entropy, correct: correct as usize, tokens: tokens as usize }
    }
}

impl Sums {
    pub(crate) fn of(stats: &[TokenStats], weights: &[f32], loss: Loss) -> Self {
        let mut sums = Self { tokens: stats.len(), ..Self::default() };
        for (token, &weight) in stats.iter().zip(weights) {
            sums.loss += f64::from(weight) * loss.value(token);
            sums.weight += f64::from(weight);
            sums.entropy += f64::from(token.entropy);
            sums.correct += usize::from(token.correct);
        }
        sums
    }

    /// Adds the sums of other tokens.
    pub fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.weight += other.weight;
        self.entropy += other.entropy;
        self.correct += other.correct;
        self.tokens += other.tokens;
    }

    /// Weighted mean loss of a token.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.weight
    }

    /// Mean entropy of a prediction.
    pub fn mean_entropy(&self) -> f64 {
        self.entropy / self.tokens as f64
    }

    /// Share of the tokens that were the most likely ones.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.tokens as f64
    }
}
