//! A weight of the entropy bonus that follows the entropy (He et al. 2025, Skywork-OR1; TRL's `use_adaptive_entropy`).

use serde::{Deserialize, Serialize};

/// After each update the weight grows by `delta` where the policy's mean entropy was at most `target`, and falls by
/// `delta` where it was above; it has an effect in the updates that follow an entropy of at most `target`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveEntropy {
    /// Entropy in nats a token.
    pub target: f64,
    /// Change of the weight at each update.
    pub delta: f64,
    /// The smallest weight.
    pub min: f64,
    /// The largest weight.
    pub max: f64,
}

impl Default for AdaptiveEntropy {
    fn default() -> Self {
        Self { target: 0.2, delta: 0.005, min: 0.0, max: 1.0 }
    }
}

/// The weight between two updates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EntropyControl {
    /// The weight; `grpo.entropy_coef` at the beginning.
    pub coef: f64,
    /// Mean entropy that the last update saw; none before the first.
    pub last: Option<f64>,
}

impl EntropyControl {
    pub(crate) fn new(coef: f64) -> Self {
        Self { coef, last: None }
    }

    /// The weight in the next update.
    pub(crate) fn applied(&self, how: &AdaptiveEntropy) -> f64 {
        if self.last.is_some_and(|entropy| entropy <= how.target) { self.coef } else { 0.0 }
    }

    /// Takes the mean entropy that an update saw.
    pub(crate) fn saw(&mut self, entropy: f64, how: &AdaptiveEntropy) {
        self.coef = match entropy <= how.target {
            true => (self.coef + how.delta).min(how.max),
            false => (self.coef - how.delta).max(how.min),
        };
        self.last = Some(entropy);
    }
}
