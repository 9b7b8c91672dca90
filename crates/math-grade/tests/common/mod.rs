//! The shared test data, for tests that are ignored unless asked for.

use std::path::{Path, PathBuf};

/// A file of `$SPARKS_SHARED/data` or `../shared/data`.
pub(crate) fn shared(name: &str) -> PathBuf {
    let shared = std::env::var_os("SPARKS_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = shared.join("data").join(name);
    assert!(path.exists(), "no {}; set SPARKS_SHARED", path.display());
    path
}
