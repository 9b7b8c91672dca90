//! A run's records: one JSON line for each sample, appended as soon as it is there. A run that was stopped goes on
//! where it was; a finished record is never made twice. The model is a closure here.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::prompt::{Prompt, Template};
use common::{Error, Result};
use math_grade::{Verdict, extract, grade};

/// How a suite is put to a model. Two runs with equal protocols may be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// The prompt template.
    pub template: Template,
    /// Samples a problem, at least 1.
    pub samples: usize,
    /// 0 is greedy.
    pub temperature: f32,
    /// Nucleus sampling threshold, 1 for none.
    pub top_p: f32,
    /// Token budget of one completion.
    pub max_tokens: usize,
    /// Seed of the run; every sample's own seed is derived from it.
    pub seed: u64,
    /// Who is asked: the model, and what is done to it. Samples of two must not get into one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A sample that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The problem's id.
    pub id: String,
    /// The problem's place in the run's list.
    pub problem: usize,
    /// Which sample of this problem, from 0.
    pub sample: usize,
    /// The seed to sample with: depends on the run's seed, the problem's id and the sample's number alone.
    pub seed: u64,
    /// The prompt.
    pub prompt: Prompt,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model's own end token.
    Eos,
    /// The token budget was spent.
    Length,
    /// A stop string of the template.
    Stop,
}

/// What the model gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The completion's text.
    pub completion: String,
    /// Its token ids.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

/// One finished sample: a line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The problem's id.
    pub id: String,
    /// Which sample of this problem, from 0.
    pub sample: usize,
    /// The seed it was sampled with.
    pub seed: u64,
    /// The prompt.
    pub prompt: Prompt,
    /// The completion's text.
    pub completion: String,
    /// Its token ids; their number is its length.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// The extracted answer.
    pub answer: Option<String>,
    /// An answer was begun and cut off.
    pub cut_off: bool,
    /// The grader's verdict.
    pub verdict: Verdict,
}

/// An open file of records: `samples.jsonl` in a folder, with the protocol beside it in `protocol.json`.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    file: File,
    protocol: Protocol,
    problems: Vec<Problem>,
    finished: HashMap<(String, usize), Record>,
}

impl Run {
    /// Opens the folder `dir`, making it if it is new. A last line that was cut off by a crash is dropped.
    ///
    /// # Errors
    /// The folder holds a run with another protocol, or cannot be read or written; a record is malformed or of
    /// a problem that is not among `problems`; another process has the run open; `protocol.samples` is 0.
    pub fn open(dir: impl AsRef<Path>, problems: Vec<Problem>, protocol: Protocol) -> Result<Run> {
        let dir = dir.as_ref();
        if protocol.samples == 0 {
            return Err(Error::input("samples: expected at least 1"));
        }
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join("samples.jsonl");
        let file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        // Until this run is dropped or its process dies. A file system without locks is taken as it is.
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::input(format!("{}: another process is at work on this run", path.display())));
        }
        let begun = std::fs::metadata(&path).is_ok_and(|m| m.len() > 0);
        check_protocol(&dir.join("protocol.json"), &protocol, begun)?;
        let known: HashSet<&str> = problems.iter().map(|p| p.id.as_str()).collect();
        let mut finished = HashMap::new();
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let text = std::str::from_utf8(&bytes[..whole]).map_err(|e| Error::line(&path, 1, e))?;
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let record: Record = serde_json::from_str(line)
                .map_err(|e| Error::line(&path, i + 1, format!("expected a record: {e}")))?;
            if !known.contains(record.id.as_str()) {
                return Err(Error::line(
                    &path,
                    i + 1,
                    format!("field \"id\": {:?} is no problem of this suite", record.id),
                ));
            }
            finished.entry((record.id.clone(), record.sample)).or_insert(record);
        }
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(|e| Error::io(&path, e))?;
        }
        Ok(Run { path, file, protocol, problems, finished })
    }

    /// The samples that are still wanted: sample 0 of every problem first, then sample 1, …
    pub fn pending(&self) -> Vec<Request> {
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

    fn request(&self, at: usize, problem: &Problem, sample: usize) -> Request {
        use sha2::{Digest, Sha256};
        let digest = Sha256::new()
            .chain_update(self.protocol.seed.to_le_bytes())
            .chain_update((sample as u64).to_le_bytes())
            .chain_update(&problem.id)
            .finalize();
        let seed = u64::from_le_bytes(digest[..8].try_into().unwrap_or_default());
        Request {
            id: problem.id.clone(),
            problem: at,
            sample,
            seed,
            prompt: self.protocol.template.render(&problem.problem),
        }
    }

    /// Grades a sample and appends its record, flushed to the system before this returns.
    ///
    /// # Errors
    /// The request is of no problem of this run, or already finished; the file cannot be written.
    pub fn append(&mut self, request: &Request, sample: Sample) -> Result<&Record> {
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
        let mut line = serde_json::to_string(&record).map_err(|e| Error::input(e.to_string()))?;
        line.push('\n');
        // One write, so that a line is whole or the file's last.
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.flush())
            .map_err(|e| Error::io(&self.path, e))?;
        Ok(self.finished.entry(key).or_insert(record))
    }

    /// Asks `model` for every pending sample and appends the records; `stop` is asked before each.
    ///
    /// # Errors
    /// As [`Run::append`].
    pub fn complete(
        &mut self,
        mut model: impl FnMut(&Request) -> Sample,
        mut stop: impl FnMut() -> bool,
    ) -> Result<()> {
        for request in self.pending() {
            if stop() {
                break;
            }
            let sample = model(&request);
            self.append(&request, sample)?;
        }
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))
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

/// Reads the stored protocol and compares; where no sample was made yet, stores it.
fn check_protocol(path: &Path, protocol: &Protocol, begun: bool) -> Result<()> {
    if !begun || !path.exists() {
        let text = serde_json::to_string_pretty(protocol).map_err(|e| Error::input(e.to_string()))?;
        let temporary = path.with_extension("json.tmp");
        std::fs::write(&temporary, text).map_err(|e| Error::io(&temporary, e))?;
        return std::fs::rename(&temporary, path).map_err(|e| Error::io(path, e));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let stored: Protocol = serde_json::from_str(&text).map_err(|e| Error::line(path, e.line(), e))?;
    // More samples may be added to a run; everything else must agree.
    let comparable = Protocol { samples: protocol.samples, ..stored.clone() };
    if comparable == *protocol {
        return Ok(());
    }
    let value = |p: &Protocol| serde_json::to_value(p).map_err(|e| Error::input(e.to_string()));
    let (wanted, found) = (value(protocol)?, value(&comparable)?);
    let fields = ["template", "temperature", "top_p", "max_tokens", "seed", "subject"];
    let differ: Vec<String> = fields
        .iter()
        .filter(|f| wanted.get(**f) != found.get(**f))
        .map(|f| format!("{f} {} (now {})", found[*f], wanted[*f]))
        .collect();
    Err(Error::input(format!(
        "{}: this run was begun with another protocol: {}; name another folder",
        path.display(),
        differ.join(", ")
    )))
}
