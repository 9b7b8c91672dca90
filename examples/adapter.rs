//! A LoRA adapter beside a checkpoint: made, given some factors, written in PEFT's format, and the merged model
//! written in shards: `adapter MODEL OUT_ADAPTER OUT_MERGED`.
//!
//! The factors are random and no training made them: this shows the parts, and `tools/oracles/check_saved.py`
//! asks PEFT and transformers whether they read what was written.

use std::error::Error;
use std::path::Path;

use burn::tensor::{Device, Distribution};
use model_qwen::{Adapter, Checkpoint, Dtype, LoraConfig, Param, save_sharded};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, adapter_dir, merged_dir] = &args[..] else {
        return Err("MODEL OUT_ADAPTER OUT_MERGED".into());
    };
    let checkpoint = Checkpoint::open(Path::new(model))?;
    let base = checkpoint.load(Dtype::F32, &Device::flex())?;
    let mut config = LoraConfig::new(4, 8.0, &["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]);
    config.rslora = true;
    config.rank_pattern = vec![("layers.1.mlp.down_proj".to_owned(), 2)];
    let mut attached = Adapter::new(config.clone(), &base, 0)?.attach(&base)?;
    for (name, param) in attached.adapter_params() {
        if let (Param::Matrix(w), true) = (param, name.ends_with("lora_B.weight")) {
            *w = w.random_like(Distribution::Normal(0.0, 0.02));
        }
    }
    let adapter = Adapter::of(config, &attached);
    adapter.save(Path::new(adapter_dir))?;
    // A hundred megabytes a file here; `save` has 5 GB.
    save_sharded(
        &adapter.merge(&base)?,
        Path::new(merged_dir),
        Dtype::F32,
        Some(checkpoint.dir()),
        100_000_000,
    )?;
    Ok(())
}
