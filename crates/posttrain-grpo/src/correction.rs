//! The mismatch between a sampler that is another program and the trainer: what a completion's policy term is weighted
//! by.

use serde::{Deserialize, Serialize};

/// Completions that another program samples: `[rollouts]` of a run file.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RolloutConfig {
    /// For completions of the weights that are trained. Others are used with the sampler's log-probabilities as the old
    /// ones, which the ratio corrects by itself (TRL's `AsyncGRPOTrainer`).
    pub correction: Correction,
    /// Steps that the weights which sampled a completion may lie behind those that are trained on it.
    pub staleness: usize,
}

/// Weights from the ratio `exp(trainer - sampler)` of log-probabilities, which multiply the policy's term and not the KL
/// term (TRL 1.16, `vllm_importance_sampling_mode`, `_clip_min`, `_clip_max`; Yao et al. 2025).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// Ratios of what, and what becomes of large ones.
    pub kind: CorrectionKind,
    /// The lower bound; 0 is none.
    pub clip_min: f64,
    /// The upper bound; infinity is none.
    pub clip_max: f64,
}

impl Default for Correction {
    fn default() -> Self {
        Self { kind: CorrectionKind::default(), clip_min: 0.0, clip_max: 3.0 }
    }
}

/// What a ratio is of, and what happens outside the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrectionKind {
    /// Every weight is 1.
    None,
    /// Of a token, clipped.
    TokenTruncate,
    /// Of a token; 0 outside the bounds.
    TokenMask,
    /// Of a completion, the product over its tokens, clipped.
    SequenceTruncate,
    /// Of a completion; 0 outside the bounds.
    #[default]
    SequenceMask,
}

impl CorrectionKind {
    /// Whether a completion has one ratio.
    pub fn is_of_sequences(self) -> bool {
        matches!(self, Self::SequenceTruncate | Self::SequenceMask)
    }
}

impl Correction {
    /// The weight of each token of one completion, from its log-probabilities. A token for which the sampler gave none
    /// (NaN) has ratio 1.
    pub fn weights(&self, trainer: &[f32], sampler: &[f32]) -> Vec<f32> {
        let difference = |(t, s): (&f32, &f32)| if (t - s).is_nan() { 0.0 } else { t - s };
        let differences = trainer.iter().zip(sampler).map(difference);
        let bounds = self.clip_min as f32..=self.clip_max as f32;
        let bounded = |ratio: f32| match self.kind {
            CorrectionKind::None => 1.0,
            CorrectionKind::TokenTruncate | CorrectionKind::SequenceTruncate => {
                ratio.clamp(*bounds.start(), *bounds.end())
            }
            CorrectionKind::TokenMask | CorrectionKind::SequenceMask if bounds.contains(&ratio) => ratio,
            CorrectionKind::TokenMask | CorrectionKind::SequenceMask => 0.0,
        };
        match self.kind.is_of_sequences() {
            true => vec![bounded(differences.sum::<f32>().exp()); trainer.len()],
            false => differences.map(|d| bounded(d.exp())).collect(),
        }
    }
}

/// How far sampler and trainer are apart in the first update: sums and extremes, so that passes add.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mismatch {
    /// Sum, maximum and number of the differences of log-probabilities.
    pub(crate) gap: f64,
    pub(crate) gap_max: f64,
    pub(crate) tokens: f64,
    /// Of the weights of fresh completions: one a token, or one a completion.
    pub(crate) weight: f64,
    pub(crate) weight_min: f64,
    pub(crate) weight_max: f64,
    pub(crate) weights: f64,
}

impl Default for Mismatch {
    fn default() -> Self {
        let (weight_min, weight_max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { gap: 0.0, gap_max: 0.0, tokens: 0.0, weight: 0.0, weight_min, weight_max, weights: 0.0 }
    }
}

impl Mismatch {
    pub(crate) fn add_gaps(&mut self, trainer: &[f32], sampler: &[f32]) {
        let gaps = trainer.iter().zip(sampler).map(|(t, s)| f64::from((t - s).abs()));
        for gap in gaps.filter(|gap| !gap.is_nan()) {
            (self.gap, self.gap_max, self.tokens) =
                (self.gap + gap, self.gap_max.max(gap), self.tokens + 1.0);
        }
    }

    pub(crate) fn add_weights(&mut self, weights: &[f32]) {
        for weight in weights.iter().map(|&w| f64::from(w)) {
            self.weight += weight;
            self.weight_min = self.weight_min.min(weight);
            self.weight_max = self.weight_max.max(weight);
            self.weights += 1.0;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.gap += other.gap;
        self.gap_max = self.gap_max.max(other.gap_max);
        self.tokens += other.tokens;
        self.weight += other.weight;
        self.weight_min = self.weight_min.min(other.weight_min);
        self.weight_max = self.weight_max.max(other.weight_max);
        self.weights += other.weights;
    }
}

impl From<Mismatch> for [f64; 7] {
    fn from(m: Mismatch) -> Self {
        [m.gap, m.gap_max, m.tokens, m.weight, m.weight_min, m.weight_max, m.weights]
    }
}

impl From<[f64; 7]> for Mismatch {
    fn from([gap, gap_max, tokens, weight, weight_min, weight_max, weights]: [f64; 7]) -> Self {
        Self { gap, gap_max, tokens, weight, weight_min, weight_max, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_clipped_or_masked_by_token_or_completion() {
        let of = |kind, clip_min, clip_max| {
            let (two, half) = (2f32.ln(), 0.5f32.ln());
            let weights = Correction { kind, clip_min, clip_max }
                .weights(&[-1.0 + two, -1.0 + half, -1.0 + two, -1.0], &[-1.0, -1.0, -1.0, f32::NAN]);
            weights.iter().map(|w| (w * 1e4).round() / 1e4).collect::<Vec<f32>>()
        };
        use CorrectionKind::{None, SequenceMask, SequenceTruncate, TokenMask, TokenTruncate};
        assert_eq!(of(None, 0.0, 1.0), [1.0; 4]);
        assert_eq!(of(TokenTruncate, 0.6, 1.5), [1.5, 0.6, 1.5, 1.0]);
        assert_eq!(of(TokenMask, 0.0, 1.5), [0.0, 0.5, 0.0, 1.0]);
        assert_eq!(of(SequenceTruncate, 0.0, 1.5), [1.5; 4]);
        assert_eq!(of(SequenceTruncate, 0.0, f64::INFINITY), [2.0; 4]);
        assert_eq!(of(SequenceMask, 0.0, 1.5), [0.0; 4]);
        assert_eq!(of(SequenceMask, 0.0, 3.0), [2.0; 4]);
    }
}
