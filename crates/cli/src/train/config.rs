//! The run file of `sparks sft` and `sparks grpo`: TOML with a section for each owner, and `--set` over it.

use std::path::PathBuf;

use common::Error;
use posttrain::TrainerConfig;
use posttrain::config::{OptimizerConfig, ScheduleConfig, TrainConfig, check_ranges};
use posttrain_grpo::GrpoConfig;
use posttrain_sft::{DataConfig, Packing, SftConfig};
use serde::{Deserialize, Serialize};

use super::Kind;
use super::keys;

/// A run file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RunFile {
    pub(super) model: ModelSection,
    pub(super) data: DataSection,
    pub(super) run: RunSection,
    pub(super) train: TrainConfig,
    pub(super) optimizer: OptimizerConfig,
    pub(super) schedule: ScheduleConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) watch: Option<WatchSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grpo: Option<GrpoConfig>,
}

/// Precisions in which weights can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TrainDtype {
    #[default]
    F32,
}

/// The model that a run starts from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ModelSection {
    /// Checkpoint folder or hub id; required.
    pub(super) path: PathBuf,
    pub(super) dtype: TrainDtype,
}

/// What it is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DataSection {
    /// Examples or problems; required.
    pub(super) train: PathBuf,
    /// Examples whose loss is taken every `run.eval_every` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eval: Option<PathBuf>,
    pub(super) shuffle: bool,
    pub(super) packing: Packing,
    pub(super) max_length: usize,
}

impl Default for DataSection {
    fn default() -> Self {
        let DataConfig { shuffle, packing, max_length } = DataConfig::default();
        Self { train: PathBuf::new(), eval: None, shuffle, packing, max_length }
    }
}

/// Folder, seed and rhythm of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RunSection {
    /// The run folder; required.
    pub(super) dir: PathBuf,
    pub(super) seed: u64,
    /// Steps between two lines of metrics.
    pub(super) log_every: usize,
    /// Steps between two checkpoints; 0 writes the last only.
    pub(super) checkpoint_every: usize,
    /// Steps between two evaluations on `data.eval`; 100 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eval_every: Option<usize>,
    /// Checkpoints kept; 0 keeps all.
    pub(super) keep: usize,
}

impl Default for RunSection {
    fn default() -> Self {
        Self { dir: PathBuf::new(), seed: 0, log_every: 1, checkpoint_every: 100, eval_every: None, keep: 3 }
    }
}

/// Attribution methods that are fast enough to watch with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WatchMethod {
    Eap,
    #[default]
    EapIgInputs,
    EapIgActivations,
    CleanCorrupt,
}

impl WatchMethod {
    /// Whether it integrates over `watch.steps` points.
    pub(super) fn integrates(self) -> bool {
        matches!(self, Self::EapIgInputs | Self::EapIgActivations)
    }
}

/// Attribution and circuit of the model in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WatchSection {
    /// JSONL of clean and corrupt prompts; required.
    pub(super) pairs: PathBuf,
    /// Training steps between two circuits.
    pub(super) every: usize,
    pub(super) method: WatchMethod,
    /// Sample points of an integrating method; 5 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) steps: Option<usize>,
    /// Edges of a circuit.
    pub(super) top: usize,
}

impl Default for WatchSection {
    fn default() -> Self {
        Self { pairs: PathBuf::new(), every: 100, method: WatchMethod::default(), steps: None, top: 5000 }
    }
}

impl RunFile {
    /// The table of a user's file with `section.key=value` changes over it: every key has an effect on this
    /// kind of run. Relative paths stay relative to the working folder.
    pub(super) fn user_table(kind: Kind, text: &str, set: &[String]) -> Result<toml::Table, Error> {
        let mut table = keys::table(text)?;
        for change in set {
            keys::apply(&mut table, change)?;
        }
        keys::check_effect(kind, &table)?;
        Ok(table)
    }

    /// Reads `config.toml` of a run folder, which earlier versions wrote with keys that have no effect.
    pub(super) fn written(kind: Kind, text: &str) -> Result<Self, Error> {
        let mut table = keys::table(text)?;
        keys::remove_without_effect(kind, &mut table);
        Self::from_table(kind, table)
    }

    pub(super) fn from_table(kind: Kind, table: toml::Table) -> Result<Self, Error> {
        let mut unknown = Vec::new();
        let file: Self = serde_ignored::deserialize(toml::Value::Table(table), |path| {
            unknown.push(path.to_string().replace(".?", ""));
        })
        .map_err(|e: toml::de::Error| Error::input(e))?;
        if let Some(key) = unknown.first() {
            return Err(keys::unknown(key));
        }
        file.check(kind)?;
        Ok(file)
    }

    /// The table that gives this configuration, defaults written out, without keys that have no effect.
    pub(super) fn to_table(&self, kind: Kind) -> Result<toml::Table, Error> {
        let mut table = toml::Table::try_from(self).map_err(Error::internal)?;
        keys::remove_without_effect(kind, &mut table);
        Ok(table)
    }

    /// The text of [`RunFile::to_table`].
    pub(super) fn to_toml(&self, kind: Kind) -> Result<String, Error> {
        toml::to_string_pretty(&self.to_table(kind)?).map_err(Error::internal)
    }

    /// What both trainers share.
    fn trainer(&self) -> TrainerConfig {
        TrainerConfig {
            train: self.train.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            seed: self.run.seed,
        }
    }

    pub(super) fn sft(&self) -> SftConfig {
        SftConfig { trainer: self.trainer() }
    }

    pub(super) fn examples(&self) -> DataConfig {
        let DataSection { shuffle, packing, max_length, .. } = self.data;
        DataConfig { shuffle, packing, max_length }
    }

    pub(super) fn grpo(&self) -> GrpoConfig {
        GrpoConfig { trainer: self.trainer(), ..self.grpo.clone().unwrap_or_default() }
    }

    fn check(&self, kind: Kind) -> Result<(), Error> {
        let missing = |name: &str| Err(Error::input(format!("missing `{name}`")));
        let required =
            [("model.path", &self.model.path), ("data.train", &self.data.train), ("run.dir", &self.run.dir)];
        if let Some((name, _)) = required.into_iter().find(|(_, path)| path.as_os_str().is_empty()) {
            return missing(name);
        }
        check_ranges(&[
            ("run.log_every", self.run.log_every as f64, 1.0, f64::MAX, "from 1"),
            ("run.eval_every", self.run.eval_every.unwrap_or(1) as f64, 1.0, f64::MAX, "from 1"),
        ])?;
        if self.run.eval_every.is_some() && self.data.eval.is_none() {
            return Err(Error::input("run.eval_every has no effect without data.eval"));
        }
        if let Some(watch) = &self.watch {
            if watch.pairs.as_os_str().is_empty() {
                return missing("watch.pairs");
            }
            if watch.steps.is_some() && !watch.method.integrates() {
                return Err(Error::input(
                    "watch.steps has no effect on a watch.method that does not integrate",
                ));
            }
            check_ranges(&[
                ("watch.every", watch.every as f64, 1.0, f64::MAX, "from 1"),
                ("watch.steps", watch.steps.unwrap_or(1) as f64, 1.0, 1e5, "from 1 to 100000"),
                ("watch.top", watch.top as f64, 1.0, f64::MAX, "from 1"),
            ])?;
        }
        match kind {
            Kind::Sft => self.examples().check().and_then(|()| self.sft().check()),
            Kind::Grpo => self.grpo().check(),
        }
    }
}
