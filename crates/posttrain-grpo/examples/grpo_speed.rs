//! Steps a second on the demo's shape: 4 layers, width 128. Run with `--release`; not a benchmark to gate on.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use burn::tensor::Device;
use model_qwen::Config as ModelConfig;
use posttrain_grpo::{Grpo, GrpoConfig};

fn main() {
    let text = r#"{"architectures":["Qwen2ForCausalLM"],"num_hidden_layers":4,"hidden_size":128,
        "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":384,"vocab_size":160,
        "tie_word_embeddings":true}"#;
    let model = model_qwen::random(ModelConfig::parse(text).unwrap(), 1, &Device::flex());
    println!("{} parameters", model.config.n_params());
    let arg =
        |n: usize, default: usize| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (group, prompts, tokens) = (arg(1, 8), arg(2, 16), arg(3, 40));
    let mut config = GrpoConfig { group_size: group, prompts, max_tokens: tokens, ..GrpoConfig::default() };
    (config.trainer.train.batch_size, config.trainer.train.steps) = (arg(4, 64), Some(100));
    let mut grpo = Grpo::new(model, vec![], &config, prompts).unwrap();
    let batch: Vec<Vec<u32>> =
        (0..prompts as u32).map(|i| (0..16).map(|t| (i * 7 + t * 3) % 160).collect()).collect();
    for _ in 0..5 {
        let start = Instant::now();
        let rollouts = grpo.sample(&batch).unwrap();
        let sampled = start.elapsed();
        let scored = rollouts.score(|r| (r.ids[0] % 2) as f32).unwrap();
        let stats = grpo.step(&scored).unwrap();
        println!("sample {sampled:.2?}, step {:.2?}, {} tokens", start.elapsed() - sampled, stats.tokens);
    }
}
