//! Optimiser steps on one checkpoint, timed inside the process: one JSON line with the fields of the peers' scripts.
//! `tools/peers/training.sh` runs it in turn with them.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use benches::{cpu, median, peak, tokens};
use burn::tensor::Device;
use clap::{Args, Parser};
use model_qwen::{Adapter, Checkpoint, Dtype, LoraConfig, Qwen, Targets};
use posttrain::TrainerConfig;
use posttrain_grpo::{Grpo, GrpoConfig, Rollout};
use posttrain_sft::{Example, Sft, SftConfig};
use serde_json::json;

/// The allocator of `sparks`; run with its setting, MIMALLOC_PURGE_DELAY=-1.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
enum Task {
    /// A step of SFT on `batch` rows of `seq` tokens.
    Sft {
        #[command(flatten)]
        model: Model,
        #[arg(long, default_value_t = 1)]
        batch: usize,
        #[arg(long, default_value_t = 128)]
        seq: usize,
    },
    /// A step of GRPO: `completions` of `new` tokens after one prompt of `prompt`, rewards, an update.
    Grpo {
        #[command(flatten)]
        model: Model,
        #[arg(long, default_value_t = 8)]
        completions: usize,
        #[arg(long, default_value_t = 64)]
        new: usize,
        #[arg(long, default_value_t = 32)]
        prompt: usize,
        /// Weight of the KL term.
        #[arg(long, default_value_t = 0.0)]
        beta: f64,
    },
}

#[derive(Args)]
struct Model {
    /// A checkpoint folder.
    folder: PathBuf,
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// Rank of a LoRA adapter beside every projection; 0 trains all weights.
    #[arg(long, default_value_t = 0)]
    rank: usize,
    /// Run blocks again in the backward pass.
    #[arg(long)]
    recompute: bool,
    /// Timed steps, after one that is not.
    #[arg(long, default_value_t = 3)]
    reps: usize,
}

impl Model {
    fn load(&self) -> Result<Qwen, Box<dyn Error>> {
        let model = Checkpoint::open(&self.folder)?.load(self.dtype, &Device::flex())?;
        if self.rank == 0 {
            return Ok(model);
        }
        let alpha = 2.0 * self.rank as f64;
        let config = LoraConfig { targets: Targets::AllLinear, ..LoraConfig::new(self.rank, alpha, &[]) };
        Ok(Adapter::new(config, &model, 0)?.attach(&model)?)
    }

    fn trainer(&self, rows: usize) -> TrainerConfig {
        let mut trainer = TrainerConfig::default();
        (trainer.train.steps, trainer.train.batch_size) = (Some(self.reps + 1), rows);
        (trainer.train.recompute, trainer.optimizer.lr) = (self.recompute, 1e-5);
        trainer
    }

    /// Makes a step, then `reps` timed ones, and prints the medians.
    fn time(
        &self,
        task: &str,
        mut step: impl FnMut() -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        step()?;
        let (mut wall, mut busy) = (Vec::new(), Vec::new());
        for _ in 0..self.reps {
            let (start, before) = (Instant::now(), cpu());
            step()?;
            wall.push(start.elapsed().as_secs_f64());
            busy.push(cpu() - before);
        }
        let line = json!({
            "task": task, "dtype": self.dtype.name(), "rank": self.rank, "recompute": self.recompute,
            "median_s": median(wall), "cpu_median_s": median(busy), "peak_rss_mb": peak(),
        });
        println!("{line}");
        Ok(())
    }
}

fn main() -> Result<(), String> {
    // Inside the pool, as in `sparks`: a thread that is not of it would sleep and wake at every product.
    rayon::scope(|_| run().map_err(|e| e.to_string()))
}

fn run() -> Result<(), Box<dyn Error>> {
    match Task::parse() {
        Task::Sft { model, batch, seq } => {
            let mut config = SftConfig { trainer: model.trainer(batch), ..SftConfig::default() };
            config.trainer.optimizer.weight_decay = 0.01;
            let rows: Vec<Example> =
                (0..batch).map(|i| Example::new(i.to_string(), tokens(seq, i as u32), 1)).collect();
            let mut sft = Sft::new(model.load()?, &config, batch)?;
            model.time("sft", || Ok(sft.step(&rows).map(drop)?))
        }
        Task::Grpo { model, completions, new, prompt, beta } => {
            let trainer = model.trainer(completions);
            let (group_size, prompts, max_tokens) = (completions, 1, new);
            let config =
                GrpoConfig { trainer, group_size, prompts, max_tokens, beta, ..GrpoConfig::default() };
            let mut grpo = Grpo::new(model.load()?, Vec::new(), &config, 1)?;
            let prompt = [tokens(prompt, 0)];
            // As the peer's script: from the number of different tokens, so that rewards differ.
            let reward = |r: &Rollout| (r.ids.iter().collect::<BTreeSet<_>>().len() % 7) as f32 / 7.0;
            model.time("grpo", || {
                let scored = grpo.sample(&prompt)?.score(reward)?;
                Ok(grpo.step(&scored).map(drop)?)
            })
        }
    }
}
