//! SHA-256 of files and checkpoints, as results name their inputs.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::Error;
use model_qwen::Checkpoint;
use sha2::{Digest, Sha256};

use crate::options::Result;

/// SHA-256 in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 of a file's bytes.
pub(crate) fn file_hash(path: &Path) -> Result<String> {
    Ok(sha256(&std::fs::read(path).map_err(|e| Error::io(path, e))?))
}

/// A name for a checkpoint: the hash of its configuration and of its weight files' names, sizes and first
/// megabytes.
pub(crate) fn model_hash(checkpoint: &Checkpoint) -> Result<String> {
    let mut hash = Sha256::new();
    let dir = checkpoint.dir();
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    let wanted =
        |p: &&PathBuf| p.extension().is_some_and(|e| e == "safetensors") || p.ends_with("config.json");
    for path in paths.iter().filter(wanted) {
        let failed = |e| Error::io(path, e);
        let mut file = std::fs::File::open(path).map_err(failed)?;
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(file.metadata().map_err(failed)?.len().to_le_bytes());
        // The first megabytes tell the checkpoints of one training run apart; the whole would take seconds.
        let mut head = Vec::new();
        file.by_ref().take(1 << 22).read_to_end(&mut head).map_err(failed)?;
        hash.update(&head);
    }
    Ok(hex(&hash.finalize()))
}
