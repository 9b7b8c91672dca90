//! Downloads: all files of one snapshot from one commit, each checked. The revision's entry in `refs` is written
//! when all files are there.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiRepo;
use hf_hub::{Repo, RepoType};
use sha2::{Digest, Sha256};

use crate::error::status;
use crate::id::{DataFile, Id};
use crate::snapshot::{BESIDE, INDEX, WEIGHTS, is_commit, repository, shards};
use crate::{DownloadProgress, Hub};
use crate::{Error, Result};

/// Reports the client's progress, and keeps the size that the hub gave.
struct Told<'a> {
    file: &'a str,
    done: u64,
    total: &'a mut u64,
    tell: &'a mut dyn FnMut(DownloadProgress),
}

impl hf_hub::api::Progress for Told<'_> {
    fn init(&mut self, size: usize, _: &str) {
        *self.total = size as u64;
        self.done = 0;
        self.update(0);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        (self.tell)(DownloadProgress { file: self.file, done: self.done, total: *self.total });
    }

    fn finish(&mut self) {}
}

/// A repository at the commit that its revision is now.
struct At<'h> {
    hub: &'h Hub,
    repo: ApiRepo,
    name: String,
    folder: PathBuf,
    commit: String,
    files: Vec<String>,
}

impl Hub {
    pub(crate) fn fetch_checkpoint(
        &self,
        id: &Id,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<PathBuf> {
        let at = self.at(RepoType::Model, id)?;
        let has = |name: &str| at.files.iter().any(|f| f == name);
        if !has(BESIDE[0]) {
            return Err(Error::input(format!("{id}: has no config.json, expected a checkpoint of a model")));
        }
        for name in BESIDE {
            if has(name) {
                at.get(name, progress)?;
            } else {
                at.mark_absent(name)?;
            }
        }
        if has(WEIGHTS) {
            at.get(WEIGHTS, progress)?;
        } else if has(INDEX) {
            for shard in shards(&at.get(INDEX, progress)?)? {
                at.get(&shard, progress)?;
            }
        } else {
            return Err(Error::input(format!("{id}: has neither {WEIGHTS} nor {INDEX}")));
        }
        at.finish(id)
    }

    pub(crate) fn fetch_data_file(
        &self,
        file: &DataFile,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<PathBuf> {
        let at = self.at(RepoType::Dataset, &file.id)?;
        if !at.files.contains(&file.path) {
            return Err(Error::input(format!("{file}: the data set has no such file")));
        }
        at.get(&file.path, progress)?;
        Ok(at.finish(&file.id)?.join(&file.path))
    }

    /// Asks which commit a revision is and which files it has.
    fn at(&self, kind: RepoType, id: &Id) -> Result<At<'_>> {
        let settings = &self.settings;
        let asked = self.api.repo(Repo::with_revision(id.repo.clone(), kind, id.revision.clone()));
        let info = asked.info().map_err(|e| {
            crate::error::client(&id.to_string(), &settings.endpoint, settings.token.is_some(), &e)
        })?;
        if !is_commit(&info.sha) {
            return Err(Error::input(format!("{id}: the hub gave no commit but {:?}", info.sha)));
        }
        Ok(At {
            hub: self,
            repo: self.api.repo(Repo::with_revision(id.repo.clone(), kind, info.sha.clone())),
            name: id.to_string(),
            folder: repository(&settings.cache, kind, id),
            commit: info.sha,
            files: info.siblings.into_iter().map(|s| s.rfilename).collect(),
        })
    }
}

impl At<'_> {
    fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.commit)
    }

    /// The path of a file, fetched if it is not there. An interrupted download goes on where it stopped.
    fn get(&self, name: &str, progress: &mut dyn FnMut(DownloadProgress)) -> Result<PathBuf> {
        let path = self.snapshot().join(name);
        if path.is_file() {
            return Ok(path);
        }
        let settings = &self.hub.settings;
        let (mut size, what) = (0, format!("{}/{name}", self.name));
        let mut download = || {
            let told = Told { file: name, done: 0, total: &mut size, tell: progress };
            self.repo.download_with_progress(name, told)
        };
        let mut done = download();
        // A download that was stopped after its last byte asks for the bytes after it.
        if done.as_ref().is_err_and(|e| status(e) == Some(416)) {
            self.remove_parts();
            done = download();
        }
        let path =
            done.map_err(|e| crate::error::client(&what, &settings.endpoint, settings.token.is_some(), &e))?;
        self.check(&path, size).map_err(|why| {
            // Remove the link and the blob that it points to.
            let blob = std::fs::canonicalize(&path);
            let _ = std::fs::remove_file(&path);
            let _ = blob.map(std::fs::remove_file);
            Error::input(format!("{what}: {why}; it was removed, try again"))
        })?;
        Ok(path)
    }

    /// Removes the beginnings of files that were not finished.
    fn remove_parts(&self) {
        let Ok(entries) = std::fs::read_dir(self.folder.join("blobs")) else { return };
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            if path.extension().is_some_and(|e| e == "part") {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// A blob has the size that the hub gave; a large file's is named by its SHA-256.
    fn check(&self, path: &Path, size: u64) -> std::result::Result<(), String> {
        let blob = std::fs::canonicalize(path).map_err(|e| e.to_string())?;
        let found = blob.metadata().map_err(|e| e.to_string())?.len();
        if found != size {
            return Err(format!("expected {size} bytes, found {found}"));
        }
        let name = blob.file_name().unwrap_or_default().to_string_lossy();
        if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
            let found = sha256(&blob).map_err(|e| e.to_string())?;
            if found != *name {
                return Err(format!("expected sha256 {name}, found {found}"));
            }
        }
        Ok(())
    }

    /// Remembers that the repository has no such file.
    fn mark_absent(&self, name: &str) -> Result<()> {
        let mark = self.folder.join(".no_exist").join(&self.commit).join(name);
        let folder = mark.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        std::fs::write(&mark, "").map_err(|e| Error::io(&mark, e))
    }

    /// Writes to `refs` which commit the revision is, now that all files are there.
    fn finish(&self, id: &Id) -> Result<PathBuf> {
        let refs = self.folder.join("refs");
        // The client has made one for the commit itself, which Python does not.
        let _ = std::fs::remove_file(refs.join(&self.commit));
        if !is_commit(&id.revision) {
            let entry = refs.join(&id.revision);
            let folder = entry.parent().unwrap_or(&refs);
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            common::write_whole(&entry, self.commit.as_bytes())?;
        }
        Ok(self.snapshot())
    }
}

/// The SHA-256 of a file, lower-case hex.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer).map_err(|e| Error::io(path, e))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
