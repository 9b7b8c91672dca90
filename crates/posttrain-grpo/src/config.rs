//! Settings of GRPO: sampling, advantages and loss.

use posttrain::TrainerConfig;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How a token's loss becomes the step's loss, and which loss a token has.
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
    /// A detached, bounded ratio times the log-probability (MiniMax 2025).
    Cispo,
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
}

/// Group-relative policy optimisation (Shao et al. 2024). Defaults of loss, ratio, advantage and clipping are those
/// of TRL 1.16; `docs/TRL.md` lists its settings and where they are here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrpoConfig {
    /// Length, optimiser, schedule, seed; `batch_size` is the number of completions of a forward pass. Not a
    /// part of the serialised form: a configuration file has sections for it.
    #[serde(skip)]
    pub trainer: TrainerConfig,
    /// Completions of a prompt; at least 2, since one is always as good as its group.
    pub group_size: usize,
    /// Prompts of a step.
    pub prompts: usize,
    /// Tokens of a completion at most.
    pub max_tokens: usize,
    /// Temperature of sampling and of the trained log-probabilities; above 0.
    pub temperature: f64,
    /// See `model_qwen::Sampling`. Filters are not part of the trained distribution.
    pub top_p: f64,
    /// See `model_qwen::Sampling`.
    pub top_k: usize,
    /// See `model_qwen::Sampling`.
    pub min_p: f64,
    /// The loss.
    pub loss: LossKind,
    /// What the importance ratio is of.
    pub ratio: Ratio,
    /// What rewards are compared with.
    pub advantage: Advantage,
    /// Ratios below `1 - epsilon` are clipped.
    pub epsilon: f64,
    /// Ratios above `1 + epsilon_high` are clipped, `epsilon` where not given; in `cispo` the bound itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon_high: Option<f64>,
    /// Bounds the ratio from above whatever the advantage's sign (INTELLECT-2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Weight of the KL divergence from the reference; 0 keeps no reference.
    pub beta: f64,
    /// Whether the KL term is multiplied by the importance ratio (`use_bias_correction_kl`).
    pub kl_ratio: bool,
    /// Updates for each set of completions.
    pub updates: usize,
    /// Leave out completions that met the budget before a stop token.
    pub mask_truncated: bool,
    /// Completions generated at once: memory only, never the draws.
    pub rollout_batch: usize,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            trainer: TrainerConfig::default(),
            group_size: 8,
            prompts: 8,
            max_tokens: 256,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            loss: LossKind::Dapo,
            ratio: Ratio::Token,
            advantage: Advantage::Group,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            beta: 0.0,
            kl_ratio: true,
            updates: 1,
            mask_truncated: false,
            rollout_batch: 256,
        }
    }
}

impl GrpoConfig {
    /// Checks the range of every value.
    ///
    /// # Errors
    /// The first value out of its range, with what was expected.
    pub fn check(&self) -> Result<(), Error> {
        self.trainer.check()?;
        if self.trainer.train.accumulation != 1 {
            return Err(Error::input(format!(
                "train.accumulation is {}: GRPO takes all completions of a step together in passes of \
                 train.batch_size, expected 1",
                self.trainer.train.accumulation
            )));
        }
        posttrain::config::check_ranges(&[
            (
                "grpo.group_size",
                self.group_size as f64,
                2.0,
                1e9,
                "from 2: the advantage of one alone is always 0",
            ),
            ("grpo.prompts", self.prompts as f64, 1.0, 1e9, "from 1"),
            ("grpo.max_tokens", self.max_tokens as f64, 1.0, 1e9, "from 1"),
            ("grpo.temperature", self.temperature, 1e-6, 1e6, "above 0: greedy completions have no gradient"),
            ("grpo.top_p", self.top_p, f64::MIN_POSITIVE, 1.0, "above 0 and at most 1"),
            ("grpo.min_p", self.min_p, 0.0, 1.0, "from 0 to 1"),
            ("grpo.epsilon", self.epsilon, 0.0, f64::MAX, "from 0"),
            ("grpo.epsilon_high", self.epsilon_high.unwrap_or(0.0), 0.0, f64::MAX, "from 0"),
            ("grpo.delta", self.delta.unwrap_or(1.0), f64::MIN_POSITIVE, f64::MAX, "above 0"),
            ("grpo.beta", self.beta, 0.0, f64::MAX, "from 0"),
            ("grpo.rollout_batch", self.rollout_batch as f64, 1.0, 1e9, "from 1"),
            ("grpo.updates", self.updates as f64, 1.0, 1e9, "from 1"),
        ])
    }
}
