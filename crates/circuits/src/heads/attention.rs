//! Attention entropy of each head.
//!
//! For a query at position t, which sees t + 1 keys, `H = −Σ_k p_k ln p_k` in nats, from 0 (one key) to
//! `ln(t + 1)` (all alike). The first position sees itself alone and is left out. Under a sliding window the
//! normalised form still divides by `ln(t + 1)`, and so stays below 1.

use burn::tensor::Tensor;
use hooks::{Batch, HeadMap, Heads, Hook, HookedModel, Pairs, Rows, Site};
use serde::Serialize;

use crate::Error;

/// A head's attention entropy, the mean over every position but the first of every clean prompt.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct AttentionEntropy {
    /// In nats.
    pub entropy: f64,
    /// Each position's entropy over the largest that it can have, `ln(t + 1)`: 0 to 1.
    pub normalised: f64,
}

/// Measures every head on the clean prompts of `pairs`: one run a pair, and no memory beyond a layer's
/// patterns.
///
/// # Errors
/// Prompts of one token only, which have no second position.
pub fn attention_entropy(model: &dyn HookedModel, pairs: &Pairs) -> Result<HeadMap<AttentionEntropy>, Error> {
    let mut sums = Sums { sums: HeadMap::filled(model.wiring(), AttentionEntropy::default()) };
    let mut n = 0;
    for pair in pairs {
        let batch = Batch::new(std::slice::from_ref(&pair.clean))?.rows(Rows::Last);
        let _ = model.run(&batch, &mut sums);
        n += pair.clean.len() - 1;
    }
    if n == 0 {
        return Err(Error::input(
            "attention entropy: every prompt has one token, expected at least two in one",
        ));
    }
    let mut means = sums.sums;
    for head in model.wiring().heads() {
        let mean = means.get_mut(head);
        mean.entropy /= n as f64;
        mean.normalised /= n as f64;
    }
    Ok(means)
}

struct Sums {
    sums: HeadMap<AttentionEntropy>,
}

impl Hook for Sums {
    fn wants(&self, site: Site) -> bool {
        matches!(site, Site::Heads(Heads::Pattern(_)))
    }

    fn on_heads(&mut self, site: Heads, pattern: Tensor<4>) -> Tensor<4> {
        let Heads::Pattern(layer) = site else { return pattern };
        let [_, n_heads, seq, _] = pattern.dims();
        // p ln p is 0 at 0; the smallest normal f32 keeps its logarithm finite and changes no other p.
        let p = pattern.clone().inner();
        let terms = p.clone() * p.clamp_min(f32::MIN_POSITIVE).log();
        let by_position: Vec<f32> = (-terms.sum_dim(3)).into_data().try_to_vec().expect("entropies in f32");
        for (head, entropies) in by_position.chunks(seq).enumerate().take(n_heads) {
            let sum = self.sums.get_mut(hooks::Head { layer, head });
            for (t, &entropy) in entropies.iter().enumerate().skip(1) {
                sum.entropy += f64::from(entropy);
                sum.normalised += f64::from(entropy) / ((t + 1) as f64).ln();
            }
        }
        pattern
    }
}
