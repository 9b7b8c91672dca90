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
    /// An error that says `message`, in one line and not without end: messages quote files that somebody
    /// else wrote, and other parsers' messages.
    pub fn new(message: impl Into<String>) -> Self {
        const LONGEST: usize = 600;
        let mut message: String = message.into();
        if message.contains(['\n', '\r']) {
            message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if let Some((end, _)) = message.char_indices().nth(LONGEST) {
            message.truncate(end);
            message.push('…');
        }
        Self { message }
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
