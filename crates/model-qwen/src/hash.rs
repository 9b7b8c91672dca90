//! Hashes of checkpoints, by which results name their model.

use std::path::Path;

use common::folder_hash;

use crate::Error;

/// The hash of a checkpoint's or an adapter's weights and configuration: of contents, not of the path. SHA-256,
/// in lower-case hex.
///
/// # Errors
/// A folder that cannot be read.
pub fn model_hash(dir: &Path) -> Result<String, Error> {
    folder_hash(dir, |name| {
        name.ends_with(".safetensors") || name == "config.json" || name == "adapter_config.json"
    })
}

/// The hash of what makes a prompt's tokens: tokenizer, chat template, stop tokens.
///
/// # Errors
/// As [`model_hash`].
pub fn tokenizer_hash(dir: &Path) -> Result<String, Error> {
    const FILES: [&str; 4] =
        ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"];
    folder_hash(dir, |name| FILES.contains(&name))
}
