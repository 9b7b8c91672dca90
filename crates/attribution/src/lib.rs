//! Scores of edges and nodes: EAP, EAP-IG and exact patching; logit lens and direct logit attribution.
//!
//! Use this crate to get a score for each edge of a model, for any [`HookedModel`]. To select a circuit from scores
//! and measure how faithful it is, give the scores to `circuits`; the two meet only in [`EdgeMap`].
//!
//! # Method
//! The score of an edge from writer `u` to reader `v` is the first-order effect on the metric of giving `v` the corrupt
//! value of `u` in place of the clean one (Nanda 2023; Syed et al. 2023; Hanna et al. 2024, equation 3):
//!
//! ```text
//! score(u -> v) = sum over positions of (u_corrupt - u_clean) · mean_k ∂metric/∂input_v (x_k)
//! ```
//!
//! The norm inside the reader is differentiated. Gradients are of the metric itself (EAP-IG's files hold the loss: the
//! negative for logit-diff and prob-diff). The points `x_k` are chosen by the [`Method`]. Pairs are scored one at a
//! time, so that no batch size enters; sums are in f32 over positions and in f64 over pairs.
//!
//! # Cost
//! Per pair, with `m` points: two forward passes, `m` forward and activation-gradient passes, and one matrix product
//! over all edges. Memory beyond the model, in f32 values: differences `n_writers * seq * d_model` and gradients
//! `n_readers * seq * d_model`.
//!
//! # Tutorial
//! **Score edges** by EAP-IG (inputs) at five points between the embeddings of the two prompts:
//! ```
//! use attribution::{Endpoint, Method, Options, attribute};
//! use hooks::{Metric, Pair, Pairs, Target, Task};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//!
//! let target = Target { answers: vec![5], distractors: vec![7] };
//! let pairs = Pairs::new(vec![Pair::new("a", [1, 2, 3], [1, 4, 3], target)])?;
//! let task = Task::new(&model, &pairs, Metric::LogitDiff);
//! let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Left };
//! let scores = attribute(&task, method, Options { per_pair: true, ..Options::default() })?;
//! assert_eq!(scores.mean.values().len(), task.wiring().n_edges());
//! let one = scores.mean.get("a0.h1->a1.h2<q>".parse()?).expect("an edge of this model");
//! assert!(one.is_finite());
//! // Each pair's scores, [pair, edge].
//! assert_eq!(scores.per_pair.as_ref().map(|rows| rows.dim()), Some((1, task.wiring().n_edges())));
//! assert!(scores.warnings.is_empty());
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Check the integral.** Scores of the input's edges sum to the change of the metric as steps grow
//! ([`Scores::completeness_error`]). [`Method::Exact`] patches every edge by itself: slow, and the reference for all
//! other methods.
//! ```
//! # use attribution::{Endpoint, Method, Options, attribute};
//! # use hooks::{Metric, Pair, Pairs, Target, Task};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//! # let target = Target { answers: vec![5], distractors: vec![7] };
//! # let pairs = Pairs::new(vec![Pair::new("a", [1, 2, 3], [1, 4, 3], target)])?;
//! # let task = Task::new(&model, &pairs, Metric::LogitDiff);
//! let error = |steps| {
//!     let method = Method::EapIgInputs { steps, endpoint: Endpoint::Midpoint };
//!     Ok::<_, hooks::Error>(attribute(&task, method, Options::default())?.completeness_error())
//! };
//! assert!(error(64)? < error(2)?);
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Score nodes** (heads, MLPs, the embeddings) as wholes, and **show progress** by scoring pair by pair:
//! ```
//! # use attribution::{Method, Options, Scores, attribute_nodes, score_pair};
//! # use hooks::{Metric, Pair, Pairs, Target, Task, Writer};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//! # let target = Target { answers: vec![5], distractors: vec![7] };
//! # let pairs = Pairs::new(vec![Pair::new("a", [1, 2, 3], [1, 4, 3], target)])?;
//! # let task = Task::new(&model, &pairs, Metric::LogitDiff);
//! let nodes = attribute_nodes(&task, Method::Eap)?;
//! let mlp = *nodes.mean.get(Writer::Mlp(1));
//!
//! let options = Options::default();
//! let scored = pairs.iter().map(|pair| score_pair(&task, pair, Method::Eap, options));
//! let edges = Scores::collect(scored, options)?;
//! // The score of a writer is the sum of the scores of its edges.
//! let sum: f32 = edges.mean.iter().filter(|(e, _)| e.from == Writer::Mlp(1)).map(|(_, s)| s).sum();
//! assert!((sum - mlp).abs() < 1e-4);
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Read the residual stream out**: the logit lens, and what each writer adds to the logit difference directly.
//! ```
//! # use attribution::{At, direct_logit_attribution, logit_lens_metric};
//! # use hooks::{Metric, Pair, Pairs, Target, Task};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//! # let target = Target { answers: vec![5], distractors: vec![7] };
//! # let pairs = Pairs::new(vec![Pair::new("a", [1, 2, 3], [1, 4, 3], target)])?;
//! # let task = Task::new(&model, &pairs, Metric::LogitDiff);
//! for (stream, logit_diff) in logit_lens_metric(&task, false)? {
//!     println!("{stream:?}: {logit_diff:.3}");
//! }
//! let direct = &direct_logit_attribution(&model, &pairs, At::Last)?[0];
//! assert_eq!(direct.writers.dim(), (task.wiring().n_writers(), 1)); // [writer, position]
//! assert!((direct.writers.sum() + direct.biases.sum() - direct.logit_diff[0]).abs() < 1e-4);
//! # Ok::<(), hooks::Error>(())
//! ```

mod direct_logit_attribution;
mod exact;
mod gradients;
mod logit_lens;
mod method;
mod nodes;
mod pair_runs;
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
