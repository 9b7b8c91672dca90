//! Hooks on the forward pass of a language model: record, differentiate and replace activations.
//!
//! A language model is a function of its tokens. A [`Hook`] is an argument of one run of it: at every [`Site`] that the
//! hook asks for, the model passes it an activation and goes on with the tensor that it returns. Recording, gradients,
//! ablation, activation patching and steering are hooks. Nothing is stored on the model, and a run with the empty hook
//! `()` is bit-identical to a plain forward pass.
//!
//! | term | type | meaning |
//! |---|---|---|
//! | site | [`Site`] | a named place in a run: `blocks.3.attn.hook_z`, named as in TransformerLens |
//! | hook | [`Hook`] | what to do at the sites of one run |
//! | edge | [`Edge`] | one writer feeding one reader of the residual stream: `a1.h3->a4.h0<q>` |
//! | pairs | [`Pairs`] | clean and corrupt prompts with their answers |
//! | metric | [`Metric`] | one number from a run's logits on a pair |
//! | task | [`Task`] | a model, pairs and a metric: what every analysis takes |
//!
//! This crate knows no architecture: a model takes part by implementing [`HookedModel`]. It holds no analysis either;
//! those are in `attribution` (edge scores, logit lens), `ablation` (heads, patching) and `circuits`.
//!
//! # Axes
//! Everywhere in this project: `batch, seq, kv_seq, d_model, n_heads, n_kv_heads, d_head, d_mlp, vocab`.
//!
//! # Tutorial
//! The examples run on a small transformer with random weights. Real checkpoints are loaded by `model-qwen`, and all of
//! this works on them in the same way.
//!
//! **Run and record.** A batch is rows of token ids, padded on the right. Logits are `[batch, seq, vocab]`.
//! ```
//! use hooks::{Batch, Heads, HookedModel, Recorder, Stream};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//!
//! let batch = Batch::new(&[vec![7, 8, 9], vec![4]])?;
//! let mut seen = Recorder::new([Stream::ResidPost(1).into(), Heads::Pattern(0).into()]);
//! let logits = model.run(&batch, &mut seen);
//! assert_eq!(logits.dims(), [2, 3, 13]);
//! assert_eq!(seen.stream(Stream::ResidPost(1)).dims(), [2, 3, 16]); // [batch, seq, d_model]
//! assert_eq!(seen.heads(Heads::Pattern(0)).dims(), [2, 4, 3, 3]); // [batch, n_heads, seq, kv_seq]
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Replace.** A closure at a site is a hook ([`at()`]); so are tuples and lists of hooks, each seeing what the one
//! before returned. This run removes head 2 of layer 1 and records the stream after it:
//! ```
//! use hooks::{Batch, Heads, Hook, HookedModel, Recorder, Stream, at};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//! # let batch = Batch::new(&[vec![7, 8, 9]])?;
//!
//! let without = at(Heads::Z(1), |z| {
//!     let [batch, _, seq, d_head] = z.dims();
//!     let head = [0..batch, 2..3, 0..seq, 0..d_head];
//!     z.clone().slice_assign(head.clone(), z.slice(head).zeros_like())
//! });
//! let seen = Recorder::new([Stream::ResidMid(1).into()]);
//! let mut hook = (without, seen);
//! model.run(&batch, &mut hook);
//! assert_eq!(hook.1.stream(Stream::ResidMid(1)).dims(), [1, 3, 16]);
//!
//! // Hooks of different types go into one list behind boxes.
//! let mut list: Vec<Box<dyn Hook>> = vec![Box::new(at(Stream::MlpOut(0), |x| x * 0.5)), Box::new(hook.0)];
//! model.run(&batch, &mut list);
//! # Ok::<(), hooks::Error>(())
//! ```
//! For longer hooks implement [`Hook`] itself.
//!
//! **Differentiate.** A [`Probe`] watches gradients at sites; call `backward` on any number made from the logits:
//! ```
//! use hooks::{Batch, HookedModel, Probe, Rows, Stream};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//!
//! let batch = Batch::new(&[vec![7, 8, 9]])?.rows(Rows::Last); // logits of the last position only
//! let mut probe = Probe::new([Stream::Embed.into()]);
//! let logit = model.run(&batch, &mut probe).slice([0..1, 0..1, 5..6]).sum();
//! let (gradient, value) = probe.stream(Stream::Embed, &mut logit.backward()).expect("the run passed it");
//! assert_eq!((gradient.dims(), value.dims()), ([1, 3, 16], [1, 3, 16]));
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Pairs and metrics.** Analyses compare a clean prompt with a corrupt one of the same length. Files are read by
//! [`Pairs::read`] (format: [`PairsReader`]); a tokenizer takes part by implementing [`Encode`].
//! ```
//! use hooks::{IdsOnly, Metric, Pairs, Task};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//!
//! let line = r#"{"id":"a","clean_ids":[1,2,3],"corrupt_ids":[1,4,3],"answer_ids":[5],"distractor_ids":[7]}"#;
//! let pairs = Pairs::parse(line, &IdsOnly)?;
//! assert!(pairs.warnings().is_empty());
//!
//! // A metric of one's own is a differentiable closure of a pair's logits, [n, vocab].
//! let margin = Metric::custom("margin", |logits, pair| {
//!     logits.clone().narrow(1, pair.target.answers[0] as usize, 1).mean() - logits.mean()
//! });
//! let task = Task::new(&model, &pairs, margin);
//! task.check()?;
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! # A model of one's own
//! Three methods are enough. This model embeds each token and reads the next token's logits off the embedding:
//! ```
//! use burn::tensor::{Device, Int, Tensor, TensorData};
//! use hooks::{Batch, Hook, HookedModel, KeyValue, Recorder, Stream, Wiring, at};
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
//! let mut hook = (at(Stream::Embed, |x| x * 2.0), Recorder::new([Stream::Embed.into()]));
//! let logits = model.run(&batch, &mut hook).into_data().try_to_vec::<f32>().unwrap();
//! assert_eq!(logits, [10.0, 14.0, 18.0, 2.0, 4.0, 6.0]);
//! let seen = hook.1.stream(Stream::Embed).into_data().try_to_vec::<f32>().unwrap();
//! assert_eq!(seen, [2.0, 2.0, 2.0, 0.0]);
//! # Ok::<(), hooks::Error>(())
//! ```
//! Whole transformers: `downstream/src/model.rs` (GPT-2) in the repository, and the crate `model-qwen`.

mod data;
mod graph;
mod product;
mod run;

pub use common::Error;
pub use data::{
    CustomMetric, Encode, IdsOnly, Metric, Pair, Pairs, PairsReader, Positions, Target, Task, Warning,
};
pub use graph::{Edge, EdgeMap, Head, HeadMap, KeyValue, NodeMap, Port, Reader, Wiring, Writer};
pub use product::matmul_f32;
pub use run::{
    Batch, HeadWeights, Heads, Hook, HookAt, HookedModel, Part, Probe, Recorder, Rows, Site, SiteKind,
    Stream, at,
};
