//! The crate's one error type. It says which file, which line and what was expected; it is opaque, so that
//! new ways of failing are not breaking changes.

use std::path::Path;

/// Why a problems file, a record file or a setting could not be used.
///
/// Its `Display` is one line, fit to show to a user: `problems.jsonl:3: field "answer": expected a string`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    #[source]
    source: Option<std::io::Error>,
}

/// `std::result::Result` with this crate's [`struct@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Bad input that belongs to no file: a name, a knob, an empty suite.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// The operating system refused something about `path`.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self { message: format!("{}: {source}", path.display()), source: Some(source) }
    }

    /// Line `line` (from 1) of `path` is not what was expected.
    pub(crate) fn line(path: &Path, line: usize, message: impl std::fmt::Display) -> Self {
        Self { message: format!("{}:{line}: {message}", path.display()), source: None }
    }
}
