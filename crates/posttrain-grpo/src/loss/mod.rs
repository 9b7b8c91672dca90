//! The loss as a function of log-probabilities: no model, no sampling.

mod config;
mod policy;
mod stats;

use burn::tensor::Tensor;

pub use config::{LossConfig, Whole, entropy_threshold};
pub use stats::LossStats;

use crate::{KlEstimator, LossKind, Ratio};

/// What the loss of some completions is a function of; `[completions, tokens]` unless said otherwise.
#[derive(Debug, Clone)]
pub struct LossInputs {
    /// The policy's log-probabilities.
    pub logp: Tensor<2>,
    /// Those before the first update. Without them the ratio is exactly 1, with a gradient.
    pub old: Option<Tensor<2>>,
    /// The reference's; needed where `beta` is above 0.
    pub reference: Option<Tensor<2>>,
    /// Entropies of the policy's distributions in nats; needed where `top_entropy` or `entropy_coef` is used.
    pub entropy: Option<Tensor<2>>,
    /// One for each completion, `[completions]`.
    pub advantages: Tensor<1>,
    /// 1 for tokens that count and 0 for others, whose values must be finite.
    pub mask: Tensor<2>,
    /// Where the sampler is another program.
    pub sampler: Option<SamplerInputs>,
}

/// What another program sampled by, and what it counts for; `[completions, tokens]`.
#[derive(Debug, Clone)]
pub struct SamplerInputs {
    /// Its log-probabilities, NaN where it gave none: what [`LossConfig::off_policy`] compares with.
    pub logp: Tensor<2>,
    /// Factors of the policy's term ([`Correction::weights`](crate::Correction::weights)), 1 for tokens that do not count;
    /// [`LossKind::Vespo`] multiplies its W by them.
    pub weights: Tensor<2>,
}

/// The loss `[1]` and its diagnostics (TRL 1.16, `GRPOTrainer._compute_loss`).
///
/// With `d = logp - old`, ratio `r = exp(d)` of a token, or of a sequence `exp(mean d)`, and advantage A, the
/// loss of a token is that of [`LossKind`]; plus `beta` times an estimate of KL(policy ‖ reference)
/// ([`KlEstimator`]), times r where `kl_ratio`. Then averaged as [`LossKind`] says, less `entropy_coef` times the mean
/// entropy.
///
/// # Panics
/// If shapes differ, or the reference or the entropy is missing where it is needed.
pub fn loss(inputs: &LossInputs, how: &LossConfig) -> (Tensor<1>, LossStats) {
    let LossInputs { logp, mask, .. } = inputs;
    let [rows, seq] = logp.dims();
    let fits = mask.dims() == [rows, seq] && inputs.advantages.dims() == [rows];
    assert!(fits, "one advantage a row, one mask a token");
    let lengths = like(mask.clone().sum_dim(1), logp);
    let m = like(mask.clone(), logp);
    let a = like(inputs.advantages.clone().reshape([rows, 1]), logp);

    let old = inputs.old.clone().unwrap_or_else(|| logp.clone().detach());
    let difference = logp.clone() - like(old, logp);
    let ratio = match how.ratio {
        Ratio::Token => difference.clone().exp(),
        Ratio::Sequence => {
            let sum = (difference.clone() * m.clone()).sum_dim(1);
            (sum / lengths.clone().clamp_min(1.0)).exp()
        }
    };
    let constant = |x: &Tensor<2>| like(x.clone(), logp);
    let weights = inputs.sampler.as_ref().map(|sampler| constant(&sampler.weights));
    let terms = policy::Terms {
        logp,
        ratio: &ratio,
        difference: &difference,
        a: &a,
        mask: &m,
        weights: weights.as_ref(),
    };
    let (per_token, bounded) = policy::per_token(&terms, how);
    let mut per_token = per_token.expand([rows, seq]);
    if let Some(threshold) = how.off_policy {
        let moved = match &inputs.sampler {
            Some(sampler) => logp.clone() - constant(&sampler.logp),
            None => difference.clone(),
        };
        per_token = per_token * terms.near_or_good(&moved, threshold);
    }
    let kept = how.entropy_floor.map(|floor| {
        let entropy = inputs.entropy.clone().expect("a floor under entropies needs entropies").inner();
        let above = (entropy * mask.clone().inner()).greater_equal_elem(floor).float();
        like(above, logp) * m.clone()
    });
    if let Some(kept) = &kept {
        per_token = per_token * kept.clone();
    }
    if let Some(weights) = weights.as_ref().filter(|_| how.kind != LossKind::Vespo) {
        per_token = per_token * weights.clone();
    }
    let kl = (how.beta > 0.0).then(|| {
        let reference = inputs.reference.clone().expect("beta above 0 needs a reference");
        let kl = divergence(how.kl, like(reference, logp) - logp.clone());
        if how.kl_ratio { kl * ratio.clone() } else { kl }
    });
    if let Some(kl) = &kl {
        per_token = per_token + kl.clone() * how.beta;
    }

    let stats = stats::seen(&bounded, kl.as_ref(), inputs, how);
    let whole = how.whole.unwrap_or(Whole {
        sequences: rows as f64,
        tokens: stats.tokens,
        kept: kept.as_ref().map_or(stats.tokens, |kept| stats::host(kept).iter().sum()),
    });
    let masked = per_token * m.clone();
    let mut loss = match how.kind {
        LossKind::Grpo | LossKind::Sapo => {
            (masked.sum_dim(1) / lengths.clamp_min(1.0)).sum() / or_one(whole.sequences)
        }
        LossKind::Bnpo | LossKind::Dapo | LossKind::Cispo | LossKind::Vespo => {
            masked.sum() / or_one(whole.tokens)
        }
        LossKind::DrGrpo => masked.sum() / (or_one(whole.sequences) * how.max_tokens as f64),
        LossKind::Luspo => masked.sum() / or_one(whole.sequences),
    };
    if how.entropy_coef != 0.0 {
        let entropy = inputs.entropy.clone().expect("an entropy bonus needs entropies");
        let entropy = if entropy.is_autodiff() { entropy } else { like(entropy, logp) };
        let mean = (entropy * kept.unwrap_or(m)).sum() / or_one(whole.kept);
        loss = loss - mean * how.entropy_coef;
    }
    (loss, stats)
}

/// A divisor that may count nothing.
fn or_one(count: f64) -> f64 {
    if count > 0.0 { count } else { 1.0 }
}

/// An estimate of KL(policy ‖ reference) by `away = reference - logp` of sampled tokens (Schulman 2020).
fn divergence(kind: KlEstimator, away: Tensor<2>) -> Tensor<2> {
    match kind {
        KlEstimator::K1 => away * -1.0,
        KlEstimator::K2 => away.clone() * away * 0.5,
        KlEstimator::K3 => away.clone().exp() - away - 1.0,
    }
}

/// A constant beside `logp`: tracked where that is, so that the two can meet in one operation.
fn like(constant: Tensor<2>, logp: &Tensor<2>) -> Tensor<2> {
    if logp.is_autodiff() { constant.inner().autodiff() } else { constant.inner() }
}
