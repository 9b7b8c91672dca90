//! Trains the base model that the demo starts from, from random weights on problems that the project
//! generates: `cargo run -p examples --example train_base_model -- OUT_DIR [STEPS]`.
//!
//! Every 250 steps it writes what it has into `OUT_DIR/step-N`. The weights in `crates/toy/assets` are `step-2750`
//! of the default number of steps, where that run was stopped.

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use model_qwen::{Dtype, Text, random, save};
use posttrain::config::{Kind, OptimizerConfig, ScheduleConfig, TrainConfig};
use posttrain_sft::{Encoder, Example, Sft, SftConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let out = PathBuf::from(args.next().ok_or("usage: train_base_model OUT_DIR [STEPS]")?);
    let steps: usize = args.next().as_deref().unwrap_or("3000").parse()?;
    let files = out.with_extension("files");
    toy::write_model_files(&files)?;
    let encoder = Encoder::new(Text::open(&files.join("tokenizer.json"))?, None);
    let mut config = SftConfig::default();
    let trainer = &mut config.trainer;
    trainer.train = TrainConfig { steps: Some(steps), batch_size: 32, accumulation: 2, ..Default::default() };
    trainer.optimizer =
        OptimizerConfig { lr: 3e-3, betas: [0.9, 0.98], weight_decay: 0.05, ..Default::default() };
    trainer.schedule =
        ScheduleConfig { kind: Kind::Cosine, warmup_steps: 100, min_lr_ratio: 0.05, ..Default::default() };
    let mut sft = Sft::new(random(toy::config()?, 0, &Device::flex()), &config, 1)?;
    let mut corpus = toy::pretraining_corpus(0);
    let started = std::time::Instant::now();
    while !sft.is_done() {
        let lines = corpus.by_ref().take(64);
        let batch: Result<Vec<Example>, _> =
            lines.map(|line| encoder.completion(line.id, &line.prompt, &line.completion)).collect();
        // Rows of like length share a forward pass, so that little of it is padding.
        let mut batch = batch?;
        batch.sort_by_key(|example| example.ids.len());
        let stats = sft.step(&batch)?;
        if stats.step % 50 == 0 {
            println!(
                "step {} loss {:.4} lr {:.2e} {:.0} s",
                stats.step,
                stats.loss,
                stats.lr,
                started.elapsed().as_secs_f64()
            );
        }
        if (stats.step + 1) % 250 == 0 {
            save(sft.model(), &out.join(format!("step-{}", stats.step + 1)), Dtype::Bf16, Some(&files))?;
        }
    }
    save(sft.model(), &out, Dtype::Bf16, Some(&files))?;
    std::fs::remove_dir_all(files)?;
    Ok(())
}
