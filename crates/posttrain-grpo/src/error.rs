//! The one error type of this crate: bad input, said in one line.

/// What was wrong: the file, the option or the step, and what was expected.
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

impl From<posttrain::Error> for Error {
    fn from(error: posttrain::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<model_qwen::Error> for Error {
    fn from(error: model_qwen::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<hooks::Error> for Error {
    fn from(error: hooks::Error) -> Self {
        Self::new(error.to_string())
    }
}
