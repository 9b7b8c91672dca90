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
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97)) >> 7) % 2047 + 1)
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

/// CPU seconds of the process' threads so far, to the nanosecond: `/proc/self/stat` counts hundredths of a second.
pub fn cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let nanoseconds = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Peak memory in megabytes.
pub fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// The median, the upper one of an even number.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
