//! Choices of loss, ratio, divergence and advantage.

use serde::{Deserialize, Serialize};

/// How a token's loss becomes the step's loss, and which loss a token has. With ratio r and advantage A it is the clipped
/// `-min(min(r, delta) A, clip(r, 1 - epsilon, 1 + epsilon_high) A)` unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Mean over completions of the mean over tokens (Shao et al. 2024).
    Grpo,
    /// Mean over the tokens of the batch.
    Bnpo,
    /// Sum over tokens by completions times the token budget (Liu et al. 2025).
    DrGrpo,
    /// Mean over the tokens of the whole generation (Yu et al. 2025).
    #[default]
    Dapo,
    /// A detached, bounded ratio times the log-probability, `-sg(min(r, epsilon_high)) A logp`, averaged as
    /// [`LossKind::Dapo`] (MiniMax 2025).
    Cispo,
    /// A soft gate in place of the clip, `-A sigmoid(t (r - 1)) 4 / t`, averaged as [`LossKind::Grpo`] (Gao et al. 2025);
    /// see [`Sapo`].
    Sapo,
    /// Mean over completions of the sum over tokens, made for [`Ratio::Sequence`] (LUSPO, Liu et al. 2026).
    Luspo,
    /// A detached gamma weight of the sequence's ratio times the log-probability, averaged as [`LossKind::Dapo`];
    /// see [`Vespo`].
    Vespo,
}

impl LossKind {
    /// Whether ratios are clipped between bounds.
    pub fn clips(self) -> bool {
        !matches!(self, Self::Cispo | Self::Sapo | Self::Vespo)
    }

    /// Whether each of several minibatches divides by their mean number of tokens, and not by its own.
    pub(crate) fn divides_by_mean_tokens(self) -> bool {
        matches!(self, Self::Dapo | Self::Cispo | Self::Vespo)
    }
}

/// Temperatures of the gate of [`LossKind::Sapo`]: the larger, the faster the gradient falls off with the ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sapo {
    /// Where the advantage is above 0.
    pub temperature_pos: f64,
    /// Elsewhere.
    pub temperature_neg: f64,
}

impl Default for Sapo {
    fn default() -> Self {
        Self { temperature_pos: 1.0, temperature_neg: 1.05 }
    }
}

/// The weight `exp(lambda + k ln W - lambda W)` of [`LossKind::Vespo`], with W the ratio of the whole sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vespo {
    /// k where the advantage is 0 or more.
    pub k_pos: f64,
    /// lambda where the advantage is 0 or more.
    pub lambda_pos: f64,
    /// k where it is negative.
    pub k_neg: f64,
    /// lambda where it is negative.
    pub lambda_neg: f64,
}

impl Default for Vespo {
    fn default() -> Self {
        Self { k_pos: 2.0, lambda_pos: 3.0, k_neg: 3.0, lambda_neg: 2.0 }
    }
}

/// How KL(policy ‖ reference) is estimated at a sampled token, with `x = reference - logp` (Schulman 2020). Which
/// of them have the divergence's gradient, with and without `kl_ratio`, is in docs/METHODS.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `-x`.
    K1,
    /// `x² / 2`.
    K2,
    /// `exp(x) - x - 1`.
    #[default]
    K3,
}

/// What the importance ratio is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ratio {
    /// Each token.
    #[default]
    Token,
    /// The sequence, by its mean token (GSPO: Zheng et al. 2025).
    Sequence,
}

/// What rewards are compared with and divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advantage {
    /// Less the group's mean, over the group's standard deviation + 1e-4.
    #[default]
    Group,
    /// Less the group's mean, over the batch's standard deviation + 1e-4.
    Batch,
    /// Less the group's mean.
    None,
    /// Less the mean of the group's others (RLOO: Ahmadian et al. 2024).
    LeaveOneOut,
}

/// How several rewards become one advantage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The weighted sum of the rewards is compared.
    #[default]
    SumThenNormalize,
    /// Each reward is compared in its group; their weighted sum is less its mean over its standard deviation + 1e-4, both
    /// of the step (GDPO).
    NormalizeThenSum,
}

/// What becomes of groups whose rewards are all equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroVariance {
    /// They count in the loss's divisor, and have a KL term.
    #[default]
    Keep,
    /// They are not trained on.
    Drop,
}
