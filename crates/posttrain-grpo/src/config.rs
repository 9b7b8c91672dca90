//! Settings of GRPO: sampling, advantages and loss.

use model_qwen::Room;
use posttrain::TrainerConfig;
use serde::{Deserialize, Serialize};

use crate::{
    AdaptiveEntropy, Advantage, Aggregation, Correction, Error, KlEstimator, LossKind, Ratio, RolloutConfig,
    Sapo, SyncReference, Vespo, ZeroVariance,
};

/// Group-relative policy optimisation (Shao et al. 2024). Defaults of loss, ratio, advantage and clipping are those
/// of TRL 1.16; `docs/TRL.md` lists its settings and where they are here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrpoConfig {
    /// Length, optimiser, schedule, seed; `batch_size` is the number of completions of a forward pass. Not a
    /// part of the serialised form: a configuration file has sections for it.
    #[serde(skip)]
    pub trainer: TrainerConfig,
    /// Where another program samples; it has a section too.
    #[serde(skip)]
    pub rollouts: Option<RolloutConfig>,
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
    /// How several rewards become one advantage.
    pub aggregation: Aggregation,
    /// What becomes of groups whose rewards are all equal.
    pub zero_variance: ZeroVariance,
    /// Further generations of `prompts` prompts at most, until `prompts` groups have rewards that differ (DAPO's dynamic
    /// sampling, Yu et al. 2025); 0 takes the first as it is.
    pub resample: usize,
    /// Ratios below `1 - epsilon` are clipped.
    pub epsilon: f64,
    /// Ratios above `1 + epsilon_high` are clipped, `epsilon` where not given; in `cispo` the bound itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon_high: Option<f64>,
    /// Bounds the ratio from above whatever the advantage's sign (INTELLECT-2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Gate of the loss `sapo`; its defaults where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sapo: Option<Sapo>,
    /// Weights of the loss `vespo`; its defaults where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vespo: Option<Vespo>,
    /// Completions with a negative advantage are left out of the policy term once the mean over tokens of
    /// `old - logp` is above this (DeepSeek-V3.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_policy_mask: Option<f64>,
    /// The share of tokens, those of the largest entropy, that have a policy term (Wang et al. 2025); 1 takes all.
    pub top_entropy: f64,
    /// Weight of the mean entropy over tokens, which the loss is made smaller by.
    pub entropy_coef: f64,
    /// Makes that weight follow the entropy, from `entropy_coef` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_entropy: Option<AdaptiveEntropy>,
    /// Weight of the KL divergence from the reference; 0 keeps no reference.
    pub beta: f64,
    /// Makes the reference follow the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_reference: Option<SyncReference>,
    /// How that divergence is estimated.
    pub kl: KlEstimator,
    /// Whether the KL term is multiplied by the importance ratio (`use_bias_correction_kl`).
    pub kl_ratio: bool,
    /// Passes over the completions of a step, each of `minibatches` updates.
    pub updates: usize,
    /// Equal parts of the completions of a step, in their order, each with an update of its own; 1 takes all together.
    pub minibatches: usize,
    /// Leave out completions that met the budget before a stop token.
    pub mask_truncated: bool,
    /// Completions in work at the same time: memory and time only, never the draws. A finished one's place is taken
    /// by the next.
    pub rollout_batch: usize,
    /// Positions of the sampler's cache at most, of all completions in work together (`model_qwen::Room` has the
    /// formula); no bound but `rollout_batch` where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_tokens: Option<usize>,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            trainer: TrainerConfig::default(),
            rollouts: None,
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
            aggregation: Aggregation::SumThenNormalize,
            zero_variance: ZeroVariance::Keep,
            resample: 0,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            sapo: None,
            vespo: None,
            off_policy_mask: None,
            beta: 0.0,
            top_entropy: 1.0,
            entropy_coef: 0.0,
            adaptive_entropy: None,
            sync_reference: None,
            kl: KlEstimator::K3,
            kl_ratio: true,
            updates: 1,
            minibatches: 1,
            mask_truncated: false,
            rollout_batch: 256,
            max_batch_tokens: None,
        }
    }
}

impl GrpoConfig {
    /// Updates of a step.
    pub fn updates_of_a_step(&self) -> usize {
        self.updates * self.minibatches
    }

    /// How many completions the sampler has in work.
    pub fn room(&self) -> Room {
        Room { rows: self.rollout_batch, tokens: self.max_batch_tokens.unwrap_or(usize::MAX) }
    }

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
        self.check_effect()?;
        let Correction { kind, clip_min, clip_max } = self.rollouts.unwrap_or_default().correction;
        if kind.is_of_sequences() && self.loss == LossKind::Vespo && self.rollouts.is_some() {
            return Err(Error::input(
                "rollouts.correction: the loss vespo has ratios of sequences by itself, expected token_truncate, \
                 token_mask or none",
            ));
        }
        let (adaptive, sync) =
            (self.adaptive_entropy.unwrap_or_default(), self.sync_reference.unwrap_or_default());
        let (sapo, vespo) = (self.sapo.unwrap_or_default(), self.vespo.unwrap_or_default());
        posttrain::config::check_ranges(&[
            ("rollouts.clip_min", clip_min, 0.0, clip_max, "from 0 to rollouts.clip_max"),
            (
                "rollouts.clip_max",
                clip_max.min(f64::MAX),
                f64::MIN_POSITIVE,
                f64::MAX,
                "above 0; inf is no bound",
            ),
            ("grpo.sapo.temperature_pos", sapo.temperature_pos, f64::MIN_POSITIVE, f64::MAX, "above 0"),
            ("grpo.sapo.temperature_neg", sapo.temperature_neg, f64::MIN_POSITIVE, f64::MAX, "above 0"),
            ("grpo.vespo.k_pos", vespo.k_pos, 0.0, f64::MAX, "from 0"),
            ("grpo.vespo.k_neg", vespo.k_neg, 0.0, f64::MAX, "from 0"),
            ("grpo.vespo.lambda_pos", vespo.lambda_pos, 0.0, f64::MAX, "from 0"),
            ("grpo.vespo.lambda_neg", vespo.lambda_neg, 0.0, f64::MAX, "from 0"),
            ("grpo.off_policy_mask", self.off_policy_mask.unwrap_or(0.0), 0.0, f64::MAX, "from 0"),
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
            ("grpo.top_entropy", self.top_entropy, f64::MIN_POSITIVE, 1.0, "above 0 and at most 1"),
            ("grpo.entropy_coef", self.entropy_coef, f64::MIN, f64::MAX, "a finite number"),
            ("grpo.adaptive_entropy.target", adaptive.target, 0.0, f64::MAX, "from 0"),
            ("grpo.adaptive_entropy.delta", adaptive.delta, 0.0, f64::MAX, "from 0"),
            (
                "grpo.adaptive_entropy.min",
                adaptive.min,
                f64::MIN,
                adaptive.max,
                "at most grpo.adaptive_entropy.max",
            ),
            ("grpo.sync_reference.every", sync.every as f64, 1.0, 1e9, "from 1"),
            ("grpo.sync_reference.mix", sync.mix, 0.0, 1.0, "from 0 to 1"),
            ("grpo.beta", self.beta, 0.0, f64::MAX, "from 0"),
            ("grpo.rollout_batch", self.rollout_batch as f64, 1.0, 1e9, "from 1"),
            ("grpo.max_batch_tokens", self.max_batch_tokens.unwrap_or(1) as f64, 1.0, 1e18, "from 1"),
            ("grpo.updates", self.updates as f64, 1.0, 1e9, "from 1"),
            (
                "grpo.minibatches",
                self.minibatches as f64,
                1.0,
                (self.prompts * self.group_size) as f64,
                "from 1 to grpo.prompts * grpo.group_size",
            ),
        ])?;
        self.check_minibatches()
    }

    /// Refuses parts of a step that are not equal.
    fn check_minibatches(&self) -> Result<(), Error> {
        let completions = self.prompts * self.group_size;
        if completions.is_multiple_of(self.minibatches) {
            return Ok(());
        }
        Err(Error::input(format!(
            "grpo.minibatches is {}: expected a divisor of the {completions} completions of a step (grpo.prompts * \
             grpo.group_size)",
            self.minibatches
        )))
    }

    /// Refuses settings that the others leave without an effect.
    fn check_effect(&self) -> Result<(), Error> {
        let (loss, soft) = (self.loss, matches!(self.loss, LossKind::Sapo | LossKind::Vespo));
        let without = [
            ("grpo.sapo", self.sapo.is_some() && loss != LossKind::Sapo, "grpo.loss = \"sapo\""),
            ("grpo.vespo", self.vespo.is_some() && loss != LossKind::Vespo, "grpo.loss = \"vespo\""),
            ("grpo.delta", self.delta.is_some() && !loss.clips(), "a grpo.loss that clips ratios"),
            ("grpo.epsilon_high", self.epsilon_high.is_some() && soft, "a grpo.loss that bounds ratios"),
            ("grpo.sync_reference", self.sync_reference.is_some() && self.beta == 0.0, "grpo.beta above 0"),
            ("grpo.kl", self.kl != KlEstimator::K3 && self.beta == 0.0, "grpo.beta above 0"),
            (
                "grpo.resample",
                self.resample > 0 && self.zero_variance == ZeroVariance::Keep,
                "grpo.zero_variance = \"drop\"",
            ),
            (
                "grpo.advantage",
                self.advantage != Advantage::Group && self.aggregation == Aggregation::NormalizeThenSum,
                "grpo.aggregation = \"sum_then_normalize\"",
            ),
            (
                "grpo.off_policy_mask",
                self.off_policy_mask.is_some() && self.updates_of_a_step() == 1 && self.rollouts.is_none(),
                "grpo.updates or grpo.minibatches from 2, or [rollouts]",
            ),
        ];
        match without.into_iter().find(|(_, idle, _)| *idle) {
            None => Ok(()),
            Some((key, _, expected)) => {
                Err(Error::input(format!("{key} has no effect: expected {expected} with it")))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_an_effect_are_refused_by_name() {
        let start = GrpoConfig { trainer: TrainerConfig::default(), ..GrpoConfig::default() };
        start.check().unwrap();
        type Change = fn(&mut GrpoConfig);
        let refused: [(&str, Change); 9] = [
            ("grpo.sync_reference", |c| c.sync_reference = Some(SyncReference::default())),
            ("grpo.resample", |c| c.resample = 2),
            ("grpo.advantage", |c| {
                (c.advantage, c.aggregation) = (Advantage::None, Aggregation::NormalizeThenSum);
            }),
            ("grpo.sapo", |c| c.sapo = Some(Sapo::default())),
            ("grpo.vespo", |c| c.vespo = Some(Vespo::default())),
            ("grpo.delta", |c| (c.loss, c.delta) = (LossKind::Cispo, Some(2.0))),
            ("grpo.epsilon_high", |c| (c.loss, c.epsilon_high) = (LossKind::Sapo, Some(0.3))),
            ("grpo.kl", |c| c.kl = KlEstimator::K1),
            ("grpo.off_policy_mask", |c| c.off_policy_mask = Some(0.1)),
        ];
        for (key, change) in refused {
            let mut config = start.clone();
            change(&mut config);
            let message = config.check().unwrap_err().to_string();
            assert!(message.starts_with(&format!("{key} has no effect")), "{message}");
        }
    }
}
