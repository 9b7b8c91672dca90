//! Which loss, and of what the rows are a part.

use crate::{GrpoConfig, KlEstimator, LossKind, Ratio, Sapo, Vespo};

/// Which loss.
#[derive(Debug, Clone, PartialEq)]
pub struct LossConfig {
    /// Loss of a token, and how tokens are added up.
    pub kind: LossKind,
    /// What the importance ratio is of.
    pub ratio: Ratio,
    /// Ratios are clipped below `1 - epsilon`.
    pub epsilon: f64,
    /// Ratios are clipped above `1 + epsilon_high`; in [`LossKind::Cispo`] above `epsilon_high`.
    pub epsilon_high: f64,
    /// Bounds the unclipped ratio from above.
    pub delta: Option<f64>,
    /// Of [`LossKind::Sapo`].
    pub sapo: Sapo,
    /// Of [`LossKind::Vespo`].
    pub vespo: Vespo,
    /// Completions with a negative advantage count where the mean of `old - logp` is at most this; of another sampler, the
    /// mean of its log-probability less `logp`.
    pub off_policy: Option<f64>,
    /// Tokens of at least this entropy have a policy term; see [`entropy_threshold`].
    pub entropy_floor: Option<f64>,
    /// Weight of the mean entropy, which is subtracted.
    pub entropy_coef: f64,
    /// Weight of the KL term.
    pub beta: f64,
    /// How the divergence is estimated.
    pub kl: KlEstimator,
    /// Whether the KL term is multiplied by the ratio, gradient included.
    pub kl_ratio: bool,
    /// Token budget of a completion: the divisor of [`LossKind::DrGrpo`].
    pub max_tokens: usize,
    /// What the rows are a part of, where they are not all.
    pub whole: Option<Whole>,
}

/// The whole of which some rows are a part: losses of the parts then add up to the loss of the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whole {
    /// Completions.
    pub sequences: f64,
    /// Tokens that count.
    pub tokens: f64,
    /// Those of them whose entropy is at least the floor: the divisor of the entropy bonus.
    pub kept: f64,
}

impl From<&GrpoConfig> for LossConfig {
    fn from(config: &GrpoConfig) -> Self {
        Self {
            kind: config.loss,
            ratio: config.ratio,
            epsilon: config.epsilon,
            epsilon_high: config.epsilon_high.unwrap_or(config.epsilon),
            delta: config.delta,
            sapo: config.sapo.unwrap_or_default(),
            vespo: config.vespo.unwrap_or_default(),
            off_policy: config.off_policy_mask,
            entropy_floor: None,
            entropy_coef: config.entropy_coef,
            beta: config.beta,
            kl: config.kl,
            kl_ratio: config.kl_ratio,
            max_tokens: config.max_tokens,
            whole: None,
        }
    }
}

/// The entropy above which a share `top` of the tokens lies: the `1 - top` quantile, interpolated as by
/// `torch.quantile` (Wang et al. 2025; TRL's `top_entropy_quantile`). 0 where there are no tokens.
pub fn entropy_threshold(entropies: &[f32], top: f64) -> f64 {
    let mut sorted = entropies.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    // In f32, as torch: the comparison with the threshold is of equal numbers.
    let at = (1.0 - top) as f32 * last as f32;
    let (low, share) = (at.floor() as usize, at - at.floor());
    let (a, b) = (sorted[low.min(last)], sorted[(low + 1).min(last)]);
    // torch's lerp.
    let value = if share < 0.5 { a + share * (b - a) } else { b - (b - a) * (1.0 - share) };
    f64::from(value)
}
