//! What to put in place of an activation: heads, edges, means.
//!
//! | hook | what it changes |
//! |---|---|
//! | [`Ablation`] | what attention heads mix: zero, mean, positional mean, another run's, or scaled |
//! | [`EdgePatch`] | what every reader reads: a circuit run as one forward pass |
//!
//! Both work on any [`hooks::HookedModel`], on batches, and leave the model untouched. This crate selects
//! nothing and scores nothing except the plain sweep over heads.

mod edges;
mod error;
mod fill;
mod heads;
mod means;
mod plan;
mod positions;
mod sweep;

pub use edges::EdgePatch;
pub use error::Error;
pub use fill::{Baseline, EdgeFill};
pub use heads::{Ablation, Fill, Resampled};
pub use means::{HeadMeans, WriterMeans};
pub use plan::EdgePlan;
pub use sweep::{HeadEffect, sweep_heads};
