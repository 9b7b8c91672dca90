//! Numbers of a step, with TRL's names where it has them.

use std::collections::BTreeMap;

use model_qwen::Finish;
use serde::Serialize;

use crate::advantage::{is_still, mean, std};
use crate::correction::Mismatch;
use crate::{LossStats, Rollout, Scored};

/// Numbers of one step; a line of `metrics.jsonl`. Shares are from 0 to 1. Rewards and lengths are of all completions
/// that were sampled, the rest of those that were trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrpoStats {
    /// The step, from 0.
    pub step: usize,
    /// The loss before the update, averaged over updates. Near 0 on fresh completions: its gradient is not.
    pub loss: f64,
    /// Learning rate of the last update.
    pub lr: f64,
    /// Global norm of the gradients before clipping, averaged over updates; 0 where nothing could be learnt.
    pub grad_norm: f64,
    /// Mean reward of the completions that were judged; NaN, null in files, where there is none.
    pub reward: f64,
    /// Standard deviation of the reward over the step; NaN as the mean.
    pub reward_std: f64,
    /// Share of groups whose rewards are all equal: they teach nothing.
    pub frac_reward_zero_std: f64,
    /// Share of completions whose reward is NaN: they could not be judged.
    pub unjudged: f64,
    /// Mean completion length in tokens.
    pub length: f64,
    /// Share of completions that met the token budget.
    pub truncated: f64,
    /// Mean KL term; 0 without a reference.
    pub kl: f64,
    /// Entropy in nats a token: of the policy's distribution where a completion was run, else minus the log-probability of
    /// the sampled token, which is an estimate of it.
    pub entropy: f64,
    /// Weight of the entropy bonus after the last update; absent without a bonus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_coef: Option<f64>,
    /// The smallest importance ratio.
    pub ratio_min: f64,
    /// The largest importance ratio.
    pub ratio_max: f64,
    /// Completion tokens.
    pub tokens: usize,
    /// Mean over tokens of the difference between the log-probabilities of sampler and trainer before the first update.
    /// Rounding only, unless a filter (top-p, top-k, min-p) changed the sampler's distribution.
    #[serde(rename = "sampling/sampling_logp_difference/mean")]
    pub sampler_gap_mean: f64,
    /// The largest such difference; 0, as the mean, where the trainer ran no completion.
    #[serde(rename = "sampling/sampling_logp_difference/max")]
    pub sampler_gap: f64,
    /// Where another program sampled.
    #[serde(flatten)]
    pub sampler: Option<SamplerStats>,
    /// Generations that were sampled for the step: more than 1 with dynamic sampling.
    #[serde(rename = "sampling/generations")]
    pub generations: usize,
    /// Groups that were sampled and not trained on.
    #[serde(rename = "sampling/groups_left_out")]
    pub groups_left_out: usize,
    /// Lengths of completions.
    #[serde(flatten)]
    pub completions: CompletionStats,
    /// Shares of ratios that were clipped.
    #[serde(flatten)]
    pub clip: ClipStats,
    /// `rewards/NAME/mean` and `rewards/NAME/std` of every reward, over the completions that it judged.
    #[serde(flatten)]
    pub rewards: BTreeMap<String, f64>,
}

/// Weights that correct for another sampler ([`Correction`](crate::Correction)), over the fresh completions that were
/// run: each one's, or each token's. And how many steps the weights that sampled lay behind, over all completions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct SamplerStats {
    /// 1 where none was run, as the others.
    #[serde(rename = "sampling/importance_sampling_ratio/min")]
    pub weight_min: f64,
    #[serde(rename = "sampling/importance_sampling_ratio/mean")]
    pub weight_mean: f64,
    #[serde(rename = "sampling/importance_sampling_ratio/max")]
    pub weight_max: f64,
    #[serde(rename = "sample/staleness_mean")]
    pub staleness_mean: f64,
    #[serde(rename = "sample/staleness_max")]
    pub staleness_max: usize,
}

impl SamplerStats {
    fn new(step: usize, all: &[Rollout], seen: &Mismatch) -> Self {
        let behind = all.iter().map(|r| step.saturating_sub(r.sampled_at));
        let (staleness, n) = (behind.clone().sum::<usize>() as f64, all.len().max(1) as f64);
        let none = seen.weights == 0.0;
        let of = |x: f64| if none { 1.0 } else { x };
        Self {
            weight_min: of(seen.weight_min),
            weight_mean: of(seen.weight / seen.weights),
            weight_max: of(seen.weight_max),
            staleness_mean: staleness / n,
            staleness_max: behind.max().unwrap_or(0),
        }
    }
}

/// Lengths in tokens, and the share of completions that met the token budget. Terminated completions are those that did not meet the token budget; 0 where there are none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct CompletionStats {
    #[serde(rename = "completions/mean_length")]
    pub mean: f64,
    #[serde(rename = "completions/min_length")]
    pub min: usize,
    #[serde(rename = "completions/max_length")]
    pub max: usize,
    #[serde(rename = "completions/mean_terminated_length")]
    pub mean_terminated: f64,
    #[serde(rename = "completions/min_terminated_length")]
    pub min_terminated: usize,
    #[serde(rename = "completions/max_terminated_length")]
    pub max_terminated: usize,
    #[serde(rename = "completions/clipped_ratio")]
    pub truncated: f64,
}

impl CompletionStats {
    fn new(all: &[Rollout]) -> Self {
        let of = |lengths: Vec<usize>| {
            let n = lengths.len().max(1) as f64;
            let (min, max) = (lengths.iter().min().copied(), lengths.iter().max().copied());
            (lengths.iter().sum::<usize>() as f64 / n, min.unwrap_or(0), max.unwrap_or(0))
        };
        let (mean, min, max) = of(all.iter().map(|r| r.ids.len()).collect());
        let ended: Vec<usize> =
            all.iter().filter(|r| r.finish != Finish::Length).map(|r| r.ids.len()).collect();
        let truncated = (all.len() - ended.len()) as f64 / all.len().max(1) as f64;
        let (mean_terminated, min_terminated, max_terminated) = of(ended);
        Self { mean, min, max, mean_terminated, min_terminated, max_terminated, truncated }
    }
}

/// Shares of importance ratios outside the bounds where that stops the gradient: of tokens, or of completions with the
/// sequence ratio. 0 for losses that do not clip; in `cispo` high is its bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct ClipStats {
    #[serde(rename = "clip_ratio/low_mean")]
    pub low_mean: f64,
    /// Of the completion with the smallest share.
    #[serde(rename = "clip_ratio/low_min")]
    pub low_min: f64,
    #[serde(rename = "clip_ratio/high_mean")]
    pub high_mean: f64,
    /// Of the completion with the largest share.
    #[serde(rename = "clip_ratio/high_max")]
    pub high_max: f64,
    #[serde(rename = "clip_ratio/region_mean")]
    pub region_mean: f64,
}

/// A number of the rewards that are one; NaN where there is none.
fn of_judged(rewards: &[f32], of: fn(&[f32]) -> f64) -> f64 {
    if rewards.iter().all(|r| r.is_nan()) { f64::NAN } else { of(rewards) }
}

/// What the updates of a step saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Averages over updates.
    pub(crate) loss: f64,
    pub(crate) grad_norm: f64,
    pub(crate) lr: f64,
    pub(crate) entropy_coef: Option<f64>,
    pub(crate) losses: LossStats,
    /// Passes over the completions.
    pub(crate) updates: usize,
    /// Updates of such a pass.
    pub(crate) minibatches: usize,
    /// Updates so far.
    pub(crate) made: usize,
    /// Before the first update.
    pub(crate) mismatch: Mismatch,
    /// Sum over the tokens that count and were not run, of minus their log-probability; and how many.
    pub(crate) not_run: (f64, usize),
    /// Importance ratios of completions that were not run, in one pass: none is clipped.
    pub(crate) ratios_not_run: f64,
}

impl Seen {
    /// Updates of a step.
    pub(crate) fn all(&self) -> usize {
        self.updates * self.minibatches
    }
}

impl GrpoStats {
    /// `elsewhere`: whether another program sampled.
    pub(crate) fn new(step: usize, scored: &Scored, seen: &Seen, elsewhere: bool) -> Self {
        let n = scored.all.len().max(1) as f64;
        let tokens: usize = scored.all.iter().map(|r| r.ids.len()).sum();
        let groups = scored.rewards().chunks(scored.group_size());
        let still = groups.clone().filter(|g| is_still(g)).count() as f64 / groups.len().max(1) as f64;
        let LossStats { clipped_low, clipped_high, .. } = seen.losses;
        let ratios = seen.losses.ratios + seen.ratios_not_run * seen.updates as f64;
        let ratio = |x: f64| if x.is_finite() { x } else { 1.0 };
        let updates = seen.updates.max(1) as f64;
        let run = seen.losses.tokens / updates;
        let completions = CompletionStats::new(&scored.all);
        let mut rewards = BTreeMap::new();
        for (at, name) in scored.table().names().iter().enumerate() {
            let values = scored.table().values(at);
            rewards.insert(format!("rewards/{name}/mean"), of_judged(values, mean));
            rewards.insert(format!("rewards/{name}/std"), of_judged(values, std));
        }
        Self {
            step,
            loss: seen.loss,
            lr: seen.lr,
            grad_norm: seen.grad_norm,
            reward: of_judged(scored.rewards(), mean),
            reward_std: of_judged(scored.rewards(), std),
            frac_reward_zero_std: still,
            unjudged: scored.rewards().iter().filter(|r| r.is_nan()).count() as f64 / n,
            length: tokens as f64 / n,
            kl: seen.losses.kl / seen.losses.tokens.max(1.0),
            entropy: (seen.losses.entropy / updates + seen.not_run.0)
                / (run + seen.not_run.1 as f64).max(1.0),
            entropy_coef: seen.entropy_coef,
            ratio_min: ratio(seen.losses.ratio_min),
            ratio_max: ratio(seen.losses.ratio_max),
            tokens,
            sampler_gap_mean: seen.mismatch.gap / seen.mismatch.tokens.max(1.0),
            sampler_gap: seen.mismatch.gap_max,
            sampler: elsewhere.then(|| SamplerStats::new(step, &scored.all, &seen.mismatch)),
            generations: scored.generations,
            groups_left_out: scored.used.iter().filter(|used| !**used).count(),
            truncated: completions.truncated,
            completions,
            clip: ClipStats {
                low_mean: clipped_low / ratios.max(1.0),
                low_min: if seen.losses.ratios > 0.0 { seen.losses.clipped_low_min } else { 0.0 },
                high_mean: clipped_high / ratios.max(1.0),
                high_max: seen.losses.clipped_high_max,
                region_mean: (clipped_low + clipped_high) / ratios.max(1.0),
            },
            rewards,
        }
    }
}
