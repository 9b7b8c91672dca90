//! Joining the run folders of shards into the folder of one run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::{Error, Result, Shard};

use crate::folder::{PROBLEMS, PROTOCOL, SAMPLES, SampleFile, lines};
use crate::protocol::Stored;
use crate::record::Record;

/// A run that was made of shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Number of problems.
    pub problems: usize,
    /// The records, by problem and sample.
    pub records: Vec<Record>,
}

/// Joins the samples in run folders of shards ([`Run::open_shard`](crate::Run::open_shard)) into the new run folder
/// `out`, with the bytes that one process leaves there.
///
/// # Errors
/// Shards of another model, suite or protocol; a missing or repeated shard; a missing sample, or one in two folders;
/// folders that are not of shards, or that a process is at work on; something in `out`.
pub fn merge(dirs: &[PathBuf], out: &Path) -> Result<Merged> {
    if out.exists() && std::fs::read_dir(out).map_err(|e| Error::io(out, e))?.next().is_some() {
        return Err(Error::at(out, "is not empty, expected a new folder"));
    }
    let first = dirs.first().ok_or_else(|| Error::input("no run folders given"))?;
    let protocol = first.join(PROTOCOL);
    let stored = Stored::read(&protocol)?;
    let ids: Vec<String> = read_ids(first)?;
    let mut shards: Vec<(Shard, String)> = Vec::new();
    let mut files = Vec::new();
    let mut found: HashMap<(String, usize), (&Path, Record)> = HashMap::new();
    for dir in dirs {
        read_ids(dir)?;
        let differ = stored.differences(&Stored::read(&dir.join(PROTOCOL))?, &[]);
        if !differ.is_empty() {
            return Err(Error::at(
                dir.join(PROTOCOL),
                format!("a run of something else than that in {}: {}", first.display(), differ.join(", ")),
            ));
        }
        for file in SampleFile::all(dir)? {
            file.check_idle()?;
            shards.extend(file.shard.map(|shard| (shard, file.path.display().to_string())));
            files.push((dir, file));
        }
    }
    // In one folder there may be the files of earlier shards, of another number.
    if dirs.len() > 1 {
        Shard::check_all(&shards)?;
    }
    for (dir, file) in files {
        for (_, record) in file.read()?.0 {
            let key = (record.id.clone(), record.sample);
            match found.get(&key) {
                Some((other, _)) if other != dir => {
                    let what =
                        format!("sample {} of problem {:?} is in {}, too", key.1, key.0, other.display());
                    return Err(Error::at(&file.path, what));
                }
                Some(_) => {}
                None => drop(found.insert(key, (dir, record))),
            }
        }
    }
    check_whole(&ids, stored.samples(), &shards, |key| found.contains_key(key))?;
    let mut records: Vec<Record> = found.into_values().map(|(_, record)| record).collect();
    let text = lines(ids.iter().map(String::as_str), records.iter())?;
    common::make_folder(out)?;
    common::write_whole(out.join(PROTOCOL), common::read_text(&protocol)?.as_bytes())?;
    common::write_whole(out.join(SAMPLES), text.as_bytes())?;
    let place: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (&**id, at)).collect();
    records.sort_by_key(|record| (place.get(&*record.id).copied(), record.sample));
    Ok(Merged { problems: ids.len(), records })
}

/// The ids of the problems.
fn read_ids(dir: &Path) -> Result<Vec<String>> {
    let path = dir.join(PROBLEMS);
    if !path.exists() {
        return Err(Error::at(dir, format!("no {PROBLEMS}, expected a run folder of `eval --shard`")));
    }
    serde_json::from_str(&common::read_text(&path)?).map_err(|e| Error::line(&path, e.line(), e))
}

/// Checks that no sample is missing.
fn check_whole(
    ids: &[String],
    samples: usize,
    shards: &[(Shard, String)],
    has: impl Fn(&(String, usize)) -> bool,
) -> Result<()> {
    let mut missing = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        missing.extend((0..samples).filter(|sample| !has(&(id.clone(), *sample))).map(|_| at));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let count = shards.iter().map(|(shard, _)| shard.count).max().unwrap_or(1);
    let mut of: Vec<usize> = missing.iter().map(|at| at % count).collect();
    of.sort_unstable();
    of.dedup();
    let of: Vec<String> = of.into_iter().map(|index| Shard { index, count }.to_string()).collect();
    let (n, all) = (missing.len(), ids.len() * samples);
    Err(Error::input(format!("{n} of {all} samples are missing, those of shards {}", of.join(", "))))
}
