//! Qwen2, Qwen2.5, Qwen3 and Llama models in burn: load a checkpoint, run it with a hook at every activation,
//! generate, tokenise, render chat templates, attach LoRA adapters, save.
//!
//! ```no_run
//! use hooks::{Heads, Recorder};
//! use model_qwen::{Checkpoint, Dtype, Pass};
//!
//! let checkpoint = Checkpoint::open("models/qwen2.5-0.5b".as_ref())?;
//! let model = checkpoint.load(Dtype::F32, &burn::tensor::Device::default())?;
//! let batch = hooks::Batch::new(&[checkpoint.text()?.encode("2 + 2 =")?])?;
//! let mut seen = Recorder::new([Heads::Pattern(0).into()]);
//! let logits = model.forward(&batch, Pass::new(&mut seen)); // [1, seq, vocab]
//! println!("{:?} {:?}", logits.dims(), seen.heads(Heads::Pattern(0)).dims());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A model holds plain tensors, no hooks and no mode: a run is differentiable in what a hook tracks and in nothing
//! else. For training use [`Qwen::tracked`], or [`Qwen::tracked_adapter`] where a LoRA [`Adapter`] is attached.
//!
//! Results agree with `transformers` to rounding in f32: RMSNorm in f32, half-split rotary embedding with every
//! scaling of [`RopeScaling`], grouped-query attention with sliding windows, SwiGLU, all biases of the families.
//! Deliberate differences: dynamic and longrope scaling go by each row's own length, where `transformers` takes
//! the longest of the batch; tuples in chat templates are printed as lists.
//!
//! # A tour
//! Everything below runs on a tiny model of random weights. A checkpoint gives the same type.
//!
//! **A first run.** A [`hooks::Batch`] holds token ids, a [`Pass`] the hook; `()` is the hook that does nothing.
//! ```
//! # include!("../doc/tiny.rs.in");
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = tiny()?;
//! let batch = Batch::new(&[vec![1, 2, 3, 4], vec![5, 6]])?; // padded on the right
//! let logits = model.forward(&batch, Pass::new(&mut ()));
//! assert_eq!(logits.dims(), [2, 4, 20]); // [batch, seq, vocab]
//! # Ok(())
//! # }
//! ```
//!
//! **Recording.** A [`hooks::Recorder`] keeps the activations at the sites given; site names are TransformerLens's.
//! ```
//! # include!("../doc/tiny.rs.in");
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let model = tiny()?;
//! let batch = Batch::new(&[vec![1, 2, 3, 4]])?;
//! let mut seen = Recorder::new([Heads::Pattern(1).into(), "blocks.0.hook_resid_mid".parse()?]);
//! model.forward(&batch, Pass::new(&mut seen));
//! let pattern = seen.heads(Heads::Pattern(1)); // [batch, n_heads, seq, kv_seq]
//! let first_row: f32 = pattern.slice([0..1, 0..1, 0..1, 0..4]).sum().into_scalar();
//! assert!((first_row - 1.0).abs() < 1e-6); // probabilities
//! assert_eq!(seen.stream(Stream::ResidMid(0)).dims(), [1, 4, 16]);
//! # Ok(())
//! # }
//! ```
//!
//! **Replacing.** A [`hooks::Hook`] returns the value that the run continues with. This one sets a head's output
//! to zero before the output projection; the `ablation` crate has means, resampling and whole circuits.
//! ```
//! # include!("../doc/tiny.rs.in");
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let model = tiny()?;
//! struct ZeroHead { layer: usize, head: usize }
//!
//! impl Hook for ZeroHead {
//!     fn wants(&self, site: Site) -> bool {
//!         site == Heads::Z(self.layer).into()
//!     }
//!     fn on_heads(&mut self, _: Heads, z: Tensor<4>) -> Tensor<4> {
//!         let [batch, _, seq, d_head] = z.dims(); // [batch, n_heads, seq, d_head]
//!         let zeros = Tensor::zeros([batch, 1, seq, d_head], &z.device());
//!         z.slice_assign([0..batch, self.head..self.head + 1, 0..seq, 0..d_head], zeros)
//!     }
//! }
//!
//! let batch = Batch::new(&[vec![1, 2, 3, 4]])?;
//! let mut zero = ZeroHead { layer: 1, head: 0 };
//! let change = model.forward(&batch, Pass::new(&mut zero)) - model.forward(&batch, Pass::new(&mut ()));
//! assert!(change.abs().max().into_scalar::<f32>() > 1e-3);
//!
//! // The same hook acts on the prompt and on each new token of a generation.
//! let requests = [Request { prompt: vec![1, 2, 3], stream: 0, origin: 0 }];
//! let how = Sampling { max_tokens: 5, ..Sampling::default() };
//! let done = generate(&model, &requests, &how, &mut zero, |_row, _token| true)?;
//! assert_eq!(done[0].ids.len(), 5);
//! # Ok(())
//! # }
//! ```
//!
//! **A gradient at a site.** A [`hooks::Probe`] collects gradients of any scalar made from the logits; the
//! weights stay frozen and cost nothing.
//! ```
//! # include!("../doc/tiny.rs.in");
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let model = tiny()?;
//! let batch = Batch::new(&[vec![1, 2, 3, 4]])?;
//! let mut probe = Probe::new([Stream::ResidPost(0).into()]);
//! let logits = model.forward(&batch, Pass::new(&mut probe));
//! let difference = logits.clone().slice([0..1, 3..4, 7..8]) - logits.slice([0..1, 3..4, 9..10]);
//! let mut grads = difference.sum().backward();
//! let (gradient, value) = probe.stream(Stream::ResidPost(0), &mut grads).expect("the run passed it");
//! assert_eq!(gradient.dims(), value.dims()); // [batch, seq, d_model]
//! # Ok(())
//! # }
//! ```
//!
//! **Chat.** A Jinja template, a checkpoint's or any other, renders messages as `transformers` does;
//! [`ChatTemplate::apply`] takes tools and messages of any fields.
//! ```
//! use model_qwen::{ChatTemplate, Message};
//!
//! let source = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
//!               {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
//! let template = ChatTemplate::new(source.to_owned(), "", "<|im_end|>")?;
//! let said = [Message { role: "user".to_owned(), content: "2 + 2?".to_owned() }];
//! let prompt = template.render(&said, true, None)?;
//! assert_eq!(prompt, "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n");
//! # Ok::<(), model_qwen::Error>(())
//! ```
//!
//! **Saving.** The folder is one that `transformers` loads; it appears whole or not at all.
//! ```
//! # include!("../doc/tiny.rs.in");
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let model = tiny()?;
//! let folder = std::env::temp_dir().join(format!("model-qwen-tour-{}", std::process::id()));
//! save(&model, &folder, Dtype::F32, None)?;
//! let again = Checkpoint::open(&folder)?.load(Dtype::F32, &Device::default())?;
//! let batch = Batch::new(&[vec![1, 2, 3]])?;
//! let difference = again.forward(&batch, Pass::new(&mut ())) - model.forward(&batch, Pass::new(&mut ()));
//! assert_eq!(difference.abs().max().into_scalar::<f32>(), 0.0);
//! std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```

mod attention;
mod cache;
mod chat;
mod checkpoint;
mod config;
mod dtype;
mod forward;
mod generate;
mod generation;
mod hash;
mod hooked;
mod init;
mod lora;
mod part;
mod projection;
mod read;
mod rope;
mod sample;
mod save;
mod stop;
mod stored;
mod tensors;
mod text;
mod weights;

pub use cache::KvCache;
pub use chat::{ChatOptions, ChatTemplate, Message, Rendered};
pub use checkpoint::Checkpoint;
pub use common::Error;
pub use config::{Config, Family, RopeScaling};
pub use dtype::Dtype;
pub use forward::Pass;
pub use generate::{Completion, Finish, Next, Request, generate};
pub use generation::Generation;
pub use hash::{model_hash, tokenizer_hash};
pub use init::random;
pub use lora::{Adapter, Lora, LoraConfig, LowRank, Targets};
pub use sample::{Room, Sampling};
pub use save::{save, save_as_held, save_sharded};
pub use stop::StopStrings;
pub use tensors::{Entry, TensorReader, write_tensors};
pub use text::Text;
pub use weights::{Block, Param, Projection, Qwen, Weight};
