//! The one error type of this crate: bad input, said in one line. A wrong shape inside is a panic.

/// What was wrong with an input: the place, the field and what was expected.
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
}

impl From<hooks::Error> for Error {
    fn from(error: hooks::Error) -> Self {
        Self::new(error.to_string())
    }
}
