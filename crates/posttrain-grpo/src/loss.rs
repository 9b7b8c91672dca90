//! The loss as a function of log-probabilities: no model, no sampling.

use burn::tensor::Tensor;

use crate::{GrpoConfig, LossKind, Ratio};

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
    /// Weight of the KL term.
    pub beta: f64,
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
}

impl From<&GrpoConfig> for LossConfig {
    fn from(config: &GrpoConfig) -> Self {
        Self {
            kind: config.loss,
            ratio: config.ratio,
            epsilon: config.epsilon,
            epsilon_high: config.epsilon_high.unwrap_or(config.epsilon),
            delta: config.delta,
            beta: config.beta,
            kl_ratio: config.kl_ratio,
            max_tokens: config.max_tokens,
            whole: None,
        }
    }
}

/// Loss diagnostics, as sums, so that micro-batches add.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossStats {
    /// What the clip counts are out of: tokens, or sequences for [`Ratio::Sequence`].
    pub ratios: f64,
    /// Ratios below the lower bound where the advantage is negative.
    pub clipped_low: f64,
    /// Ratios above the upper bound where the advantage is positive.
    pub clipped_high: f64,
    /// The smallest ratio.
    pub ratio_min: f64,
    /// The largest ratio.
    pub ratio_max: f64,
    /// Tokens that count.
    pub tokens: f64,
    /// Sum over those of the KL term; 0 without a reference.
    pub kl: f64,
}

impl Default for LossStats {
    fn default() -> Self {
        let (ratio_min, ratio_max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { ratios: 0.0, clipped_low: 0.0, clipped_high: 0.0, ratio_min, ratio_max, tokens: 0.0, kl: 0.0 }
    }
}

impl LossStats {
    /// Adds another part's.
    pub fn add(&mut self, other: &Self) {
        self.ratios += other.ratios;
        self.clipped_low += other.clipped_low;
        self.clipped_high += other.clipped_high;
        self.ratio_min = self.ratio_min.min(other.ratio_min);
        self.ratio_max = self.ratio_max.max(other.ratio_max);
        self.tokens += other.tokens;
        self.kl += other.kl;
    }
}

/// The loss and its diagnostics (TRL 1.16, `GRPOTrainer._compute_loss`).
///
/// With `d = logp - old`, ratio `r = exp(d)` of a token, or of a sequence `exp(mean d)`, and advantage A:
/// `-min(min(r, delta) A, clip(r, 1 - eps, 1 + eps_high) A)`, or in CISPO `-sg(min(r, eps_high)) A logp`; plus
/// `beta (exp(ref - logp) - (ref - logp) - 1)`, the k3 estimate of KL(policy ‖ reference), times r where
/// `kl_ratio`. Then averaged as [`LossKind`] says.
///
/// # Shapes
/// `logp`, `old`, `reference`, `mask` `[completions, tokens]`, `advantages` `[completions]`; returns `[1]`. The mask is
/// 1 for tokens that count and 0 for others, whose log-probabilities must be finite. Without `old`
/// the ratio is exactly 1, with a gradient.
///
/// # Panics
/// If shapes differ, or `beta` is above 0 without a reference.
pub fn loss(
    logp: Tensor<2>,
    old: Option<Tensor<2>>,
    reference: Option<Tensor<2>>,
    advantages: Tensor<1>,
    mask: Tensor<2>,
    how: &LossConfig,
) -> (Tensor<1>, LossStats) {
    let [rows, seq] = logp.dims();
    assert!(mask.dims() == [rows, seq] && advantages.dims() == [rows], "one advantage and one mask a row");
    let lengths = mask.clone().sum_dim(1);
    let advantages: Tensor<2> = advantages.reshape([rows, 1]);

    let old = old.unwrap_or_else(|| logp.clone().detach());
    let difference = logp.clone() - like(old, &logp);
    let ratio = match how.ratio {
        Ratio::Token => difference.exp(),
        Ratio::Sequence => {
            let mean = (difference * like(mask.clone(), &logp)).sum_dim(1);
            (mean / like(lengths.clone().clamp_min(1.0), &logp)).exp()
        }
    };
    let a = like(advantages.clone(), &logp);
    let bounded = how.delta.map_or(ratio.clone(), |delta| ratio.clone().clamp_max(delta));
    let mut per_token = match how.kind {
        LossKind::Cispo => {
            let weight = ratio.clone().detach().clamp_max(how.epsilon_high);
            (weight * a).expand([rows, seq]) * logp.clone() * -1.0
        }
        _ => {
            let clipped = ratio.clone().clamp(1.0 - how.epsilon, 1.0 + how.epsilon_high);
            (bounded.clone() * a.clone()).min_pair(clipped * a) * -1.0
        }
    };
    let kl = (how.beta > 0.0).then(|| {
        let Some(reference) = reference else { panic!("beta above 0 needs a reference") };
        let away = like(reference, &logp) - logp.clone();
        let k3 = away.clone().exp() - away - 1.0;
        if how.kl_ratio { k3 * ratio.clone() } else { k3 }
    });
    if let Some(kl) = &kl {
        per_token = per_token + kl.clone() * how.beta;
    }

    let stats = seen(&bounded, kl.as_ref(), &advantages, &mask, how);
    let whole = how.whole.unwrap_or(Whole { sequences: rows as f64, tokens: stats.tokens });
    let masked = per_token.expand([rows, seq]) * like(mask, &logp);
    let loss = match how.kind {
        LossKind::Grpo => {
            let means = masked.sum_dim(1) / like(lengths.clamp_min(1.0), &logp);
            means.sum() / whole.sequences.max(1.0)
        }
        LossKind::Bnpo | LossKind::Dapo | LossKind::Cispo => masked.sum() / whole.tokens.max(1.0),
        LossKind::DrGrpo => masked.sum() / (whole.sequences.max(1.0) * how.max_tokens as f64),
    };
    (loss, stats)
}

/// A constant beside `logp`: tracked where that is, so that the two can meet in one operation.
fn like(constant: Tensor<2>, logp: &Tensor<2>) -> Tensor<2> {
    if logp.is_autodiff() { constant.inner().autodiff() } else { constant.inner() }
}

fn seen(
    ratio: &Tensor<2>,
    kl: Option<&Tensor<2>>,
    advantages: &Tensor<2>,
    mask: &Tensor<2>,
    how: &LossConfig,
) -> LossStats {
    let host = |x: &Tensor<2>| -> Vec<f64> { x.clone().inner().into_data().iter::<f64>().collect() };
    let (ratio, a, [_, seq]) = (host(ratio), host(advantages), mask.dims());
    let mask = host(mask);
    let per_row = ratio.len() / a.len().max(1);
    // In f32, as the loss compares.
    let upper = if how.kind == LossKind::Cispo { how.epsilon_high } else { 1.0 + how.epsilon_high };
    let (lower, upper) = (f64::from((1.0 - how.epsilon) as f32), f64::from(upper as f32));
    let mut stats = LossStats { tokens: mask.iter().sum(), ..LossStats::default() };
    for (at, &r) in ratio.iter().enumerate() {
        let row = at / per_row;
        let counts = if per_row == seq { mask[at] } else { 1.0 };
        if counts == 0.0 {
            continue;
        }
        stats.ratios += counts;
        stats.ratio_min = stats.ratio_min.min(r);
        stats.ratio_max = stats.ratio_max.max(r);
        stats.clipped_low += f64::from(how.kind != LossKind::Cispo && r < lower && a[row] < 0.0);
        stats.clipped_high += f64::from(r > upper && a[row] > 0.0);
    }
    stats.kl = kl.map_or(0.0, |kl| host(kl).iter().zip(&mask).map(|(k, m)| k * m).sum());
    stats
}
