//! The run folder: the only place that knows its layout.
//!
//! ```text
//! config.toml           the caller's configuration, defaults written out
//! metrics.jsonl         one object a step
//! events.out.tfevents.* the same numbers for TensorBoard, a file for each time that the run was begun or resumed
//! checkpoints/step-N/   a Hugging Face folder or PEFT adapter, optimizer.safetensors, state.json: whole or absent
//! heads.jsonl           one object a circuit: its heads, their change, what it cost
//! completions/          step-N.jsonl.gz: what the weights after step N sampled, written by the GRPO caller
//! circuits/step-N.json  attribution and circuit of the weights after step N, written by the `[watch]` caller
//! dynamics.json         the circuits so far beside the reward, written by the `[watch]` caller
//! .lock                 held by the process that trains in this folder
//! ```
//! A checkpoint is written beside its place, synced and renamed, so that a run killed at any moment finds
//! only whole ones. On resume the metrics are cut back to the checkpoint's step. `docs/RUN_FOLDER.md` lists files
//! and fields.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use model_qwen::{Adapter, LoraConfig, Qwen};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint_files::{put_aside, steps, sweep};
use crate::events::Events;
use crate::{Error, Optimizer, checkpoint_files};

/// The first line of every `config.toml` that this module writes; a file without it is the user's.
const WRITTEN: &str = "# Written by sparks: the configuration of this run, defaults included.\n";

/// Where a run is: what resuming needs beside weights and moments. Random streams are functions of seed and
/// position, so there is no generator state to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimiser steps done.
    pub step: usize,
    /// Examples or prompts consumed.
    pub position: u64,
    /// Seed of the run.
    pub seed: u64,
}

const METRICS: &str = "metrics.jsonl";
const HEADS: &str = "heads.jsonl";
const COMPLETIONS: &str = "completions";
const CIRCUITS: &str = "circuits";
const DYNAMICS: &str = "dynamics.json";

/// The folder in a checkpoint that holds a reference of its own, where the run has one that changes.
pub const REFERENCE: &str = "reference";

/// Fields of a line of metrics or heads that are measured: two runs of the same bits differ in them. The others are
/// functions of the run file.
pub const MEASURED: [&str; 12] = [
    "step_time",
    "tokens_per_s",
    "peak_memory",
    "sample_time",
    "score_time",
    "train_time",
    "sample_tokens_per_s",
    "score_tokens_per_s",
    "train_tokens_per_s",
    "eval_time",
    "watch_time",
    "watch_percent",
];

/// A checkpoint to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// The checkpoint's folder: load the model from here.
    pub dir: PathBuf,
    /// Where the run was.
    pub progress: Progress,
    /// What the caller's loop kept: see [`RunFolder::keep_state`]. Null where it kept nothing.
    pub state: Value,
}

/// An open run folder. One process has it open at a time.
#[derive(Debug)]
pub struct RunFolder {
    dir: PathBuf,
    /// Checkpoints kept; 0 keeps all.
    keep: usize,
    /// Folder whose tokenizer files go into every checkpoint.
    tokenizer: Option<PathBuf>,
    /// Set where checkpoints are adapters.
    adapter: Option<LoraConfig>,
    metrics: File,
    events: Events,
    /// A checkpoint that rotation leaves alone.
    protected: Option<usize>,
    /// For the next checkpoint.
    reference: Option<Qwen>,
    /// What the caller's loop needs to go on, as it is now.
    state: Value,
    /// Locked as long as it is open.
    _lock: File,
}

impl RunFolder {
    /// Refuses a folder that cannot become a new run; nothing is written.
    ///
    /// # Errors
    /// A folder which holds checkpoints or files that are not of an earlier attempt.
    pub fn check_new(dir: &Path) -> Result<(), Error> {
        common::check_folder(dir)?;
        let checkpoints = dir.join("checkpoints");
        if checkpoints.is_dir() && !steps(&checkpoints)?.is_empty() {
            return Err(Error::at(
                dir,
                "holds a run already: go on with it by `--resume` and this folder, or choose another run.dir",
            ));
        }
        let config = dir.join("config.toml");
        let ours = std::fs::read_to_string(&config).is_ok_and(|text| text.starts_with(WRITTEN));
        let names = [METRICS, HEADS, DYNAMICS, COMPLETIONS, CIRCUITS];
        let files = std::iter::once(config).chain(names.map(|name| dir.join(name)));
        match files.into_iter().find(|path| path.exists() && !ours) {
            Some(taken) => {
                Err(Error::at(taken, "exists, and no run of sparks wrote it: choose another run.dir"))
            }
            None => Ok(()),
        }
    }

    /// Makes a run folder. `config` is the text of `config.toml`, which nothing here reads.
    ///
    /// # Errors
    /// A folder in which a process is training, what [`RunFolder::check_new`] refuses, what the file system
    /// refuses.
    pub fn create(dir: &Path, config: &str) -> Result<Self, Error> {
        common::make_folder(dir)?;
        let lock = lock(dir)?;
        Self::check_new(dir)?;
        let (checkpoints, path) = (dir.join("checkpoints"), dir.join(METRICS));
        common::make_folder(&checkpoints)?;
        common::write_whole(dir.join("config.toml"), format!("{WRITTEN}{config}").as_bytes())?;
        let metrics = File::create(&path).map_err(|e| Error::io(&path, e))?;
        // What an attempt left that never wrote a checkpoint.
        for file in [HEADS, DYNAMICS].map(|name| dir.join(name)).into_iter().filter(|path| path.exists()) {
            std::fs::remove_file(&file).map_err(|e| Error::io(&file, e))?;
        }
        for of_steps in [COMPLETIONS, CIRCUITS].map(|name| dir.join(name)) {
            forget_steps(&of_steps, 0)?;
        }
        Ok(Self::open(dir, 0, metrics, lock))
    }

    fn open(dir: &Path, step: usize, metrics: File, lock: File) -> Self {
        Self {
            dir: dir.to_owned(),
            keep: 0,
            tokenizer: None,
            adapter: None,
            metrics,
            events: Events::new(dir, step),
            protected: None,
            reference: None,
            state: Value::Null,
            _lock: lock,
        }
    }

    /// Opens an existing run folder at its newest whole checkpoint. Newer ones that are damaged or incomplete are
    /// first told to `damaged`, with the folder that is resumed in their place, and then put aside as
    /// `step-N.damaged`.
    ///
    /// # Errors
    /// No run, no whole checkpoint, a process that is training in the folder, what `damaged` returns; nothing
    /// in the folder has changed then.
    pub fn resume(
        dir: &Path,
        mut damaged: impl FnMut(&Path, &str) -> Result<(), Error>,
    ) -> Result<(Self, Resumed), Error> {
        let checkpoints = dir.join("checkpoints");
        if !checkpoints.is_dir() {
            return Err(Error::at(dir, "is no run folder: it has no folder `checkpoints`"));
        }
        let lock = lock(dir)?;
        let (mut found, mut bad, mut wrong) = (None, Vec::new(), Vec::new());
        for step in steps(&checkpoints)?.into_iter().rev() {
            let checkpoint = checkpoints.join(format!("step-{step}"));
            match checkpoint_files::whole(&checkpoint) {
                Ok((progress, state)) => {
                    found = Some((checkpoint, progress, state));
                    break;
                }
                Err(e) => {
                    wrong.push(e.to_string());
                    bad.push(checkpoint);
                }
            }
        }
        let (checkpoint, progress, state) = found.ok_or_else(|| match wrong.first() {
            None => Error::at(dir, "has no checkpoint to resume from"),
            Some(_) => Error::at(
                dir,
                format!("has no checkpoint that is whole to resume from: {}", wrong.join("; ")),
            ),
        })?;
        wrong.iter().try_for_each(|wrong| damaged(&checkpoint, wrong))?;
        for bad in bad {
            put_aside(&bad)?;
        }
        sweep(&checkpoints)?;
        let metrics = cut(&dir.join(METRICS), progress.step)?;
        if dir.join(HEADS).exists() {
            // A line of heads is of the weights after its step, one of metrics of the step that follows.
            cut(&dir.join(HEADS), progress.step + 1)?;
        }
        forget_steps(&dir.join(COMPLETIONS), progress.step)?;
        let mut folder = Self::open(dir, progress.step, metrics, lock);
        folder.tokenizer = Some(checkpoint.clone());
        folder.state = state.clone();
        Ok((folder, Resumed { dir: checkpoint, progress, state }))
    }

    /// Keeps the last `n` checkpoints; all where 0, which is also the default.
    #[must_use]
    pub fn keeping(mut self, n: usize) -> Self {
        self.keep = n;
        self
    }

    /// Copies the tokenizer files of the folder `model` into every checkpoint.
    #[must_use]
    pub fn with_tokenizer(mut self, model: &Path) -> Self {
        self.tokenizer = Some(model.to_owned());
        self
    }

    /// Writes the attached adapter, of this configuration, in place of the whole model.
    #[must_use]
    pub fn with_adapter(mut self, config: LoraConfig) -> Self {
        self.adapter = Some(config);
        self
    }

    /// The text of `config.toml` of the run in `dir`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn config(dir: &Path) -> Result<String, Error> {
        let path = dir.join("config.toml");
        if !path.exists() {
            return Err(Error::at(dir, "is no run folder: it has no config.toml"));
        }
        std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))
    }

    /// Replaces `config.toml`, where a resumed run goes on with other settings.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn set_config(&self, config: &str) -> Result<(), Error> {
        common::write_whole(self.dir.join("config.toml"), format!("{WRITTEN}{config}").as_bytes())
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends one object with a field `step` to `metrics.jsonl`, and its numbers to the TensorBoard events.
    ///
    /// # Errors
    /// No object, or one without a step; what the file system refuses.
    pub fn log(&mut self, metrics: &impl Serialize) -> Result<(), Error> {
        let metrics = serde_json::to_value(metrics).map_err(Error::internal)?;
        let step = metrics["step"].as_u64();
        let (Some(step), Some(fields)) = (step, metrics.as_object()) else {
            return Err(Error::internal(format!("metrics {metrics}: expected an object with a step")));
        };
        let line = format!("{metrics}\n");
        let written = self.metrics.write_all(line.as_bytes());
        written.map_err(|e| Error::io(self.dir.join(METRICS), e))?;
        self.events.write(step as usize, fields)
    }

    /// Appends one object with a field `step` to `heads.jsonl`.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn log_heads(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).map_err(Error::internal)?;
        text.push('\n');
        let path = self.dir.join(HEADS);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| Error::io(&path, e))
    }

    /// The lines of `heads.jsonl`.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no JSON.
    pub fn heads(&self) -> Result<Vec<Value>, Error> {
        let path = self.dir.join(HEADS);
        let text = if path.exists() { common::read_text(&path)? } else { String::new() };
        text.lines().map(|line| serde_json::from_str(line).map_err(|e| Error::at(&path, e))).collect()
    }

    /// What the caller's loop needs to go on; every later checkpoint has it in `state.json`, as `loop`.
    pub fn keep_state(&mut self, state: Value) {
        self.state = state;
    }

    /// A reference that the next checkpoint has beside the policy, as the folder [`REFERENCE`] in it.
    pub fn keep_reference(&mut self, reference: Qwen) {
        self.reference = Some(reference);
    }

    /// A step whose checkpoint rotation leaves alone, in place of the one named before.
    pub fn protect(&mut self, step: Option<usize>) {
        self.protected = step;
    }

    /// Writes `checkpoints/step-N`, then removes the oldest beyond `keep`. Returns its folder.
    ///
    /// # Errors
    /// What the file system refuses; earlier checkpoints are untouched then.
    pub fn checkpoint(
        &mut self,
        model: &Qwen,
        optimizer: &Optimizer,
        progress: Progress,
    ) -> Result<PathBuf, Error> {
        let path = self.dir.join(METRICS);
        self.metrics.sync_all().map_err(|e| Error::io(&path, e))?;
        let checkpoints = self.dir.join("checkpoints");
        let place = self.checkpoint_dir(progress.step);
        let aside = checkpoints.join(format!("step-{}.part", progress.step));
        if aside.exists() {
            // What a killed run had begun.
            std::fs::remove_dir_all(&aside).map_err(|e| Error::io(&aside, e))?;
        }
        let written = self.write_checkpoint(&aside, model, optimizer, progress);
        self.reference = None;
        if written.is_err() {
            // Room for whatever follows on a full disk; what remains is removed by the next resume.
            let _ = std::fs::remove_dir_all(&aside);
        }
        written?;
        if place.exists() {
            std::fs::remove_dir_all(&place).map_err(|e| Error::io(&place, e))?;
        }
        std::fs::rename(&aside, &place).map_err(|e| Error::io(&place, e))?;
        sync(&checkpoints)?;
        let all = steps(&checkpoints)?;
        let old = if self.keep == 0 { 0 } else { all.len().saturating_sub(self.keep) };
        for step in all[..old].iter().filter(|step| Some(**step) != self.protected) {
            let old = self.checkpoint_dir(*step);
            std::fs::remove_dir_all(&old).map_err(|e| Error::io(&old, e))?;
        }
        self.tokenizer = Some(place.clone());
        Ok(place)
    }

    fn write_checkpoint(
        &self,
        dir: &Path,
        model: &Qwen,
        optimizer: &Optimizer,
        progress: Progress,
    ) -> Result<(), Error> {
        match &self.adapter {
            Some(config) => Adapter::of(config.clone(), model).save(dir)?,
            None => model_qwen::save_as_held(model, dir, self.tokenizer.as_deref())?,
        }
        if let Some(reference) = &self.reference {
            model_qwen::save_as_held(reference, &dir.join(REFERENCE), None)?;
        }
        optimizer.save(&dir.join("optimizer.safetensors"))?;
        let mut state = serde_json::to_value(progress).map_err(Error::internal)?;
        if !self.state.is_null() {
            state["loop"] = self.state.clone();
        }
        write_synced(&dir.join("state.json"), format!("{state:#}").as_bytes())?;
        sync(dir)
    }

    /// Steps of the checkpoints that a run folder has, oldest first.
    ///
    /// # Errors
    /// A folder without `checkpoints`.
    pub fn steps(run: &Path) -> Result<Vec<usize>, Error> {
        steps(&run.join("checkpoints"))
    }

    /// The folder of a step's checkpoint, whether it exists or not.
    pub fn checkpoint_dir(&self, step: usize) -> PathBuf {
        self.dir.join("checkpoints").join(format!("step-{step}"))
    }

    /// The path of the completions that the weights after step N sampled; makes its folder.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn completions_path(&self, step: usize) -> Result<PathBuf, Error> {
        let dir = self.dir.join(COMPLETIONS);
        common::make_folder(&dir)?;
        Ok(dir.join(format!("step-{step}.jsonl.gz")))
    }

    /// The path of a step's circuit; makes its folder.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn circuit_path(&self, step: usize) -> Result<PathBuf, Error> {
        let dir = self.dir.join("circuits");
        common::make_folder(&dir)?;
        Ok(dir.join(format!("step-{step}.json")))
    }
}

/// Locks a run folder against other processes; the lock goes with the file, so also when a process is killed.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(".lock");
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|e| Error::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::at(dir, "another process is training in this folder")),
        // A file system without locks.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
    }
}

/// Removes the completions of steps that the resumed run makes again.
fn forget_steps(dir: &Path, step: usize) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    for entry in entries.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let of = name.strip_prefix("step-").and_then(|rest| rest.split('.').next());
        let again = of.and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n >= step);
        // Or what a killed run left half written.
        if again || name.ends_with(".tmp") {
            std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
    }
    Ok(())
}

/// Keeps the lines of steps below `step` and opens the file to append to it.
fn cut(path: &Path, step: usize) -> Result<File, Error> {
    #[derive(Deserialize)]
    struct Line {
        step: usize,
    }
    let mut kept = Vec::new();
    if let Ok(file) = File::open(path) {
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|e| Error::io(path, e))?;
            if serde_json::from_slice::<Line>(&line).is_ok_and(|l| l.step < step) {
                kept.extend_from_slice(&line);
                kept.push(b'\n');
            }
        }
    }
    common::write_whole(path, &kept)?;
    OpenOptions::new().append(true).open(path).map_err(|e| Error::io(path, e))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Error::io(path, e))
}

fn sync(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(dir, e))
}
