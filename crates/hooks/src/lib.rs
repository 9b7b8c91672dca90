//! The vocabulary of looking inside a language model: sites, hooks, wiring, pairs and metrics.
//!
//! A language model is a function of its tokens; a [`Hook`] is an argument of one run of it. At every
//! [`Site`] that a hook asks for, the model shows it an activation and goes on with what the hook gives
//! back. Recording, gradients, ablation, edge patching and steering are hooks; nothing is ever stored on
//! the model, and the empty hook `()` is bit-identical to no hook at all.
//!
//! | noun | type | what it is |
//! |---|---|---|
//! | site | [`Site`] | a named place in a run: `blocks.3.attn.hook_z` |
//! | hook | [`Hook`] | what to do at the sites of one run |
//! | edge | [`Edge`] | one writer feeding one reader of the residual stream: `a1.h3->a4.h0<q>` |
//! | circuit | `circuits::Circuit` | a selection of edges |
//! | pairs | [`Pairs`] | clean and corrupt prompts with their answers |
//!
//! This crate knows no architecture: a model takes part by implementing [`HookedModel`]. It is not a
//! registry of models and holds no analysis.
//!
//! # Axes
//! Everywhere in this project: `batch, seq, kv_seq, d_model, n_heads, n_kv_heads, d_head, d_mlp, vocab`.
//!
//! # Example
//! ```
//! use hooks::{Batch, Head, Heads, Site, Stream};
//!
//! let site: Site = "blocks.3.attn.hook_z".parse()?;
//! assert_eq!(site, Site::Heads(Heads::Z(3)));
//! assert_eq!(Site::from(Stream::MlpOut(0)).to_string(), "blocks.0.hook_mlp_out");
//! assert_eq!("L5H1".parse::<Head>()?, Head { layer: 5, head: 1 });
//! assert_eq!(Batch::new(&[vec![7, 8, 9], vec![4]])?.seq(), 3);
//! # Ok::<(), hooks::Error>(())
//! ```

mod batch;
mod edge_map;
mod error;
mod hook;
mod metric;
mod model;
mod pairs;
mod probe;
mod record;
mod site;
mod wiring;

pub use batch::{Batch, Rows};
pub use edge_map::{EdgeMap, HeadMap, NodeMap};
pub use error::Error;
pub use hook::Hook;
pub use metric::{Metric, Target};
pub use model::HookedModel;
pub use pairs::{Pair, Pairs};
pub use probe::Probe;
pub use record::Recorder;
pub use site::{Heads, Site, Stream};
pub use wiring::{Edge, Head, KeyValue, Port, Reader, Wiring, Writer};
