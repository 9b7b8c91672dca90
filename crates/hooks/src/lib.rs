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
//!
//! # A model of one's own
//! Two methods make a model whose runs can be looked into. This one embeds a token and reads the next one off:
//! ```
//! use burn::tensor::{Device, Int, Tensor, TensorData};
//! use hooks::{Batch, Hook, HookedModel, KeyValue, Probe, Recorder, Site, Stream, Wiring};
//!
//! struct Bigram { embed: Tensor<2>, unembed: Tensor<2> }
//!
//! impl HookedModel for Bigram {
//!     fn wiring(&self) -> Wiring {
//!         Wiring { n_layers: 0, n_heads: 1, n_kv_heads: 1, d_model: 2, key_value: KeyValue::Grouped }
//!     }
//!     fn device(&self) -> Device {
//!         self.embed.device()
//!     }
//!     fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
//!         hook.begin(batch, 0);
//!         let ids: Vec<i64> = batch.ids().iter().map(|&id| id.into()).collect();
//!         let ids = Tensor::<1, Int>::from_data(TensorData::from(&ids[..]), &self.device());
//!         let x = self.embed.clone().select(0, ids).reshape([batch.batch(), batch.seq(), 2]);
//!         // A site is shown to a hook that wants it, and the run goes on with what comes back.
//!         let x = if hook.wants(Stream::Embed.into()) { hook.on_stream(Stream::Embed, x) } else { x };
//!         x.matmul(self.unembed.clone().unsqueeze())
//!     }
//! }
//!
//! let device = Device::default();
//! let model = Bigram {
//!     embed: Tensor::from_data([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], &device),
//!     unembed: Tensor::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device),
//! };
//! let batch = Batch::new(&[vec![2, 0]])?;
//!
//! // Recording.
//! let mut seen = Recorder::new([Stream::Embed.into()]);
//! assert_eq!(model.run(&batch, &mut seen).dims(), [1, 2, 3]);
//! assert_eq!(seen.stream(Stream::Embed).into_data().to_vec::<f32>().unwrap(), [1.0, 1.0, 1.0, 0.0]);
//!
//! // The gradient of a logit at a site: here it is a column of the unembedding.
//! let mut probe = Probe::new([Stream::Embed.into()]);
//! let logit = model.run(&batch, &mut probe).slice([0..1, 1..2, 2..3]).sum();
//! let (gradient, _) = probe.stream(Stream::Embed, &mut logit.backward()).expect("the run passed it");
//! assert_eq!(gradient.inner().into_data().to_vec::<f32>().unwrap(), [0.0, 0.0, 3.0, 6.0]);
//!
//! // Replacing: without its first coordinate the last token, 0, says nothing.
//! struct Half;
//! impl Hook for Half {
//!     fn wants(&self, site: Site) -> bool {
//!         site == Stream::Embed.into()
//!     }
//!     fn on_stream(&mut self, _: Stream, x: Tensor<3>) -> Tensor<3> {
//!         let mask = Tensor::<1>::from_data([0.0, 1.0], &x.device());
//!         x * mask.unsqueeze()
//!     }
//! }
//! let logits = model.run(&batch, &mut Half).into_data().to_vec::<f32>().unwrap();
//! assert_eq!(logits, [4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
//!
//! // Both on one run: the second sees what the first gave back.
//! let mut seen = Recorder::new([Stream::Embed.into()]);
//! model.run(&batch, &mut (Half, &mut seen));
//! assert_eq!(seen.stream(Stream::Embed).into_data().to_vec::<f32>().unwrap(), [0.0, 1.0, 0.0, 0.0]);
//! # Ok::<(), hooks::Error>(())
//! ```
//! Transformers are in `model-qwen`, and a tiny one in plain burn operations in `test-models`.

mod data;
mod graph;
mod run;

pub use common::Error;
pub use data::{
    CustomMetric, Encode, IdsOnly, Metric, Pair, Pairs, PairsReader, Positions, Target, Task, Warning,
};
pub use graph::{Edge, EdgeMap, Head, HeadMap, KeyValue, NodeMap, Port, Reader, Wiring, Writer};
pub use run::{
    Batch, HeadWeights, Heads, Hook, HookAt, HookedModel, Part, Probe, Recorder, Rows, Site, SiteKind,
    Stream, at,
};
