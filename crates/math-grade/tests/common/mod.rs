//! The shared test data, where it is present.

use std::path::{Path, PathBuf};

/// A file of `$SPARKS_SHARED/data` or `../shared/data`; `None`, with a message, where it is absent.
#[allow(clippy::print_stderr)]
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("SPARKS_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = shared.join("data").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}
