//! Group-relative policy optimisation with verifiable rewards.
//!
//! ```no_run
//! use posttrain::Order;
//! use posttrain_grpo::{Grpo, GrpoConfig, Rollout};
//! # fn reward(_: &Rollout) -> f32 { 0.0 }
//! # fn prompts() -> Vec<Vec<u32>> { Vec::new() }
//!
//! let config = GrpoConfig { group_size: 16, ..GrpoConfig::default() };
//! let checkpoint = model_qwen::Checkpoint::open("Qwen2.5-0.5B".as_ref())?;
//! let policy = checkpoint.load(model_qwen::Dtype::F32, &Default::default())?;
//! let prompts = prompts();
//! let order = Order { len: prompts.len(), seed: Some(config.trainer.seed) };
//! let mut grpo = Grpo::new(policy, checkpoint.stop_ids, &config, prompts.len())?;
//! while !grpo.is_done() {
//!     let at = order.batch(grpo.progress().position, grpo.prompts());
//!     let rollouts = grpo.sample(&at.iter().map(|&i| prompts[i].clone()).collect::<Vec<_>>())?;
//!     let scored = rollouts.score(reward)?;
//!     let stats = grpo.step(&scored)?;
//!     println!("{} {}", stats.step, stats.reward);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sampler and trainer share weights and kernels. Old log-probabilities are the trainer's own, so that the
//! importance ratio of fresh completions is exactly one. Another program may sample as well ([`Grpo::requests`],
//! [`Grpo::rollouts`], [`RolloutConfig`]). Formulas are those of TRL 1.16, which the tests
//! run against.

mod advantage;
mod config;
mod correction;
mod entropy;
mod kinds;
mod loss;
mod record;
mod reference;
pub mod reward;
mod rollout;
mod scored;
mod stats;
mod train;
mod update;
mod words;

pub use advantage::advantages;
pub use common::Error;
pub use config::GrpoConfig;
pub use correction::{Correction, CorrectionKind, RolloutConfig};
pub use entropy::{AdaptiveEntropy, EntropyControl};
pub use kinds::{Advantage, Aggregation, KlEstimator, LossKind, Ratio, Sapo, Vespo, ZeroVariance};
pub use loss::{LossConfig, LossInputs, LossStats, SamplerInputs, Whole, entropy_threshold, loss};
pub use record::{Record, read_completions};
pub use reference::SyncReference;
pub use rollout::{Rollout, Rollouts};
pub use scored::Scored;
pub use stats::{ClipStats, CompletionStats, GrpoStats, SamplerStats};
pub use train::{Grpo, Made};
