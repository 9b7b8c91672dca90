// What the examples of `src/lib.rs` share: names, and a tiny model of random weights. Not a test of its own.
#[allow(unused_imports)]
use {
    burn::tensor::{Device, Tensor},
    hooks::{Batch, Heads, Hook, Probe, Recorder, Site, Stream},
    model_qwen::{
        Checkpoint, Config, Dtype, Pass, Qwen, Request, Sampling, generate, random, save,
    },
};

fn tiny() -> Result<Qwen, model_qwen::Error> {
    let config = r#"{
        "architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 2, "hidden_size": 16, "vocab_size": 20,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24,
        "tie_word_embeddings": true, "initializer_range": 0.3
    }"#;
    Ok(random(Config::parse(config)?, 0, &Device::default()))
}
