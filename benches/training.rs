//! Optimiser steps of SFT on one checkpoint, timed inside the process: one JSON line with the fields of the peers'
//! scripts. `tools/peers/sft_speed.sh` runs it in turn with them.
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use benches::{cpu, median, peak, tokens};
use burn::tensor::Device;
use clap::Parser;
use model_qwen::{Adapter, Checkpoint, Dtype, LoraConfig, Targets};
use posttrain_sft::{Example, Sft, SftConfig};
use serde_json::json;

/// The allocator of `sparks`; run with its setting, MIMALLOC_PURGE_DELAY=-1.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// A checkpoint folder.
    model: PathBuf,
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 128)]
    seq: usize,
    /// Rank of a LoRA adapter beside every projection; 0 trains all weights.
    #[arg(long, default_value_t = 0)]
    rank: usize,
    /// Run blocks again in the backward pass.
    #[arg(long)]
    recompute: bool,
    #[arg(long, default_value_t = 3)]
    reps: usize,
}

fn main() -> Result<(), String> {
    // Inside the pool, as in `sparks`: a thread that is not of it would sleep and wake at every product.
    rayon::scope(|_| run().map_err(|e| e.to_string()))
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut model = Checkpoint::open(&args.model)?.load(args.dtype, &Device::flex())?;
    if args.rank > 0 {
        let alpha = 2.0 * args.rank as f64;
        let config = LoraConfig { targets: Targets::AllLinear, ..LoraConfig::new(args.rank, alpha, &[]) };
        model = Adapter::new(config, &model, 0)?.attach(&model)?;
    }
    let mut config = SftConfig::default();
    let trainer = &mut config.trainer;
    (trainer.train.steps, trainer.train.batch_size) = (Some(args.reps + 1), args.batch);
    (trainer.train.recompute, trainer.optimizer.lr) = (args.recompute, 1e-5);
    trainer.optimizer.weight_decay = 0.01;
    let rows: Vec<Example> =
        (0..args.batch).map(|i| Example::new(i.to_string(), tokens(args.seq, i as u32), 1)).collect();
    let mut sft = Sft::new(model, &config, args.batch)?;
    sft.step(&rows)?;
    let (mut wall, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..args.reps {
        let (start, before) = (Instant::now(), cpu());
        sft.step(&rows)?;
        wall.push(start.elapsed().as_secs_f64());
        busy.push(cpu() - before);
    }
    let line = json!({
        "task": "sft", "dtype": args.dtype.name(), "batch": args.batch, "seq": args.seq, "rank": args.rank,
        "recompute": args.recompute, "median_s": median(wall), "cpu_median_s": median(busy), "peak_rss_mb": peak(),
    });
    println!("{line}");
    Ok(())
}
