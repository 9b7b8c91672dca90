//! Qwen2, Qwen2.5, Qwen3 and Llama checkpoints: one forward pass, with a hook.
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
//! The model stores no hooks and no mode; weights are plain tensors, so a run is differentiable in what a
//! hook tracks and in nothing else. Training asks for [`Qwen::tracked`].
//!
//! Formulas are those of `transformers`: RMSNorm in f32, half-split rotary, grouped-query attention, SwiGLU.

mod cache;
mod chat;
mod checkpoint;
mod config;
mod error;
mod forward;
mod generate;
mod init;
mod read;
mod rope;
mod sample;
mod text;
mod weights;

pub use cache::KvCache;
pub use chat::{ChatTemplate, Message};
pub use checkpoint::{Checkpoint, Dtype, save};
pub use config::{Config, Family, RopeScaling};
pub use error::Error;
pub use forward::Pass;
pub use generate::{Completion, Finish, Request, generate};
pub use init::random;
pub use sample::Sampling;
pub use text::Text;
pub use weights::{Block, Param, Qwen};
