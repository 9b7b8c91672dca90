//! Files of the Hugging Face hub, in its standard cache: the layout (`blobs`, `snapshots`, `refs`, `.no_exist`)
//! is that of Python's `huggingface_hub`, and the two share what they have fetched.
//!
//! A snapshot that is whole is used without asking the hub; to see whether a branch has moved, name the revision
//! or delete the entry in `refs`. What is fetched is checked: its size, and for large files the SHA-256 that the
//! hub names them by. No model is known here, no terminal, and nothing of what the files mean but the names that
//! a checkpoint consists of.

mod download;
mod error;
mod id;
mod settings;
mod snapshot;

use std::path::PathBuf;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, RepoType};

pub use common::{Error, Result};
pub use id::{DataFile, Id};
pub use settings::Settings;

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's path in its repository.
    pub file: &'a str,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// The hub and its cache.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    api: Api,
}

impl Hub {
    /// A client with these settings. Nothing is asked yet.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(settings: Settings) -> Result<Self> {
        // hf-hub compares the paths that it makes, which must be absolute.
        let cache = std::path::absolute(&settings.cache).map_err(|e| Error::io(&settings.cache, e))?;
        let settings = Settings { cache, ..settings };
        let api = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.clone())
            .with_progress(false)
            .with_user_agent("thinking-sparks", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| Error::input(format!("the hub's client: {e}")))?;
        Ok(Self { settings, api })
    }

    /// The folder of a checkpoint, with `config.json`, its weights, and of tokenizer, chat template and generation
    /// settings what the repository has. Fetches what is not in the cache; `progress` is told of every piece.
    ///
    /// # Errors
    /// Offline: something is not in the cache; the message says what and where. Else: the hub cannot be reached or
    /// refuses, the repository is no checkpoint with safetensors, or a file did not come whole.
    pub fn checkpoint(&self, id: &Id, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf> {
        let missing = match snapshot::checkpoint(&self.settings.cache, id) {
            Ok(folder) => return Ok(folder),
            Err(missing) => missing,
        };
        if self.settings.offline {
            return Err(self.absent(&id.to_string(), &missing));
        }
        self.fetch_checkpoint(id, progress)
    }

    /// The path of a file of a data set, checked against its checksum if one is given.
    ///
    /// # Errors
    /// As [`Hub::checkpoint`], and another checksum.
    pub fn data_file(&self, file: &DataFile, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf> {
        let folder = snapshot::folder(&self.settings.cache, RepoType::Dataset, &file.id);
        let cached = folder.map(|f| f.join(&file.path)).filter(|path| path.is_file());
        let path = match cached {
            Some(path) => path,
            None if self.settings.offline => return Err(self.absent(&file.to_string(), &file.path)),
            None => self.fetch_data_file(file, progress)?,
        };
        if let Some(expected) = &file.sha256 {
            let found = download::sha256(&path)?;
            if found != *expected {
                return Err(Error::input(format!(
                    "{file}: expected sha256 {expected}, found {found} in {}",
                    path.display()
                )));
            }
        }
        Ok(path)
    }

    fn absent(&self, what: &str, missing: &str) -> Error {
        Error::input(format!(
            "{what}: offline, and {missing} is not in the cache {}; fetch it once without --offline and \
             HF_HUB_OFFLINE, or give a folder",
            self.settings.cache.display()
        ))
    }
}
