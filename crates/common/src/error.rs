//! One error for all crates: a one-line message, a private kind, the cause.

use std::io;
use std::path::Path;

/// What went wrong, in one line that names the file, the field and what was expected.
///
/// It is opaque: ask it with [`is_input`](Self::is_input), [`is_io`](Self::is_io) and
/// [`is_internal`](Self::is_internal); the cause is in [`source`](std::error::Error::source).
///
/// ```
/// use common::Error;
///
/// let error = Error::line("pairs.jsonl", 3, "missing `clean`");
/// assert_eq!(error.to_string(), "pairs.jsonl: line 3: missing `clean`");
/// assert!(error.is_input() && !error.is_io());
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// `std::result::Result` with [`struct@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The caller's: a file, a field, an option.
    Input,
    /// The operating system's: a full disk, a connection that broke.
    Io,
    /// Ours: a computation that gave what it cannot give.
    Internal,
}

/// Characters after which a message is cut: messages quote files that somebody else wrote.
const LONGEST: usize = 600;

impl Error {
    fn of(kind: Kind, message: impl std::fmt::Display) -> Self {
        let mut message = message.to_string();
        if message.contains(['\n', '\r']) {
            message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if let Some((end, _)) = message.char_indices().nth(LONGEST) {
            message.truncate(end);
            message.push('…');
        }
        Self { kind, message, source: None }
    }

    /// Bad input: a setting, a field, a file's content.
    pub fn input(message: impl std::fmt::Display) -> Self {
        Self::of(Kind::Input, message)
    }

    /// Bad input in the file at `path`.
    pub fn at(path: impl AsRef<Path>, what: impl std::fmt::Display) -> Self {
        Self::input(format_args!("{}: {what}", path.as_ref().display()))
    }

    /// Bad input on line `line` (from 1) of the file at `path`.
    pub fn line(path: impl AsRef<Path>, line: usize, what: impl std::fmt::Display) -> Self {
        Self::at(path, format_args!("line {line}: {what}"))
    }

    /// The operating system refused something about `path`. A path that does not exist or may not be used is bad
    /// input; a full disk, a broken device or an interruption is not.
    pub fn io(path: impl AsRef<Path>, source: io::Error) -> Self {
        use io::ErrorKind as E;
        let kind = match source.kind() {
            E::NotFound
            | E::PermissionDenied
            | E::NotADirectory
            | E::IsADirectory
            | E::DirectoryNotEmpty
            | E::AlreadyExists
            | E::InvalidInput
            | E::InvalidFilename
            | E::InvalidData
            | E::UnexpectedEof => Kind::Input,
            _ => Kind::Io,
        };
        let message = format_args!("{}: {source}", path.as_ref().display()).to_string();
        Self { source: Some(Box::new(source)), ..Self::of(kind, message) }
    }

    /// A result that cannot be: a value that is not finite, a broken invariant.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::of(Kind::Internal, message)
    }

    /// The same error with `place` in front of its message.
    pub fn within(self, place: impl std::fmt::Display) -> Self {
        let Self { kind, message, source } = self;
        Self { source, ..Self::of(kind, format_args!("{place}: {message}")) }
    }

    /// Whether the caller's input was at fault.
    pub fn is_input(&self) -> bool {
        self.kind == Kind::Input
    }

    /// Whether the operating system was at fault: a full disk, a connection.
    pub fn is_io(&self) -> bool {
        self.kind == Kind::Io
    }

    /// Whether a computation gave what it cannot give.
    pub fn is_internal(&self) -> bool {
        self.kind == Kind::Internal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_input_and_a_full_disk_is_not() {
        let missing = Error::io("x", io::ErrorKind::NotFound.into());
        assert!(missing.is_input() && !missing.is_io());
        let full = Error::io("x", io::ErrorKind::StorageFull.into());
        assert!(full.is_io() && !full.is_input());
        assert!(std::error::Error::source(&full).is_some());
        assert!(full.within("run").to_string().starts_with("run: x: "));
    }

    #[test]
    fn messages_are_one_line_and_bounded() {
        let error = Error::input(format!("a\n  b{}", "c".repeat(10_000)));
        assert!(error.to_string().starts_with("a bc"));
        assert_eq!(error.to_string().chars().count(), LONGEST + 1);
    }
}
