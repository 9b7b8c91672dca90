//! Completions from servers: vLLM and SGLang, by their OpenAI-compatible `/v1/completions`.
//!
//! Token ids cross the wire, never text. [`Servers`] takes what [`model_qwen::generate`] takes and gives what that gives;
//! weights go over as folders that the servers see at the same path ([`Version`]). What each kind of server is asked is in
//! `protocol.rs` and `version.rs` alone.

mod http;
mod protocol;
mod running;
mod server;
mod servers;
mod version;

pub use common::Error;
pub use running::{Answer, Job, Running};
pub use servers::{Servers, Settings};
pub use version::Version;
