//! SHA-256 of files and checkpoints, by which results name their inputs.

use std::path::{Path, PathBuf};

use common::Error;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::options::Result;

/// SHA-256 of a file's bytes, in lower-case hex.
pub(crate) fn file_hash(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    std::io::copy(&mut file, &mut hash).map_err(|e| Error::io(path, e))?;
    Ok(format!("{:x}", hash.finalize()))
}

/// SHA-256 over names and contents of the files in `dir` whose name is `wanted`.
fn folder_hash(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let mut names: Vec<String> =
        entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|name| wanted(name)).collect();
    names.sort();
    let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    let hashes = paths.par_iter().map(|path| file_hash(path)).collect::<Result<Vec<_>>>()?;
    let mut hash = Sha256::new();
    for (name, of) in names.iter().zip(hashes) {
        hash.update(format!("{name} {of}\n"));
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// The hash of a checkpoint's or an adapter's weights and configuration: of contents, not of the path.
pub(crate) fn model_hash(dir: &Path) -> Result<String> {
    folder_hash(dir, |name| {
        name.ends_with(".safetensors") || name == "config.json" || name == "adapter_config.json"
    })
}

/// The hash of what makes a prompt's tokens: tokenizer, chat template, stop tokens.
pub(crate) fn tokenizer_hash(dir: &Path) -> Result<String> {
    const FILES: [&str; 4] =
        ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"];
    folder_hash(dir, |name| FILES.contains(&name))
}
