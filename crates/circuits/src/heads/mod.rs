//! What there is to say about each head of a checkpoint: its place in a circuit, the ranks of its weights,
//! how it spreads its attention. One row a head, so that checkpoints can be set side by side ("fewer but
//! more complex heads").

mod attention;
mod paths;
mod spectrum;

pub use attention::{AttentionEntropy, attention_entropy};
pub use paths::{HeadPaths, Paths, paths};
pub use spectrum::{Spectrum, head_spectra};
