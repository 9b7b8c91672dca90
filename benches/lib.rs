//! What the benches share: the demo shape with random weights, and a pair of prompts for it.
//!
//! Run them with `cargo bench -p benches`; whole-process comparisons with peers are `tools/peers`.

use burn::tensor::Device;
use hooks::{Pair, Target};
use model_qwen::{Config, Qwen};

/// Hidden 256, 8 layers, 8 heads over 2 key/value heads, vocabulary 2048: the peers' demo shape.
const DEMO: &str = r#"{
    "model_type": "qwen2", "hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 704, "vocab_size": 2048, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "tie_word_embeddings": true, "max_position_embeddings": 4096
}"#;

/// A model of the demo shape with random weights.
///
/// # Panics
/// Never: the configuration is fixed.
pub fn demo() -> Qwen {
    let config = Config::parse(DEMO).expect("a configuration that parses");
    model_qwen::random(config, 0, &Device::flex())
}

/// `n` token ids.
pub fn tokens(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97)) >> 7) % 2048)
        .collect()
}

/// A clean and a corrupt prompt of `n` tokens.
pub fn pair(n: usize) -> Pair {
    Pair {
        id: "bench".to_owned(),
        clean: tokens(n, 1),
        corrupt: tokens(n, 2),
        target: Target { answers: vec![5], distractors: vec![7] },
        earlier: Vec::new(),
    }
}
