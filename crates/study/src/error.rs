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

impl From<hooks::Error> for Error {
    fn from(error: hooks::Error) -> Self {
        Self::new(error.to_string())
    }
}
