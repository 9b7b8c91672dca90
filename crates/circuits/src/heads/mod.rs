//! Complexity measures of heads: paths through a head in a circuit, ranks of its weights, entropy of its
//! attention; and roles by what it attends to. One row for each head, so that checkpoints can be compared (the claim of "fewer but more complex
//! heads").

mod attention;
mod paths;
mod roles;
mod spectrum;

pub use attention::{AttentionEntropy, attention_entropy};
pub use paths::{HeadPaths, Paths, paths};
pub use roles::{Attended, Relation, TokenScores, attended, role, token_scores};
pub use spectrum::{Spectrum, head_spectra};
