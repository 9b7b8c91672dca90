//! Which edges matter: EAP, EAP-IG and exact patching, for any [`HookedModel`].
//!
//! Should you be using this crate? Yes, to get a score for each edge of a model. To select a circuit from
//! scores and see how faithful it is, give the scores to `circuits`; the two meet only in [`EdgeMap`].
//!
//! The score of an edge from writer `u` to reader `v` is the first-order effect on the metric of giving `v`
//! the corrupt value of `u` in place of the clean one (Nanda 2023; Syed et al. 2023; Hanna et al. 2024):
//!
//! ```text
//! score(u -> v) = sum over positions of (u_corrupt - u_clean) · mean_k ∂metric/∂input_v (x_k)
//! ```
//!
//! with the norm inside the reader differentiated, gradients of the metric itself (EAP-IG's files hold the
//! loss: for logit-diff and prob-diff the negative), and points `x_k` chosen by the [`Method`]. One pair at a
//! time, so that no batch size enters; sums in f32 over positions and in f64 over pairs.
//!
//! # Cost
//! Per pair, with `m` points: two forward passes, `m` forward and activation-gradient passes, and one matrix
//! product over all edges. Memory beyond the model, in f32 values: differences `n_writers * seq * d_model`
//! and gradients `n_readers * seq * d_model`.
//!
//! # Example
//! ```no_run
//! # fn scores(model: &dyn hooks::HookedModel, pairs: &hooks::Pairs) -> Result<(), Box<dyn std::error::Error>> {
//! use attribution::{Endpoint, Method, Options, attribute};
//! use hooks::{Metric, Task};
//!
//! let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Left };
//! let task = Task::new(model, pairs, Metric::LogitDiff);
//! let scores = attribute(&task, method, Options::default())?;
//! println!("{} edges, completeness error {:.3}", scores.mean.values().len(), scores.completeness_error());
//! # Ok(())
//! # }
//! ```

mod baseline;
mod direct_logit_attribution;
mod exact;
mod gradients;
mod logit_lens;
mod method;
mod nodes;
mod points;
mod scores;

pub use common::Error;
pub use direct_logit_attribution::{At, DirectPair, direct_logit_attribution, direct_mean};
pub use logit_lens::{logit_lens, logit_lens_metric};
pub use method::{Endpoint, Method};
pub use nodes::{NodeScores, PairNodeScores, attribute_nodes, score_nodes};
pub use scores::{Options, PairScores, PairSummary, Scores, attribute, score_pair, zero_gradient};

#[allow(unused_imports)] // for links in the documentation
use hooks::{EdgeMap, HookedModel};
