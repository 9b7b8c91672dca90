//! A study: stages over checkpoints and suites, each done once, and the results that they give.

use std::path::PathBuf;

use burn::tensor::Device;
use common::Error;
use model_qwen::Qwen;
use serde::{Deserialize, Serialize};

use crate::config::StudyConfig;
use crate::jobs::{JobState, Jobs, Shard};
use crate::results::Results;
use crate::stages::{self, Subject};

/// The stages, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Every edge is scored on every pair, for each checkpoint and suite.
    Attribution,
    /// Circuits are selected and pruned; their faithfulness is measured beside that of random circuits.
    Circuits,
    /// Every head is tested for a change since the base; noise floors.
    Heads,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 3] = [Self::Attribution, Self::Circuits, Self::Heads];

    /// Its name, and that of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attribution => "attribution",
            Self::Circuits => "circuits",
            Self::Heads => "heads",
        }
    }
}

/// What a study needs of the program that runs it.
pub trait Host {
    /// The folder of a checkpoint that is given as a folder or a hub id.
    ///
    /// # Errors
    /// A hub id that cannot be fetched.
    fn folder(&mut self, model: &str) -> Result<PathBuf, Error>;

    /// The device to compute on.
    ///
    /// # Errors
    /// A device that is not there.
    fn device(&mut self) -> Result<Device, Error>;

    /// Shows what is being done.
    fn say(&mut self, what: &str);

    /// Whether to stop before the next job.
    fn stop(&mut self) -> bool;
}

/// Which part of a study is done by this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selected {
    /// The stages whose jobs are done; all where empty. The results of others are read where they are done.
    pub stages: Vec<Stage>,
    /// The shard of the jobs of each stage.
    pub shard: Option<Shard>,
    /// Do nothing: [`Study::jobs`] lists the jobs.
    pub dry_run: bool,
}

/// The host of a study and the one model that is in memory.
pub(crate) struct Work<'a> {
    pub(crate) host: &'a mut dyn Host,
    loaded: Option<(String, Qwen)>,
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("loaded", &self.loaded.as_ref().map(|(label, _)| label))
            .finish_non_exhaustive()
    }
}

impl Work<'_> {
    /// The model of `subject`, loaded if it is not the one in memory.
    pub(crate) fn model(&mut self, subject: &Subject) -> Result<&Qwen, Error> {
        if self.loaded.as_ref().is_none_or(|(label, _)| *label != subject.label) {
            self.loaded = None;
            let model = subject.load(&self.host.device()?)?;
            self.loaded = Some((subject.label.clone(), model));
        }
        match &self.loaded {
            Some((_, model)) => Ok(model),
            None => Err(Error::internal("no model was loaded")),
        }
    }

    /// Shows what is being done.
    pub(crate) fn say(&mut self, what: impl AsRef<str>) {
        self.host.say(what.as_ref());
    }
}

/// A study that runs.
#[derive(Debug)]
pub struct Study<'a> {
    pub(crate) config: StudyConfig,
    pub(crate) jobs: Jobs,
    pub(crate) work: Work<'a>,
}

impl<'a> Study<'a> {
    /// The study of `config`: the part of it that is `selected`.
    pub fn new(config: StudyConfig, selected: Selected, host: &'a mut dyn Host) -> Self {
        let stages = match selected {
            Selected { dry_run: true, .. } => Vec::new(),
            Selected { stages, .. } if stages.is_empty() => Stage::ALL.to_vec(),
            Selected { stages, .. } => stages,
        };
        let jobs = Jobs::new(&config.study.dir, stages, selected.shard);
        Self { config, jobs, work: Work { host, loaded: None } }
    }

    /// Runs the stages and returns the results; `None` where jobs are left for other shards or stages, which
    /// [`Study::missing`] names.
    ///
    /// # Errors
    /// A checkpoint or a file that cannot be read; what a stage refuses; an interruption.
    pub fn run(&mut self) -> Result<Option<Results>, Error> {
        let subjects = stages::subjects(&self.config, self.work.host)?;
        stages::results(self, &subjects)
    }

    /// The jobs that were asked for, in order.
    pub fn jobs(&self) -> &[JobState] {
        self.jobs.states()
    }

    /// The jobs whose results are missing, as `stage/name`.
    pub fn missing(&self) -> Vec<&str> {
        self.jobs().iter().filter(|job| !job.done).map(|job| job.name.as_str()).collect()
    }
}
