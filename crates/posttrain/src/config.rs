//! The configuration file of a training run: TOML, every field defaulted but `model.path`, `data.train` and
//! `run.dir`.
//!
//! An unknown key is an error that names the nearest known one, so that a typing error never trains a model
//! on defaults.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{Error, Schedule, schedule};

mod grpo;
mod keys;
mod sections;

pub use crate::schedule::Kind;
pub use grpo::{Advantage, GrpoConfig, LossKind, Ratio};
pub use sections::{
    DataConfig, Decay, LoraConfig, ModelConfig, OptimizerConfig, Packing, RunConfig, ScheduleConfig,
    TrainConfig, WatchConfig,
};

/// A training run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The model to start from.
    pub model: ModelConfig,
    /// Examples, or problems.
    pub data: DataConfig,
    /// Folder, seed, checkpoints.
    pub run: RunConfig,
    /// How long, how many at once.
    pub train: TrainConfig,
    /// AdamW and clipping.
    pub optimizer: OptimizerConfig,
    /// Learning rate over the run.
    pub schedule: ScheduleConfig,
    /// Low-rank adapters: not implemented yet, refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// What to attribute while training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchConfig>,
    /// Group-relative policy optimisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpo: Option<GrpoConfig>,
}

impl Config {
    /// Reads a file and applies `key=value` changes over it. Relative paths stay relative to the working
    /// folder.
    ///
    /// # Errors
    /// A file that cannot be read, or as [`Config::parse`].
    pub fn open(path: &Path, set: &[String]) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::at(path, e))?;
        Self::parse(&text, set).map_err(|e| Error::at(path, e))
    }

    /// Reads the text of a file and applies changes such as `optimizer.lr=1e-4` over it.
    ///
    /// # Errors
    /// Text that is not TOML, an unknown key, a missing field, a value that makes no sense.
    pub fn parse(text: &str, set: &[String]) -> Result<Self, Error> {
        let mut table: Table =
            text.parse().map_err(|e: toml::de::Error| Error::input(e.message().to_owned()))?;
        for change in set {
            apply(&mut table, change)?;
        }
        keys::check(&table)?;
        let config: Self = Value::Table(table)
            .try_into()
            .map_err(|e: toml::de::Error| Error::input(e.to_string().trim().replace('\n', ": ")))?;
        config.check()?;
        Ok(config)
    }

    /// The file that gives this configuration, defaults written out.
    ///
    /// # Errors
    /// What the format cannot write.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string_pretty(self).map_err(|e| Error::input(format!("config: {e}")))
    }

    /// Optimiser steps of the run, given the number of examples an epoch has.
    pub fn steps(&self, examples: usize) -> usize {
        match (self.train.steps, self.train.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => {
                let all = epochs.unwrap_or(1.0) * examples as f64;
                (all / self.train.examples() as f64).ceil() as usize
            }
        }
    }

    /// The learning-rate schedule of a run of `steps` steps.
    pub fn schedule(&self, steps: usize) -> Schedule {
        let s = &self.schedule;
        let part = |ratio: f64| (ratio * steps as f64).ceil() as usize;
        let warmup = if s.warmup_steps > 0 { s.warmup_steps } else { part(s.warmup_ratio) };
        let (lr, decay) = (self.optimizer.lr, part(s.decay_ratio));
        schedule::Schedule { kind: s.kind, lr, warmup, steps, min_ratio: s.min_lr_ratio, decay }
    }

    /// Whether every value makes sense.
    ///
    /// # Errors
    /// The first that does not, with what was expected.
    pub fn check(&self) -> Result<(), Error> {
        let required =
            [("model.path", &self.model.path), ("data.train", &self.data.train), ("run.dir", &self.run.dir)];
        if let Some((name, _)) = required.into_iter().find(|(_, path)| **path == PathBuf::new()) {
            return Err(Error::input(format!("missing `{name}`")));
        }
        if self.lora.is_some() {
            return Err(Error::input(
                "[lora] is not implemented yet: leave the section out for full training",
            ));
        }
        if self.data.packing != Packing::None {
            return Err(Error::input("data.packing = \"bfd\" is not implemented yet, expected \"none\""));
        }
        if self.train.steps.is_some() && self.train.epochs.is_some() {
            return Err(Error::input("train.steps and train.epochs: expected one of the two"));
        }
        let (o, s) = (&self.optimizer, &self.schedule);
        let ranges = [
            ("optimizer.lr", o.lr, 0.0, f64::MAX, "a number from 0"),
            ("optimizer.betas[0]", o.betas[0], 0.0, 0.999_999_999, "from 0 and below 1"),
            ("optimizer.betas[1]", o.betas[1], 0.0, 0.999_999_999, "from 0 and below 1"),
            ("optimizer.eps", o.eps, f64::MIN_POSITIVE, f64::MAX, "above 0"),
            ("optimizer.weight_decay", o.weight_decay, 0.0, f64::MAX, "a number from 0"),
            ("optimizer.max_grad_norm", o.max_grad_norm, 0.0, f64::MAX, "a number from 0 (0: no clipping)"),
            ("schedule.warmup_ratio", s.warmup_ratio, 0.0, 1.0, "from 0 to 1"),
            ("schedule.min_lr_ratio", s.min_lr_ratio, 0.0, 1.0, "from 0 to 1"),
            ("schedule.decay_ratio", s.decay_ratio, 0.0, 1.0, "from 0 to 1"),
            ("train.epochs", self.train.epochs.unwrap_or(1.0), f64::MIN_POSITIVE, 1e9, "above 0"),
            ("train.batch_size", self.train.batch_size as f64, 1.0, 1e9, "from 1"),
            ("train.accumulation", self.train.accumulation as f64, 1.0, 1e9, "from 1"),
            ("data.max_length", self.data.max_length as f64, 2.0, 1e9, "from 2"),
        ];
        for (name, value, low, high, expected) in ranges {
            if !(low..=high).contains(&value) {
                return Err(Error::input(format!("{name} is {value}, expected {expected}")));
            }
        }
        if let Some(grpo) = &self.grpo {
            grpo.check()?;
        }
        Ok(())
    }
}

/// `section.key=value` over a table; the value is TOML, or a string where it is none.
fn apply(table: &mut Table, change: &str) -> Result<(), Error> {
    let bad = || Error::input(format!("--set {change}: expected section.key=value"));
    let (key, value) = change.split_once('=').ok_or_else(bad)?;
    let (section, key) = key.trim().split_once('.').ok_or_else(bad)?;
    let text = value.trim();
    let value = format!("x = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("x"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().ok_or_else(bad)?.insert(key.to_owned(), value);
    Ok(())
}
