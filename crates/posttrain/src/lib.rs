//! What SFT and GRPO share, once: configuration, optimiser, schedule, clipping, token log-probabilities with
//! their gradient, run folder, resume.
//!
//! | part | type | what it is |
//! |---|---|---|
//! | configuration | [`Config`] | a TOML file, every field defaulted but three |
//! | log-probabilities | [`TokenLogProbs`] | what both losses are made of; never holds `[tokens, vocab]` whole |
//! | gradients | [`Gradients`] | one flat tensor for each parameter, in the order of `Qwen::params` |
//! | optimiser | [`Optimizer`] | AdamW, global-norm clipping, its state in safetensors |
//! | schedule | [`Schedule`] | learning rate of step k |
//! | data order | [`Order`] | a shuffle that is a function of seed and position |
//! | run folder | [`RunFolder`] | metrics and checkpoints that survive being killed |
//!
//! It knows no loss and no data, and nothing of circuits: the caller writes the loop and looks at the model
//! between two steps.

pub mod config;
mod gradients;
mod log_probs;
mod optimizer;
mod order;
mod run_folder;
pub mod schedule;

pub use common::Error;
pub use config::Config;
pub use gradients::Gradients;
pub use log_probs::TokenLogProbs;
pub use optimizer::{Optimizer, Update};
pub use order::Order;
pub use run_folder::{Progress, Resumed, RunFolder};
pub use schedule::Schedule;
