//! The cache on disk: the commit of a revision, and whether the snapshot of a checkpoint is complete.

use std::path::{Path, PathBuf};

use hf_hub::{Repo, RepoType};

use crate::id::Id;
use crate::{Error, Result};

/// Files of a checkpoint beside its weights; the first is there in every one.
pub(crate) const BESIDE: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
];
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The cache's folder of a repository.
pub(crate) fn repository(cache: &Path, kind: RepoType, id: &Id) -> PathBuf {
    cache.join(Repo::new(id.repo.clone(), kind).folder_name())
}

/// Whether a revision names a commit outright.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The snapshot that a revision is, whole or not, if the cache has one.
pub(crate) fn folder(cache: &Path, kind: RepoType, id: &Id) -> Option<PathBuf> {
    let repository = repository(cache, kind, id);
    let commit = if is_commit(&id.revision) {
        id.revision.clone()
    } else {
        std::fs::read_to_string(repository.join("refs").join(&id.revision)).ok()?.trim().to_string()
    };
    Some(repository.join("snapshots").join(commit)).filter(|folder| folder.is_dir())
}

/// Which files beside the weights a snapshot must have to be used as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// `config.json` only: what is not in the cache cannot be fetched.
    Config,
    /// Every file that the repository may have, or the mark that it has none.
    All,
}

/// The folder of a checkpoint in the cache with all its weights and what `need` asks for, or what is missing.
pub(crate) fn checkpoint(cache: &Path, id: &Id, need: Need) -> std::result::Result<PathBuf, String> {
    let folder = folder(cache, RepoType::Model, id).ok_or_else(|| format!("{} at this revision", id.repo))?;
    let commit = folder.file_name().unwrap_or_default();
    // A file that the repository does not have leaves an empty mark. Python's tools make one for files that they
    // asked for, and `hf download` makes none.
    let marks = repository(cache, RepoType::Model, id).join(".no_exist").join(commit);
    let have = |name: &str| folder.join(name).is_file();
    let beside = if need == Need::All { &BESIDE[..] } else { &BESIDE[..1] };
    if let Some(name) = beside.iter().find(|name| !have(name) && !marks.join(name).exists()) {
        return Err((*name).into());
    }
    if have(WEIGHTS) {
        return Ok(folder);
    }
    if !have(INDEX) {
        return Err(WEIGHTS.into());
    }
    let shards = shards(&folder.join(INDEX)).map_err(|e| e.to_string())?;
    match shards.into_iter().find(|name| !have(name)) {
        Some(name) => Err(name),
        None => Ok(folder),
    }
}

/// The files that an index names, each once.
pub(crate) fn shards(index: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(index).map_err(|e| Error::io(index, e))?;
    let bad = |why: &str| Error::input(format!("{}: {why}", index.display()));
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| bad(&e.to_string()))?;
    let map = value["weight_map"].as_object().ok_or_else(|| bad("field `weight_map`: expected an object"))?;
    let mut names = std::collections::BTreeSet::new();
    for name in map.values() {
        let name = name.as_str().filter(|n| n.ends_with(".safetensors") && !n.contains(['/', '\\']));
        names.insert(name.ok_or_else(|| bad("field `weight_map`: expected names of files"))?.to_string());
    }
    Ok(names.into_iter().collect())
}
