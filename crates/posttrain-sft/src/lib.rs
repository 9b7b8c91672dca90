//! Supervised fine-tuning: examples, batches, the loss and one step.
//!
//! ```no_run
//! use model_qwen::{Checkpoint, Dtype};
//! use posttrain_sft::{DataConfig, Dataset, Encoder, Sft, SftConfig};
//!
//! let mut config = SftConfig::default();
//! config.trainer.optimizer.lr = 1e-5;
//! let checkpoint = Checkpoint::open("Qwen2.5-0.5B".as_ref())?;
//! let encoder = Encoder::of(&checkpoint)?;
//! let data = Dataset::open("train.jsonl".as_ref(), &DataConfig::default(), config.trainer.seed, &encoder)?;
//! let mut sft = Sft::new(checkpoint.load(Dtype::F32, &Default::default())?, &config, data.len())?;
//! while !sft.is_done() {
//!     let stats = sft.step(&data.batch(sft.progress().position, sft.batch()))?;
//!     println!("{} {}", stats.step, stats.loss);
//! }
//! model_qwen::save(sft.model(), "out".as_ref(), Dtype::F32, Some(checkpoint.dir()))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `posttrain::RunFolder` keeps metrics and checkpoints of a run.
//! The loop is the caller's, and so is everything that looks at the model between two steps: this crate knows
//! nothing of circuits, figures or terminals.

mod batch;
mod columns;
mod config;
mod data;
mod encode;
mod example;
mod generated;
mod loss;
mod pack;
mod tokens;
mod train;

pub use columns::Columns;
pub use common::Error;
pub use config::{DataConfig, LossKind, Packing, SftConfig, Truncation, Turns};
pub use data::{Dataset, Report};
pub use encode::Encoder;
pub use example::{Document, Example};
pub use loss::Sums;
pub use train::{Sft, SftStats};
