//! The run folder: the only place that knows its layout.
//!
//! ```text
//! config.toml           the configuration, defaults written out
//! metrics.jsonl         one object a step
//! checkpoints/step-N/   a Hugging Face folder, optimizer.safetensors, state.json: whole or absent
//! circuits/step-N.json  written by who watches
//! ```
//! A checkpoint is written beside its place, synced and renamed, so that a run killed at any moment finds
//! only whole ones. On resume the metrics are cut back to the checkpoint's step.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use model_qwen::{Dtype, Qwen};
use serde::{Deserialize, Serialize};

use crate::{Config, Error, Optimizer};

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

/// A checkpoint to go on from.
#[derive(Debug, Clone, PartialEq)]
pub struct Resumed {
    /// The checkpoint's folder: load the model from here.
    pub dir: PathBuf,
    /// Where the run was.
    pub progress: Progress,
}

/// An open run folder.
#[derive(Debug)]
pub struct RunFolder {
    dir: PathBuf,
    keep: usize,
    /// Folder of the base model, whose tokenizer goes into every checkpoint.
    tokenizer: PathBuf,
    metrics: File,
}

impl RunFolder {
    /// Makes a new run folder.
    ///
    /// # Errors
    /// A folder that holds a run already, or what the file system refuses.
    pub fn create(config: &Config) -> Result<Self, Error> {
        let dir = &config.run.dir;
        let checkpoints = dir.join("checkpoints");
        if checkpoints.is_dir() && !steps(&checkpoints)?.is_empty() {
            return Err(Error::at(dir, "holds a run already: resume it, or choose another run.dir"));
        }
        std::fs::create_dir_all(&checkpoints).map_err(|e| Error::at(&checkpoints, e))?;
        write_whole(&dir.join("config.toml"), config.to_toml()?.as_bytes())?;
        let path = dir.join("metrics.jsonl");
        let metrics = File::create(&path).map_err(|e| Error::at(&path, e))?;
        Ok(Self { dir: dir.clone(), keep: config.run.keep, tokenizer: config.model.path.clone(), metrics })
    }

    /// Opens an existing run folder at its latest whole checkpoint; its configuration is in `config.toml`
    /// ([`RunFolder::config`]).
    ///
    /// # Errors
    /// No run, no checkpoint, a state that cannot be read.
    pub fn resume(dir: &Path) -> Result<(Self, Resumed), Error> {
        let config = Self::config(dir)?;
        let checkpoints = dir.join("checkpoints");
        let step =
            steps(&checkpoints)?.pop().ok_or_else(|| Error::at(dir, "has no checkpoint to resume from"))?;
        sweep(&checkpoints)?;
        let checkpoint = checkpoints.join(format!("step-{step}"));
        let path = checkpoint.join("state.json");
        let text = std::fs::read_to_string(&path).map_err(|e| Error::at(&path, e))?;
        let progress: Progress = serde_json::from_str(&text).map_err(|e| Error::at(&path, e))?;
        let metrics = cut_metrics(&dir.join("metrics.jsonl"), progress.step)?;
        let tokenizer = checkpoint.clone();
        let folder = Self { dir: dir.to_owned(), keep: config.run.keep, tokenizer, metrics };
        Ok((folder, Resumed { dir: checkpoint, progress }))
    }

    /// The configuration of the run in `dir`.
    ///
    /// # Errors
    /// No such file, or one that is not a configuration.
    pub fn config(dir: &Path) -> Result<Config, Error> {
        Config::open(&dir.join("config.toml"), &[])
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends one object to `metrics.jsonl`; it should have a field `step`.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn log(&mut self, metrics: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_vec(metrics).map_err(|e| Error::input(format!("metrics: {e}")))?;
        line.push(b'\n');
        self.metrics.write_all(&line).map_err(|e| Error::at(&self.dir.join("metrics.jsonl"), e))
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
        let path = self.dir.join("metrics.jsonl");
        self.metrics.sync_all().map_err(|e| Error::at(&path, e))?;
        let checkpoints = self.dir.join("checkpoints");
        let place = self.checkpoint_dir(progress.step);
        let aside = checkpoints.join(format!("step-{}.part", progress.step));
        if aside.exists() {
            // What a killed run had begun.
            std::fs::remove_dir_all(&aside).map_err(|e| Error::at(&aside, e))?;
        }
        model_qwen::save(model, &aside, Dtype::F32, Some(&self.tokenizer))?;
        write_synced(&aside.join("optimizer.safetensors"), &optimizer.to_bytes()?)?;
        let state = serde_json::to_vec_pretty(&progress).map_err(|e| Error::input(e.to_string()))?;
        write_synced(&aside.join("state.json"), &state)?;
        sync(&aside)?;
        if place.exists() {
            std::fs::remove_dir_all(&place).map_err(|e| Error::at(&place, e))?;
        }
        std::fs::rename(&aside, &place).map_err(|e| Error::at(&place, e))?;
        sync(&checkpoints)?;
        let all = steps(&checkpoints)?;
        let old = if self.keep == 0 { 0 } else { all.len().saturating_sub(self.keep) };
        for step in &all[..old] {
            let old = self.checkpoint_dir(*step);
            std::fs::remove_dir_all(&old).map_err(|e| Error::at(&old, e))?;
        }
        self.tokenizer = place.clone();
        Ok(place)
    }

    /// The folder of a step's checkpoint, there or not.
    pub fn checkpoint_dir(&self, step: usize) -> PathBuf {
        self.dir.join("checkpoints").join(format!("step-{step}"))
    }

    /// The file of a step's circuit, its folder made.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn circuit_path(&self, step: usize) -> Result<PathBuf, Error> {
        let dir = self.dir.join("circuits");
        std::fs::create_dir_all(&dir).map_err(|e| Error::at(&dir, e))?;
        Ok(dir.join(format!("step-{step}.json")))
    }
}

/// Steps of the whole checkpoints, oldest first.
fn steps(checkpoints: &Path) -> Result<Vec<usize>, Error> {
    let entries = std::fs::read_dir(checkpoints).map_err(|e| Error::at(checkpoints, e))?;
    let step = |name: &str| name.strip_prefix("step-").and_then(|n| n.parse().ok());
    let mut steps: Vec<usize> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("state.json").is_file())
        .filter_map(|entry| step(&entry.file_name().to_string_lossy()))
        .collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Removes what a killed run left half written.
fn sweep(checkpoints: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(checkpoints).map_err(|e| Error::at(checkpoints, e))?.filter_map(Result::ok)
    {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with("step-") && name.ends_with(".part") || name.starts_with(".step-") {
            std::fs::remove_dir_all(&path).map_err(|e| Error::at(&path, e))?;
        }
    }
    Ok(())
}

/// Keeps the lines of steps below `step` and opens the file to append to it.
fn cut_metrics(path: &Path, step: usize) -> Result<File, Error> {
    #[derive(Deserialize)]
    struct Line {
        step: usize,
    }
    let mut kept = Vec::new();
    if let Ok(file) = File::open(path) {
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|e| Error::at(path, e))?;
            if serde_json::from_slice::<Line>(&line).is_ok_and(|l| l.step < step) {
                kept.extend_from_slice(&line);
                kept.push(b'\n');
            }
        }
    }
    write_whole(path, &kept)?;
    OpenOptions::new().append(true).open(path).map_err(|e| Error::at(path, e))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Error::at(path, e))
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let aside = path.with_extension("part");
    write_synced(&aside, bytes)?;
    std::fs::rename(&aside, path).map_err(|e| Error::at(path, e))?;
    path.parent().map_or(Ok(()), sync)
}

fn sync(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::at(dir, e))
}
