//! What a pass saw: clip counts, ratios, divergence.

use burn::tensor::Tensor;

use super::{LossConfig, LossInputs};
use crate::LossKind;

/// Loss diagnostics, as sums and extremes, so that micro-batches add.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossStats {
    /// What the clip counts are out of: tokens, or sequences for [`Ratio::Sequence`](crate::Ratio::Sequence).
    pub ratios: f64,
    /// Ratios below the lower bound where the advantage is negative.
    pub clipped_low: f64,
    /// Ratios above the upper bound where the advantage is positive.
    pub clipped_high: f64,
    /// The smallest share of a completion's ratios that were clipped from below.
    pub clipped_low_min: f64,
    /// The largest share of a completion's ratios that were clipped from above.
    pub clipped_high_max: f64,
    /// The smallest ratio.
    pub ratio_min: f64,
    /// The largest ratio.
    pub ratio_max: f64,
    /// Tokens that count.
    pub tokens: f64,
    /// Sum over those of the KL term; 0 without a reference.
    pub kl: f64,
    /// Sum over those of the entropy; 0 where it was not given.
    pub entropy: f64,
}

impl Default for LossStats {
    fn default() -> Self {
        Self {
            ratios: 0.0,
            clipped_low: 0.0,
            clipped_high: 0.0,
            clipped_low_min: f64::INFINITY,
            clipped_high_max: 0.0,
            ratio_min: f64::INFINITY,
            ratio_max: f64::NEG_INFINITY,
            tokens: 0.0,
            kl: 0.0,
            entropy: 0.0,
        }
    }
}

impl From<LossStats> for [f64; 10] {
    fn from(s: LossStats) -> Self {
        let (low, high) = (s.clipped_low, s.clipped_high);
        let (low_min, high_max) = (s.clipped_low_min, s.clipped_high_max);
        [s.ratios, low, high, low_min, high_max, s.ratio_min, s.ratio_max, s.tokens, s.kl, s.entropy]
    }
}

impl From<[f64; 10]> for LossStats {
    fn from(numbers: [f64; 10]) -> Self {
        let [ratios, clipped_low, clipped_high, clipped_low_min, clipped_high_max, ..] = numbers;
        let [.., ratio_min, ratio_max, tokens, kl, entropy] = numbers;
        Self {
            ratios,
            clipped_low,
            clipped_high,
            clipped_low_min,
            clipped_high_max,
            ratio_min,
            ratio_max,
            tokens,
            kl,
            entropy,
        }
    }
}

impl LossStats {
    /// Adds another part's.
    pub fn add(&mut self, other: &Self) {
        self.ratios += other.ratios;
        self.clipped_low += other.clipped_low;
        self.clipped_high += other.clipped_high;
        self.clipped_low_min = self.clipped_low_min.min(other.clipped_low_min);
        self.clipped_high_max = self.clipped_high_max.max(other.clipped_high_max);
        self.ratio_min = self.ratio_min.min(other.ratio_min);
        self.ratio_max = self.ratio_max.max(other.ratio_max);
        self.tokens += other.tokens;
        self.kl += other.kl;
        self.entropy += other.entropy;
    }
}

pub(super) fn host<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.clone().inner().into_data().iter::<f64>().collect()
}

/// Statistics of `ratio`, bounded, and of the KL term.
pub(super) fn seen(
    ratio: &Tensor<2>,
    kl: Option<&Tensor<2>>,
    inputs: &LossInputs,
    how: &LossConfig,
) -> LossStats {
    let [_, seq] = inputs.mask.dims();
    let (ratio, a, mask) = (host(ratio), host(&inputs.advantages), host(&inputs.mask));
    let per_row = ratio.len() / a.len().max(1);
    // In f32, as the loss compares.
    let bound = |x: f64| f64::from(x as f32);
    let (lower, upper) = match how.kind {
        LossKind::Cispo => (f64::NEG_INFINITY, bound(how.epsilon_high)),
        LossKind::Sapo | LossKind::Vespo => (f64::NEG_INFINITY, f64::INFINITY),
        _ => (bound(1.0 - how.epsilon), bound(1.0 + how.epsilon_high)),
    };
    let masked = |x: &Tensor<2>| host(x).iter().zip(&mask).map(|(x, m)| x * m).sum();
    let mut stats = LossStats {
        tokens: mask.iter().sum(),
        kl: kl.map_or(0.0, masked),
        entropy: inputs.entropy.as_ref().map_or(0.0, masked),
        ..LossStats::default()
    };
    for ((row, &a), mask) in ratio.chunks(per_row.max(1)).zip(&a).zip(mask.chunks(seq.max(1))) {
        let counted = |at: usize| per_row != seq || mask[at] > 0.0;
        let row: Vec<f64> = row.iter().enumerate().filter(|(at, _)| counted(*at)).map(|(_, &r)| r).collect();
        if row.is_empty() {
            continue;
        }
        let count = |clipped: &dyn Fn(f64) -> bool| row.iter().filter(|&&r| clipped(r)).count() as f64;
        let (low, high) = (count(&|r| r < lower && a < 0.0), count(&|r| r > upper && a > 0.0));
        let n = row.len() as f64;
        stats.add(&LossStats {
            ratios: n,
            clipped_low: low,
            clipped_high: high,
            clipped_low_min: low / n,
            clipped_high_max: high / n,
            ratio_min: row.iter().copied().fold(f64::INFINITY, f64::min),
            ratio_max: row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ..LossStats::default()
        });
    }
    stats
}
