//! What a training step holds at its peak, by formula: `docs/METHODS.md`, "Memory of a training step".

use model_qwen::{Config, Dtype};
use serde::Serialize;

use crate::log_probs::MAX_LOGITS;

/// Bytes of a number in f32.
const F32: u64 = 4;

/// One forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSize {
    /// Rows of the pass.
    pub rows: usize,
    /// Tokens of a row, padding included.
    pub seq: usize,
    /// Whether blocks are run again in the backward pass.
    pub recompute: bool,
}

/// The parameters of a model in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trained {
    /// How the weights are held.
    pub dtype: Dtype,
    /// Trained numbers.
    pub numbers: u64,
    /// Whether they are an adapter's, beside the weights.
    pub adapter: bool,
}

/// Bytes that a training step holds at its peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Weights as they are held.
    pub weights: u64,
    /// Weights of a frozen reference that shares none with the policy.
    pub reference: u64,
    /// Trained numbers in f32 beside the weights: an adapter's factors, or the masters of weights in 16 bits.
    pub beside: u64,
    /// The optimiser's two moments.
    pub moments: u64,
    /// Gradients of the trained numbers.
    pub gradients: u64,
    /// What the backward pass needs of the forward pass, and what it makes in one block.
    pub activations: u64,
    /// The logits of one chunk of positions, and the copy that a product makes of them.
    pub logits: u64,
}

impl Memory {
    /// The parts for training `trained` of a model with passes of one size.
    pub fn new(model: &Config, trained: Trained, pass: PassSize) -> Self {
        let beside = trained.adapter || trained.dtype != Dtype::F32;
        let tokens = (pass.rows * pass.seq) as u64;
        let layers = model.n_layers as u64;
        let block = block_floats(model);
        let again = (2 * model.d_model + model.d_mlp) as u64;
        let kept =
            if pass.recompute { (layers + 1) * model.d_model as u64 } else { layers * (block - again) };
        let chunk = (tokens * model.vocab as u64).min(MAX_LOGITS.max(model.vocab) as u64);
        Self {
            weights: model.n_params() * trained.dtype.bytes(),
            reference: 0,
            beside: if beside { F32 * trained.numbers } else { 0 },
            moments: 2 * F32 * trained.numbers,
            gradients: F32 * trained.numbers,
            // The block at hand: its activations once more, as their gradients, and where they are recomputed.
            activations: F32 * tokens * (kept + block * if pass.recompute { 2 } else { 1 }),
            logits: 2 * F32 * chunk,
        }
    }

    /// The same beside a frozen copy of the weights.
    #[must_use]
    pub fn with_reference(self) -> Self {
        Self { reference: self.weights, ..self }
    }

    /// The same for one of several ranks, which keeps the state of `owned` of the `trained` numbers, and the sum of their
    /// gradients beside the gradients of its group.
    #[must_use]
    pub fn shared(self, trained: Trained, owned: u64) -> Self {
        let beside = if trained.adapter || self.beside == 0 { self.beside } else { F32 * owned };
        Self { beside, moments: 2 * F32 * owned, gradients: self.gradients + F32 * owned, ..self }
    }

    /// The sum of the parts.
    pub fn peak(&self) -> u64 {
        let held = self.weights + self.reference + self.beside + self.moments;
        held + self.gradients + self.activations + self.logits
    }
}

/// Numbers of one token's pass through one block that its backward pass reads: the input of both norms and their
/// results, queries, keys and values, the heads' outputs, and gate, up and product of the neurons. The results of the
/// norms and the product are made again there and not kept.
fn block_floats(c: &Config) -> u64 {
    let (queries, keys) = (c.n_heads * c.d_head, c.n_kv_heads * c.d_head);
    (4 * c.d_model + 2 * queries + 2 * keys + 3 * c.d_mlp) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Qwen2.5-0.5B's shape, with the numbers counted by hand.
    #[test]
    fn parts_of_a_known_shape() {
        let text = r#"{"architectures":["Qwen2ForCausalLM"],"num_hidden_layers":24,"hidden_size":896,
            "num_attention_heads":14,"num_key_value_heads":2,"intermediate_size":4864,"vocab_size":151936,
            "tie_word_embeddings":true}"#;
        let model = Config::parse(text).unwrap();
        let all = Trained { dtype: Dtype::F32, numbers: model.n_params(), adapter: false };
        let pass = PassSize { rows: 1, seq: 128, recompute: false };
        let stored = Memory::new(&model, all, pass);
        assert_eq!(
            (stored.weights, stored.gradients, stored.moments),
            (1_976_131_072, 1_976_131_072, 3_952_262_144)
        );
        // A block: 20,224 numbers, of which 2 * 896 + 4,864 are made again.
        assert_eq!(stored.activations, 4 * 128 * (24 * 13_568 + 20_224));
        assert_eq!(stored.logits, 2 * 4 * 128 * 151_936);
        let again = Memory::new(&model, all, PassSize { recompute: true, ..pass });
        assert_eq!(again.activations, 4 * 128 * (25 * 896 + 2 * 20_224));
        let bf16 = Trained { dtype: Dtype::Bf16, ..all };
        let (quarter, n) = (model.n_params() / 4, model.n_params());
        let shared = Memory::new(&model, bf16, pass).shared(bf16, quarter);
        assert_eq!((shared.beside, shared.moments), (4 * quarter, 8 * quarter));
        assert_eq!((shared.weights, shared.gradients), (2 * n, 4 * (n + quarter)));
        let factors = Trained { dtype: Dtype::Bf16, numbers: 8_798_208, adapter: true };
        let lora = Memory::new(&model, factors, PassSize { seq: 512, ..pass });
        // 220 rows of logits are a chunk.
        assert_eq!((lora.weights, lora.beside, lora.logits), (988_065_536, 35_192_832, 8 << 25));
        assert_eq!(lora.shared(factors, 1_000).beside, lora.beside);
    }
}
