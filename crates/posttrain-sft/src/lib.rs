//! Supervised fine-tuning: examples, batches, the loss and one step.
//!
//! ```no_run
//! use model_qwen::{Checkpoint, Dtype};
//! use posttrain::{Config, RunFolder};
//! use posttrain_sft::{Dataset, Encoder, Sft};
//!
//! let config = Config::open("sft.toml".as_ref(), &[])?;
//! let checkpoint = Checkpoint::open(&config.model.path)?;
//! let data = Dataset::open(&config.data, config.run.seed, &Encoder::of(&checkpoint)?)?;
//! let mut sft = Sft::new(checkpoint.load(Dtype::F32, &Default::default())?, &config, data.len())?;
//! let mut run = RunFolder::create(&config)?;
//! while !sft.is_done() {
//!     let stats = sft.step(&data.take(sft.progress().position, sft.batch()))?;
//!     run.log(&stats)?;
//! }
//! run.checkpoint(sft.model(), sft.optimizer(), sft.progress())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The loop is the caller's, and so is everything that looks at the model between two steps: this crate knows
//! nothing of circuits, figures or terminals.

mod data;
mod encode;
mod train;

pub use common::Error;
pub use data::{Dataset, Example};
pub use encode::Encoder;
pub use train::{Sft, StepStats};
