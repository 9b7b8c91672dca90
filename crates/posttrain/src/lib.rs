//! What SFT and GRPO share: optimiser, schedule, clipping, token log-probabilities with their gradient, data
//! order, run folder, resume.
//!
//! | part | type | what it is |
//! |---|---|---|
//! | settings | [`TrainerConfig`] | length, batch, AdamW, schedule, seed; names no file |
//! | log-probabilities | [`TokenLogProbs`] | of chosen tokens, with entropies; never holds `[tokens, vocab]` whole |
//! | gradients | [`Gradients`] | one flat tensor for each parameter, in the order of `Qwen::params` |
//! | optimiser | [`Optimizer`] | AdamW, global-norm clipping, its state in safetensors |
//! | several processes | [`Ranks`] | data-parallel training, with the bits of one process |
//! | schedule | [`Schedule`] | learning rate of step k |
//! | what is trained | [`Optimizer::tracked`] | all weights, or the factors of an attached adapter, less what a [`Group`](config::Group) freezes |
//! | data order | [`Order`] | a shuffle that is a function of seed and position |
//! | data files | [`rows`], [`chat`] | rows of JSONL, JSON and Parquet, conversations in one form |
//! | run folder | [`RunFolder`] | metrics, TensorBoard events and checkpoints that survive being killed |
//!
//! Losses and examples are those of `posttrain-sft` and `posttrain-grpo`. The caller writes the loop and looks at
//! the model between two steps; nothing here knows of circuits.

pub mod chat;
mod checkpoint_files;
pub mod config;
mod events;
mod gradients;
mod hidden;
mod log_probs;
mod memory;
mod optimizer;
mod optimizer_state;
mod order;
mod parquet;
pub mod ranks;
pub mod rows;
mod run_folder;
pub mod schedule;
mod trained;

pub use common::Error;
pub use config::TrainerConfig;
pub use gradients::Gradients;
pub use kernels::{TokenStats, TokenWeights};
pub use log_probs::TokenLogProbs;
pub use memory::{Memory, PassSize, Trained};
pub use optimizer::{Optimizer, Update};
pub use order::Order;
pub use ranks::Ranks;
pub use run_folder::{MEASURED, Progress, REFERENCE, Resumed, RunFolder};
pub use schedule::Schedule;
