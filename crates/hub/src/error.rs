//! Errors of the client as messages that say what to do.

use common::Error;
use hf_hub::api::sync::ApiError;

/// The error for the user after `error` of a request to `endpoint` for `what`.
pub(crate) fn client(what: &str, endpoint: &str, token: bool, error: &ApiError) -> Error {
    let hint = match status(error) {
        Some(401) if token => "the token that was sent is not accepted, or the repository does not exist",
        Some(401) => "the repository is private or gated, or does not exist; HF_TOKEN is not set",
        Some(403) => "the repository is gated: ask for access on its page, with the token's account",
        Some(404) => "no such repository, revision or file",
        Some(429) => "too many requests; try again later",
        Some(_) => "the hub could not answer; try again later",
        None => "",
    };
    match hint {
        "" => Error::input(format!("{what}: {endpoint}: {error}")),
        hint => Error::input(format!("{what}: {endpoint}: {error}: {hint}")),
    }
}

/// The HTTP status that the client was given. It keeps its HTTP library to itself, so the status is read from the
/// message; the tests with a local server hold this to what the library says.
pub(crate) fn status(error: &ApiError) -> Option<u16> {
    let ApiError::RequestError(inner) = error else { return None };
    inner.to_string().strip_prefix("http status: ")?.get(..3)?.parse().ok()
}
