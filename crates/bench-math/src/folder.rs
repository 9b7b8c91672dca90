//! The files of a run folder: `samples.jsonl` of a whole run, and one file for each shard that is at work on it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use common::{Error, Result, Shard};

use crate::record::Record;

/// The samples of a whole run.
pub(crate) const SAMPLES: &str = "samples.jsonl";
/// The protocol, with hashes of the suite.
pub(crate) const PROTOCOL: &str = "protocol.json";
/// The ids of the problems in order, beside the samples of shards.
pub(crate) const PROBLEMS: &str = "problems.json";

/// A file of samples: a shard's, or that of the whole run.
#[derive(Clone, Debug)]
pub(crate) struct SampleFile {
    pub(crate) path: PathBuf,
    pub(crate) shard: Option<Shard>,
}

impl SampleFile {
    /// The file in `dir` that a process writes.
    pub(crate) fn of(dir: &Path, shard: Option<Shard>) -> Self {
        let name = match shard {
            Some(Shard { index, count }) => format!("samples-{index}-of-{count}.jsonl"),
            None => SAMPLES.to_owned(),
        };
        Self { path: dir.join(name), shard }
    }

    /// All files of samples in `dir`, that of the whole run first.
    pub(crate) fn all(dir: &Path) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
            let entry = entry.map_err(|e| Error::io(dir, e))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name == SAMPLES {
                found.push(Self { path: entry.path(), shard: None });
            } else if let Some(shard) = shard_of(name) {
                found.push(Self { path: entry.path(), shard: Some(shard) });
            }
        }
        found.sort_by_key(|file| file.shard);
        Ok(found)
    }

    /// Opens the file to append to, and locks it until it is closed. A file system without locks is accepted.
    pub(crate) fn open(&self) -> Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        let file = file.map_err(|e| Error::io(&self.path, e))?;
        self.unlocked(file.try_lock())?;
        Ok(file)
    }

    /// Checks that no process is at work on the file.
    pub(crate) fn check_idle(&self) -> Result<()> {
        let file = File::open(&self.path).map_err(|e| Error::io(&self.path, e))?;
        self.unlocked(file.try_lock_shared())
    }

    fn unlocked(&self, tried: std::result::Result<(), TryLockError>) -> Result<()> {
        match tried {
            Err(TryLockError::WouldBlock) => {
                Err(Error::at(&self.path, "another process is at work on this run"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        std::fs::metadata(&self.path).map_or(true, |of| of.len() == 0)
    }

    /// The records in the file with their lines, from 1, and how many bytes its whole lines have: a last line may be cut off, or not yet whole.
    pub(crate) fn read(&self) -> Result<(Vec<(usize, Record)>, usize)> {
        let path = &self.path;
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let text = std::str::from_utf8(&bytes[..whole]).map_err(|e| Error::line(path, 1, e))?;
        let mut records = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = serde_json::from_str(line)
                .map_err(|e| Error::line(path, i + 1, format!("expected a record: {e}")))?;
            records.push((i + 1, record));
        }
        Ok((records, whole))
    }
}

/// The shard that a file name gives.
fn shard_of(name: &str) -> Option<Shard> {
    let (index, count) = name.strip_prefix("samples-")?.strip_suffix(".jsonl")?.split_once("-of-")?;
    let shard = Shard { index: index.parse().ok()?, count: count.parse().ok()? };
    (shard.index < shard.count).then_some(shard)
}

/// Records as lines, problem by problem in the order of `ids`, and by sample.
pub(crate) fn lines<'a>(
    ids: impl Iterator<Item = &'a str>,
    records: impl Iterator<Item = &'a Record>,
) -> Result<String> {
    let place: std::collections::HashMap<&str, usize> = ids.enumerate().map(|(at, id)| (id, at)).collect();
    let mut records: Vec<&Record> = records.collect();
    records.sort_by_key(|record| (place.get(&*record.id).copied(), record.sample));
    let mut lines = String::new();
    for record in records {
        lines += &serde_json::to_string(record).map_err(Error::internal)?;
        lines.push('\n');
    }
    Ok(lines)
}
