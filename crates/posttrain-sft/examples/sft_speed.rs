//! Steps a second on the demo's shape: 4 layers, width 128. Not a benchmark to gate on.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use burn::tensor::Device;
use model_qwen::Config as ModelConfig;
use posttrain_sft::{Example, Sft, SftConfig};

fn main() {
    let text = r#"{"architectures":["Qwen2ForCausalLM"],"num_hidden_layers":4,"hidden_size":128,
        "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":384,"vocab_size":160,
        "tie_word_embeddings":true}"#;
    let model = model_qwen::random(ModelConfig::parse(text).unwrap(), 1, &Device::flex());
    println!("{} parameters", model.config.n_params());
    let arg =
        |n: usize, default: usize| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (rows, tokens) = (arg(1, 64), arg(2, 40));
    let mut config = SftConfig::default();
    (config.trainer.train.batch_size, config.trainer.train.steps) = (rows, Some(1000));
    config.trainer.optimizer.lr = 1e-3;
    let mut sft = Sft::new(model, &config, rows).unwrap();
    let row = |i: u32| (0..tokens as u32).map(|t| (i * 7 + t * 3) % 160).collect();
    let batch: Vec<Example> = (0..rows as u32).map(|i| Example::new(i.to_string(), row(i), 16)).collect();
    for _ in 0..4 {
        let start = Instant::now();
        let steps = 10;
        let stats = (0..steps).map(|_| sft.step(&batch).unwrap()).last().unwrap();
        println!(
            "{:.1} ms a step, loss {:.4}",
            start.elapsed().as_secs_f64() * 1e3 / f64::from(steps),
            stats.loss
        );
    }
}
