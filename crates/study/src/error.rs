//! The one error type of this crate: bad input, said in one line.

use std::path::Path;

/// What was wrong: the place, the field and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
}

impl Error {
    /// An error that says `message`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// An error that says `message` about a file.
    pub(crate) fn at(path: &Path, message: impl std::fmt::Display) -> Self {
        Self::new(format!("{}: {message}", path.display()))
    }
}

macro_rules! from_library {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })*
    };
}
from_library!(
    hooks::Error,
    model_qwen::Error,
    ablation::Error,
    attribution::Error,
    circuits::Error,
    posttrain::Error,
    posttrain_sft::Error,
    posttrain_grpo::Error,
);
