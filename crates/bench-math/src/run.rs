//! A run: samples of a suite, one JSON line each, appended as they are made. An interrupted run resumes; a finished
//! sample is never made twice. The model is a closure here.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::problem::Problem;
use crate::protocol::{Protocol, Stored};
use crate::record::{PendingSample, Record, Sample};
use common::{Error, Result};
use math_grade::{extract, grade};

const SAMPLES: &str = "samples.jsonl";
const PROTOCOL: &str = "protocol.json";

/// An open run folder: records in `samples.jsonl`, the protocol in `protocol.json`. One process has it open at a
/// time.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    file: File,
    protocol: Protocol,
    problems: Vec<Problem>,
    finished: HashMap<(String, usize), Record>,
}

impl Run {
    /// Opens the folder `dir`, or makes it. A last line that was cut off by a crash is dropped.
    ///
    /// # Errors
    /// The folder holds a run of another model, suite or protocol (the message says what differs), or cannot be read
    /// or written; a record is malformed; another process has the run open; `protocol.samples` is 0.
    pub fn open(dir: impl AsRef<Path>, problems: Vec<Problem>, protocol: Protocol) -> Result<Run> {
        Self::open_with(dir.as_ref(), problems, protocol, false)
    }

    /// Opens the folder `dir` as [`open`](Self::open), where the reference answers may have changed, and grades every
    /// record again.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn regrade(dir: impl AsRef<Path>, problems: Vec<Problem>, protocol: Protocol) -> Result<Run> {
        let dir = dir.as_ref();
        let mut run = Self::open_with(dir, problems.clone(), protocol.clone(), true)?;
        let answers: HashMap<&str, &str> = problems.iter().map(|p| (&*p.id, &*p.answer)).collect();
        for record in run.finished.values_mut() {
            record.verdict = grade(answers[&*record.id], &record.completion);
        }
        let mut lines = String::new();
        for problem in &run.problems {
            let mut records: Vec<&Record> = run.finished.values().filter(|r| r.id == problem.id).collect();
            records.sort_by_key(|r| r.sample);
            for record in records {
                lines += &serde_json::to_string(record).map_err(Error::internal)?;
                lines.push('\n');
            }
        }
        common::write_whole(run.path(), lines.as_bytes())?;
        Stored::new(&protocol, &problems)?.write(&dir.join(PROTOCOL))?;
        run.file = locked(&run.path())?;
        Ok(run)
    }

    fn open_with(dir: &Path, problems: Vec<Problem>, protocol: Protocol, other_answers: bool) -> Result<Run> {
        if protocol.samples == 0 {
            return Err(Error::input("samples: expected at least 1"));
        }
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join(SAMPLES);
        let file = locked(&path)?;
        let stored = Stored::new(&protocol, &problems)?;
        let begun = std::fs::metadata(&path).is_ok_and(|m| m.len() > 0);
        if begun && dir.join(PROTOCOL).exists() {
            stored.check(&dir.join(PROTOCOL), other_answers)?;
        } else if begun {
            return Err(Error::at(
                &path,
                "has samples, and there is no protocol.json beside it; name another folder",
            ));
        } else {
            stored.write(&dir.join(PROTOCOL))?;
        }
        let known: HashSet<&str> = problems.iter().map(|p| p.id.as_str()).collect();
        let mut finished = HashMap::new();
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let text = std::str::from_utf8(&bytes[..whole]).map_err(|e| Error::line(&path, 1, e))?;
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let record: Record = serde_json::from_str(line)
                .map_err(|e| Error::line(&path, i + 1, format!("expected a record: {e}")))?;
            if !known.contains(record.id.as_str()) {
                let what = format!("field \"id\": {:?} is no problem of this suite", record.id);
                return Err(Error::line(&path, i + 1, what));
            }
            finished.entry((record.id.clone(), record.sample)).or_insert(record);
        }
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(|e| Error::io(&path, e))?;
        }
        Ok(Run { dir: dir.to_owned(), file, protocol, problems, finished })
    }

    fn path(&self) -> PathBuf {
        self.dir.join(SAMPLES)
    }

    /// The samples that are still to be made: sample 0 of every problem first, then sample 1, …
    pub fn pending(&self) -> Vec<PendingSample> {
        let mut out = Vec::new();
        for sample in 0..self.protocol.samples {
            for (at, problem) in self.problems.iter().enumerate() {
                if !self.finished.contains_key(&(problem.id.clone(), sample)) {
                    out.push(self.request(at, problem, sample));
                }
            }
        }
        out
    }

    fn request(&self, at: usize, problem: &Problem, sample: usize) -> PendingSample {
        let digest = Sha256::new()
            .chain_update(self.protocol.seed.to_le_bytes())
            .chain_update((sample as u64).to_le_bytes())
            .chain_update(&problem.id)
            .finalize();
        let seed = u64::from_le_bytes(digest[..8].try_into().unwrap_or_default());
        PendingSample {
            id: problem.id.clone(),
            problem: at,
            sample,
            seed,
            prompt: self.protocol.prompt.render(&problem.problem),
        }
    }

    /// Grades a sample and appends its record, flushed to the system before this returns.
    ///
    /// # Errors
    /// The request is of no problem of this run, or already finished; the file cannot be written.
    pub fn append(&mut self, request: &PendingSample, sample: Sample) -> Result<&Record> {
        let problem = self.problems.iter().find(|p| p.id == request.id);
        let problem = problem
            .ok_or_else(|| Error::input(format!("request {:?} is of no problem of this run", request.id)))?;
        let key = (request.id.clone(), request.sample);
        if self.finished.contains_key(&key) {
            return Err(Error::input(format!(
                "sample {} of {:?} is already finished",
                request.sample, request.id
            )));
        }
        let extraction = extract(&sample.completion);
        let record = Record {
            id: request.id.clone(),
            sample: request.sample,
            seed: request.seed,
            prompt: request.prompt.clone(),
            verdict: grade(&problem.answer, &sample.completion),
            answer: extraction.answer,
            cut_off: extraction.truncated,
            completion: sample.completion,
            ids: sample.ids,
            finish: sample.finish,
        };
        let mut line = serde_json::to_string(&record).map_err(Error::internal)?;
        line.push('\n');
        // One write, so that a line is whole or the file's last.
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.flush())
            .map_err(|e| Error::io(self.path(), e))?;
        Ok(self.finished.entry(key).or_insert(record))
    }

    /// Makes every pending sample by `model` and appends the records; ends early where `stop` returns true before a
    /// sample.
    ///
    /// # Errors
    /// As [`Run::append`].
    pub fn complete(
        &mut self,
        mut model: impl FnMut(&PendingSample) -> Sample,
        mut stop: impl FnMut() -> bool,
    ) -> Result<()> {
        for request in self.pending() {
            if stop() {
                break;
            }
            let sample = model(&request);
            self.append(&request, sample)?;
        }
        self.file.sync_data().map_err(|e| Error::io(self.path(), e))
    }

    /// All finished records, by problem (in the suite's order), then by sample.
    pub fn records(&self) -> Vec<&Record> {
        let mut out = Vec::with_capacity(self.finished.len());
        for problem in &self.problems {
            out.extend(
                (0..self.protocol.samples).filter_map(|s| self.finished.get(&(problem.id.clone(), s))),
            );
        }
        out
    }

    /// The problems of this run.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// Opens the samples to append to, and locks them until the file is closed. A file system without locks is accepted.
fn locked(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(|e| Error::io(path, e))?;
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Error::at(path, "another process is at work on this run"))
        }
        _ => Ok(file),
    }
}
