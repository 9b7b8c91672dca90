//! The one error type of this crate: a bad checkpoint or prompt, said in one line that names the file, the
//! field and what was expected.

use std::path::Path;

/// What was wrong with a checkpoint, a template or a prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
}

impl Error {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// An error about `path`.
    pub fn at(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::new(format!("{}: {what}", path.display()))
    }
}

impl From<hooks::Error> for Error {
    fn from(error: hooks::Error) -> Self {
        Self::new(error.to_string())
    }
}
