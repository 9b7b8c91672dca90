//! The checkpoints of a study: folders, hub ids, adapters, and the checkpoints of run folders.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use common::Error;
use hooks::{Encode, IdsOnly, Pairs, PairsReader};
use model_qwen::{Adapter, Checkpoint, Dtype, Qwen, Text, model_hash};
use posttrain::RunFolder;

use super::checkpoints::trained;
use crate::config::CheckpointConfig;
use crate::{Host, Study, StudyConfig};

/// One checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subject {
    /// `base`, `sft-100`.
    pub(crate) label: String,
    /// The name of its entry in the configuration.
    pub(crate) group: String,
    /// The label of the checkpoint that its training began from; `None` for the base, and where nobody said.
    pub(crate) parent: Option<String>,
    /// Optimiser steps since the parent; 0 where nobody said.
    pub(crate) step: u64,
    /// Its run folder, where it is from one.
    pub(crate) run: Option<PathBuf>,
    /// Folder of the weights.
    pub(crate) dir: PathBuf,
    /// Adapter on top of them.
    pub(crate) adapter: Option<PathBuf>,
    /// Hash of weights and adapter.
    pub(crate) hash: String,
    /// Whether the weights are there: those of a training that is not done are not.
    pub(crate) ready: bool,
}

impl Subject {
    /// Reads a pairs file with the checkpoint's tokenizer and checks it against its vocabulary.
    pub(crate) fn pairs(&self, path: &Path) -> Result<Pairs, Error> {
        let checkpoint = Checkpoint::open(&self.dir)?;
        let text = self.text()?;
        let encode: &dyn Encode = match &text {
            Some(text) => text,
            None => &IdsOnly,
        };
        let pairs = PairsReader::new(encode).read(path)?;
        pairs.check_vocab(checkpoint.config.vocab).map_err(|e| e.within(path.display()))?;
        Ok(pairs)
    }

    /// Its tokenizer; `None` where it has none.
    pub(crate) fn text(&self) -> Result<Option<Text>, Error> {
        let there = self.dir.join("tokenizer.json").exists();
        there.then(|| Checkpoint::open(&self.dir)?.text()).transpose()
    }

    /// Loads the model, with its adapter.
    pub(crate) fn load(&self, device: &Device) -> Result<Qwen, Error> {
        let model = Checkpoint::open(&self.dir)?.load(Dtype::F32, device)?;
        match &self.adapter {
            Some(adapter) => Adapter::open(adapter, &model)?.attach(&model),
            None => Ok(model),
        }
    }

    /// Loads the model, its adapter merged into the weights.
    pub(crate) fn load_merged(&self, device: &Device) -> Result<Qwen, Error> {
        let model = Checkpoint::open(&self.dir)?.load(Dtype::F32, device)?;
        match &self.adapter {
            Some(adapter) => Adapter::open(adapter, &model)?.merge(&model),
            None => Ok(model),
        }
    }

    fn new(
        label: String,
        group: &str,
        step: u64,
        dir: PathBuf,
        adapter: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let mut hash = model_hash(&dir)?;
        if let Some(adapter) = &adapter {
            hash = format!("{hash}+{}", model_hash(adapter)?);
        }
        Ok(Self {
            label,
            group: group.to_owned(),
            parent: None,
            step,
            run: None,
            dir,
            adapter,
            hash,
            ready: true,
        })
    }
}

/// Every checkpoint, the base first.
pub(crate) fn subjects(study: &mut Study<'_>) -> Result<Vec<Subject>, Error> {
    let mut all = given(&study.config, study.work.host)?;
    // Known before anything is trained.
    let n_edges = Checkpoint::open(&all[0].dir)?.config.wiring().n_edges();
    study.config.circuit.iter().try_for_each(|rule| rule.check(n_edges))?;
    for config in study.config.train.clone() {
        let made =
            trained(study, &config, &all).map_err(|e| e.within(format_args!("train {}", config.name)))?;
        all.extend(made);
    }
    Ok(all)
}

/// The checkpoints that are given.
fn given(config: &StudyConfig, host: &mut dyn Host) -> Result<Vec<Subject>, Error> {
    let mut all: Vec<Subject> = Vec::new();
    for entry in &config.checkpoint {
        let within = |e: Error| e.within(format_args!("checkpoint {}", entry.name));
        let run = Path::new(&entry.path).join("checkpoints").is_dir();
        let found = match run {
            true => of_run(entry, Path::new(&entry.path), host).map_err(within)?,
            false if entry.steps.is_some() => {
                return Err(within(Error::at(&entry.path, "`steps` has no effect: not a run folder")));
            }
            false => {
                let dir = host.folder(&entry.path).map_err(within)?;
                let (label, adapter) = (entry.name.clone(), entry.adapter.clone());
                vec![Subject::new(label, &entry.name, 0, dir, adapter).map_err(within)?]
            }
        };
        all.extend(found);
    }
    let mut base = None;
    for subject in &all {
        let wiring = Checkpoint::open(&subject.dir)?.config.wiring();
        let first = *base.get_or_insert(wiring);
        if wiring != first {
            return Err(Error::at(
                &subject.dir,
                format!(
                    "checkpoint {}: its graph differs from the base's: {wiring:?}, expected {first:?}",
                    subject.label
                ),
            ));
        }
    }
    match all.first() {
        Some(base) if base.run.is_some() => Err(Error::input(format!(
            "checkpoint {}: the first is the base, expected one checkpoint and no run folder",
            base.group
        ))),
        _ => Ok(all),
    }
}

/// The checkpoints of a run folder, oldest first.
fn of_run(entry: &CheckpointConfig, run: &Path, host: &mut dyn Host) -> Result<Vec<Subject>, Error> {
    if entry.adapter.is_some() {
        return Err(Error::input("`adapter` has no effect on a run folder"));
    }
    let kept = RunFolder::steps(run)?;
    let wanted: Vec<u64> = match &entry.steps {
        Some(steps) => steps.clone(),
        None => kept.iter().map(|&step| step as u64).collect(),
    };
    if wanted.is_empty() {
        return Err(Error::at(run, "no checkpoint"));
    }
    let mut subjects = Vec::new();
    for step in wanted {
        if !kept.contains(&(step as usize)) {
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            let what = format!("no checkpoint of step {step}; there are {}", kept.join(", "));
            return Err(Error::at(run, what));
        }
        let place = run.join("checkpoints").join(format!("step-{step}"));
        let (dir, adapter) = if place.join("adapter_config.json").exists() {
            (host.folder(&trained_model(run)?)?, Some(place))
        } else {
            (place, None)
        };
        let label = format!("{}-{step}", entry.name);
        let mut subject = Subject::new(label, &entry.name, step, dir, adapter)?;
        subject.run = Some(run.to_owned());
        subjects.push(subject);
    }
    Ok(subjects)
}

/// The model that a run began from, as its `config.toml` has it.
fn trained_model(run: &Path) -> Result<String, Error> {
    let path = run.join("config.toml");
    let table: toml::Table =
        RunFolder::config(run)?.parse().map_err(|e: toml::de::Error| Error::at(&path, e))?;
    let model = table.get("model").and_then(|m| m.get("path")).and_then(toml::Value::as_str);
    model.map(str::to_owned).ok_or_else(|| Error::at(&path, "missing `model.path`"))
}
