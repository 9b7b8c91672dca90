//! What to put in place of an activation: heads, edges, means.
//!
//! | hook | what it changes |
//! |---|---|
//! | [`Ablation`] | what attention heads mix: zero, mean, positional mean, another run's, or scaled |
//! | [`EdgePatch`] | what every reader reads: a circuit run as one forward pass |
//!
//! Both work on any [`hooks::HookedModel`], on batches, and leave the model untouched. This crate selects
//! nothing, and scores nothing except by changing one place after another: [`sweep()`] over heads, and
//! [`patch_grid`] over layers, heads and positions.
//!
//! # Example
//! ```
//! use ablation::{Ablation, Baseline, EdgeFill, EdgePatch, EdgePlan, Fill};
//! use hooks::{Batch, EdgeMap, HookedModel};
//!
//! let model = test_models::Toy::random(0, test_models::ToyConfig::default(), &burn::tensor::Device::default());
//! let (clean, corrupt) = (Batch::new(&[vec![1, 2, 3]])?, Batch::new(&[vec![1, 5, 3]])?);
//!
//! let mut without = Ablation::heads(model.wiring(), ["L1H2".parse()?], Fill::Zero)?;
//! let logits = model.run(&clean, &mut without);
//!
//! let mut circuit = EdgeMap::filled(model.wiring(), true);
//! *circuit.get_mut("a0.h1->m1".parse()?).unwrap() = false;
//! let plan = EdgePlan::new(&[&circuit])?;
//! let fill = EdgeFill::new(&model, &Baseline::Corrupt, &corrupt, &[&plan])?;
//! let patched = model.run(&clean, &mut EdgePatch::new(&plan, &fill));
//! assert_eq!(patched.dims(), logits.dims());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod edges;
mod fill;
mod heads;
mod means;
mod patch;
mod plan;
mod positions;
mod sweep;

pub use common::Error;
pub use edges::EdgePatch;
pub use fill::{Baseline, EdgeFill};
pub use heads::{Ablation, Fill, Resampled};
pub use means::{HeadMeans, WriterMeans};
pub use patch::{Direction, Grid, HeadPlace, PatchGrid, StreamPlace, patch_grid};
pub use plan::EdgePlan;
pub use sweep::{HeadEffect, replaced, scaled, sweep, sweep_heads};
