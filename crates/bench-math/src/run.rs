//! A run: samples of a suite, one JSON line each, appended as they are made. An interrupted run resumes; a finished
//! sample is never made twice. The model is a closure here.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::folder::{PROBLEMS, PROTOCOL, SampleFile, lines};
use crate::problem::Problem;
use crate::protocol::{Protocol, Stored};
use crate::record::{PendingSample, Record, Sample};
use common::{Error, Result, Shard};
use math_grade::{extract, grade};

/// An open run folder: records in `samples.jsonl`, the protocol in `protocol.json`. One process has it open at a
/// time; or several have, each a shard of the problems with a file of its own, `samples-I-of-N.jsonl`.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    own: SampleFile,
    file: File,
    protocol: Protocol,
    problems: Vec<Problem>,
    finished: HashMap<(String, usize), Record>,
}

impl Run {
    /// Opens the folder `dir`, or makes it. A last line that was cut off by a crash is dropped. Samples that shards
    /// made are the run's.
    ///
    /// # Errors
    /// The folder holds a run of another model, suite or protocol (the message says what differs), or cannot be read
    /// or written; a record is malformed; another process has the run open; `protocol.samples` is 0.
    pub fn open(dir: impl AsRef<Path>, problems: Vec<Problem>, protocol: Protocol) -> Result<Run> {
        Self::open_with(dir.as_ref(), problems, protocol, Opening::Whole)
    }

    /// Opens the folder `dir`, or makes it, to make the samples of one shard of the problems. Other shards may have it
    /// open, too.
    ///
    /// # Errors
    /// As [`open`](Self::open); the same shard is open, or the whole run.
    pub fn open_shard(
        dir: impl AsRef<Path>,
        problems: Vec<Problem>,
        protocol: Protocol,
        shard: Shard,
    ) -> Result<Run> {
        Self::open_with(dir.as_ref(), problems, protocol, Opening::Shard(shard))
    }

    /// Opens the folder `dir` as [`open`](Self::open), where the reference answers may have changed, and grades every
    /// record again.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn regrade(dir: impl AsRef<Path>, problems: Vec<Problem>, protocol: Protocol) -> Result<Run> {
        let dir = dir.as_ref();
        let mut run = Self::open_with(dir, problems.clone(), protocol.clone(), Opening::OtherAnswers)?;
        let answers: HashMap<&str, &str> = problems.iter().map(|p| (&*p.id, &*p.answer)).collect();
        for record in run.finished.values_mut() {
            record.verdict = grade(answers[&*record.id], &record.completion);
        }
        run.put_in_order()?;
        Stored::new(&protocol, &problems)?.write(&dir.join(PROTOCOL))?;
        Ok(run)
    }

    fn open_with(dir: &Path, problems: Vec<Problem>, protocol: Protocol, how: Opening) -> Result<Run> {
        if protocol.samples == 0 {
            return Err(Error::input("samples: expected at least 1"));
        }
        common::make_folder(dir)?;
        let shard = if let Opening::Shard(shard) = how { Some(shard) } else { None };
        let own = SampleFile::of(dir, shard);
        let file = own.open()?;
        if let Err(e) = begin(dir, shard, how == Opening::OtherAnswers, &Stored::new(&protocol, &problems)?) {
            if shard.is_some() && own.is_empty() {
                let _ = std::fs::remove_file(&own.path);
            }
            return Err(e);
        }
        if shard.is_some() {
            let ids: Vec<&str> = problems.iter().map(|p| p.id.as_str()).collect();
            let ids = serde_json::to_string(&ids).map_err(Error::internal)?;
            common::write_new(dir.join(PROBLEMS), format!("{ids}\n").as_bytes())?;
        }
        let mut run = Run { dir: dir.to_owned(), own, file, protocol, problems, finished: HashMap::new() };
        let whole = run.read()?;
        if std::fs::metadata(&run.own.path).is_ok_and(|of| of.len() > whole as u64) {
            run.file.set_len(whole as u64).map_err(|e| Error::io(&run.own.path, e))?;
        }
        Ok(run)
    }

    /// Reads the records of all files, and returns how many bytes whole lines have in one's own.
    fn read(&mut self) -> Result<usize> {
        let known: HashSet<&str> = self.problems.iter().map(|p| p.id.as_str()).collect();
        let mut own = 0;
        for file in SampleFile::all(&self.dir)? {
            let (records, whole) = file.read()?;
            if file.path == self.own.path {
                own = whole;
            }
            for (line, record) in records {
                if !known.contains(record.id.as_str()) {
                    let what = format!("field \"id\": {:?} is no problem of this suite", record.id);
                    return Err(Error::line(&file.path, line, what));
                }
                self.finished.entry((record.id.clone(), record.sample)).or_insert(record);
            }
        }
        Ok(own)
    }

    /// How many samples of all problems are not there yet, with what other shards have made by now.
    ///
    /// # Errors
    /// A file that cannot be read; a malformed record.
    pub fn missing(&mut self) -> Result<usize> {
        self.read()?;
        let of = |problem: &Problem| {
            (0..self.protocol.samples)
                .filter(|sample| !self.finished.contains_key(&(problem.id.clone(), *sample)))
                .count()
        };
        Ok(self.problems.iter().map(of).sum())
    }

    /// Puts the records into `samples.jsonl`, problem by problem in the order of the suite, and removes the files of
    /// shards: what is left does not depend on how many processes made them, nor in which order.
    ///
    /// # Errors
    /// The run is open as a shard; a file cannot be written or removed.
    pub fn put_in_order(&mut self) -> Result<()> {
        if let Some(shard) = self.own.shard {
            return Err(Error::input(format!("shard {shard}: expected a run that is open as a whole")));
        }
        let lines = lines(self.problems.iter().map(|p| p.id.as_str()), self.finished.values())?;
        let path = &self.own.path;
        if std::fs::read(path).map_err(|e| Error::io(path, e))? != lines.as_bytes() {
            common::write_whole(path, lines.as_bytes())?;
            self.file = self.own.open()?;
        }
        let shards: Vec<PathBuf> = SampleFile::all(&self.dir)?
            .into_iter()
            .filter_map(|file| file.shard.is_some().then_some(file.path))
            .chain(Some(self.dir.join(PROBLEMS)).filter(|path| path.exists()))
            .collect();
        shards.iter().try_for_each(|path| std::fs::remove_file(path).map_err(|e| Error::io(path, e)))
    }

    /// The samples that are still to be made, of a shard its own: sample 0 of every problem first, then sample 1, …
    pub fn pending(&self) -> Vec<PendingSample> {
        let mut out = Vec::new();
        for sample in 0..self.protocol.samples {
            let mine = |at: &usize| self.own.shard.is_none_or(|shard| shard.has(*at));
            for (at, problem) in self.problems.iter().enumerate().filter(|(at, _)| mine(at)) {
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
            .map_err(|e| Error::io(&self.own.path, e))?;
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
        self.file.sync_data().map_err(|e| Error::io(&self.own.path, e))
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

/// Checks that the folder is free and of this run, and writes the protocol into a new one. The file of samples of one's
/// own is open and locked.
fn begin(dir: &Path, shard: Option<Shard>, other_answers: bool, stored: &Stored) -> Result<()> {
    let files = SampleFile::all(dir)?;
    // A whole run and a shard exclude each other.
    let mut others = files.iter().filter(|other| other.shard.is_some() != shard.is_some());
    others.try_for_each(SampleFile::check_idle)?;
    let place = dir.join(PROTOCOL);
    match files.iter().find(|file| !file.is_empty()) {
        Some(begun) if !place.exists() => Err(Error::at(
            &begun.path,
            "has samples, and there is no protocol.json beside it; name another folder",
        )),
        Some(_) => stored.check(&place, other_answers),
        None if shard.is_none() => stored.write(&place),
        // Another shard may be at the same.
        None => match stored.write_new(&place)? {
            true => Ok(()),
            false => stored.check(&place, false),
        },
    }
}

/// How a run is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    Whole,
    /// Whole, with other reference answers.
    OtherAnswers,
    Shard(Shard),
}
