//! Download checkpoints and data files from the Hugging Face hub into its standard cache.
//!
//! The layout of the cache (`blobs`, `snapshots`, `refs`, `.no_exist`) is that of Python's `huggingface_hub`, so
//! files fetched by either are used by both. A snapshot that is complete is used without a request; name a
//! revision, or delete the entry in `refs`, to see whether a branch has moved. Sizes are checked, and for large
//! files the SHA-256 that names them.
//!
//! ```
//! use hub::{Hub, Id, Settings};
//!
//! let id: Id = "Qwen/Qwen2.5-0.5B@main".parse()?;
//! let cache = std::env::temp_dir().join("hub-example-without-files");
//! let hub = Hub::new(Settings { cache, offline: true, ..Settings::from_env() })?;
//! // Online this downloads what is missing and returns the snapshot's folder.
//! let error = hub.checkpoint(&id, &mut |_progress| ()).unwrap_err();
//! assert!(error.to_string().contains("offline"));
//! # Ok::<(), hub::Error>(())
//! ```
//!
//! The crate knows no model and no terminal; of file formats it knows the names of a checkpoint's files and the
//! index of shards.

mod download;
mod error;
mod id;
mod settings;
mod snapshot;

use std::path::PathBuf;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, RepoType};
use snapshot::Need;

pub use common::{Error, Result};
pub use id::{DataFile, Id};
pub use settings::Settings;

/// DownloadProgress of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadProgress<'a> {
    /// The file's path in its repository.
    pub file: &'a str,
    /// Bytes on disk.
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

    /// The folder of a checkpoint: `config.json`, its weights, and those of tokenizer, chat template and generation
    /// settings that the repository has. Downloads what is not in the cache and calls `progress` for every piece.
    /// Offline the folder is used as it is where it has `config.json` and all weights.
    ///
    /// # Errors
    /// Offline: `config.json` or weights are not in the cache; the message names file and cache. Else: the hub
    /// cannot be reached or refuses, the repository is no checkpoint with safetensors, or a file is not complete.
    pub fn checkpoint(&self, id: &Id, progress: &mut dyn FnMut(DownloadProgress)) -> Result<PathBuf> {
        let need = if self.settings.offline { Need::Config } else { Need::All };
        let missing = match snapshot::checkpoint(&self.settings.cache, id, need) {
            Ok(folder) => return Ok(folder),
            Err(missing) => missing,
        };
        if self.settings.offline {
            return Err(self.absent(&id.to_string(), &missing));
        }
        self.fetch_checkpoint(id, progress).map_err(|e| {
            match snapshot::checkpoint(&self.settings.cache, id, Need::Config) {
                Ok(_) if e.is_input() => Error::input(format!(
                    "{e}; the cache has its configuration and weights: --offline or HF_HUB_OFFLINE=1 takes them"
                )),
                _ => e,
            }
        })
    }

    /// The path of a file of a data set, checked against its checksum if one is given.
    ///
    /// # Errors
    /// As [`Hub::checkpoint`], and another checksum.
    pub fn data_file(&self, file: &DataFile, progress: &mut dyn FnMut(DownloadProgress)) -> Result<PathBuf> {
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
