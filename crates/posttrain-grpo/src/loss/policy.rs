//! The policy's term of each token, before the average.

use burn::tensor::Tensor;

use super::LossConfig;
use crate::LossKind;

/// What the terms are made of: `[completions, tokens]`, `a` `[completions, 1]`, the ratio either.
pub(super) struct Terms<'a> {
    pub(super) logp: &'a Tensor<2>,
    pub(super) ratio: &'a Tensor<2>,
    /// `logp - old`.
    pub(super) difference: &'a Tensor<2>,
    pub(super) a: &'a Tensor<2>,
    pub(super) mask: &'a Tensor<2>,
    /// Of another sampler's tokens.
    pub(super) weights: Option<&'a Tensor<2>>,
}

impl Terms<'_> {
    /// 0 for completions with a negative advantage from whose tokens the policy moved away by more than `threshold`
    /// a token, 1 for others, `[completions, tokens]` (DeepSeek-V3.2, off-policy sequence masking). `moved` is the policy's
    /// log-probability less the one it moved away from; NaN counts as 0.
    pub(super) fn near_or_good(&self, moved: &Tensor<2>, threshold: f64) -> Tensor<2> {
        let moved = moved.clone().detach();
        let moved = moved.clone().mask_fill(moved.is_nan(), 0.0);
        let moved = (moved * self.mask.clone()).sum_dim(1) * -1.0;
        let mean = moved / self.mask.clone().sum_dim(1).clamp_min(1.0);
        let near = mean.lower_equal_elem(threshold).float();
        let good = self.a.clone().greater_equal_elem(0.0).float();
        near.max_pair(good).expand(self.logp.dims())
    }
}

/// The terms, and the ratio after `delta` bounded it.
pub(super) fn per_token(terms: &Terms<'_>, how: &LossConfig) -> (Tensor<2>, Tensor<2>) {
    let Terms { logp, ratio, a, .. } = terms;
    let (ratio, a) = ((*ratio).clone(), (*a).clone());
    let weighted = |weight: Tensor<2>| (weight * a.clone()).expand(logp.dims()) * (*logp).clone() * -1.0;
    match how.kind {
        LossKind::Cispo => (weighted(ratio.clone().detach().clamp_max(how.epsilon_high)), ratio),
        LossKind::Vespo => (weighted(gamma(terms, how)), ratio),
        LossKind::Sapo => {
            let good = a.clone().greater_elem(0.0).float();
            let tau =
                good.clone() * how.sapo.temperature_pos + (good * -1.0 + 1.0) * how.sapo.temperature_neg;
            let gate = burn::tensor::activation::sigmoid((ratio.clone() - 1.0) * tau.clone());
            (gate * 4.0 / tau * a * -1.0, ratio)
        }
        LossKind::Grpo | LossKind::Bnpo | LossKind::DrGrpo | LossKind::Dapo | LossKind::Luspo => {
            let clipped = ratio.clone().clamp(1.0 - how.epsilon, 1.0 + how.epsilon_high);
            let bounded = how.delta.map_or(ratio.clone(), |delta| ratio.clamp_max(delta));
            ((bounded.clone() * a.clone()).min_pair(clipped * a) * -1.0, bounded)
        }
    }
}

/// VESPO's weight `e^λ W^k e^(-λ W)` of a sequence, a constant `[completions, 1]`, where W is the ratio of the whole
/// sequence; its logarithm is bounded as in TRL.
fn gamma(terms: &Terms<'_>, how: &LossConfig) -> Tensor<2> {
    let each = terms.difference.clone().detach().clamp(-20.0, 20.0) * terms.mask.clone();
    let mut log_w = each.sum_dim(1);
    if let Some(weights) = terms.weights {
        log_w = log_w + weights.clone().log().clamp(1e-8f64.ln(), 20.0).sum_dim(1);
    }
    let log_w = log_w.clamp(1e-8f64.ln(), 20.0);
    let good = terms.a.clone().greater_equal_elem(0.0).float();
    let bad = good.clone() * -1.0 + 1.0;
    let choose = |pos: f64, neg: f64| good.clone() * pos + bad.clone() * neg;
    let k = choose(how.vespo.k_pos, how.vespo.k_neg);
    let lambda = choose(how.vespo.lambda_pos, how.vespo.lambda_neg).clamp_min(1e-4);
    (lambda.clone() + k * log_w.clone() - lambda * log_w.exp()).exp()
}
