//! A study: stages over checkpoints and suites, each done once, and the results that they give.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use bench_math::PromptSettings;
use burn::tensor::Device;
use common::{Error, Shard};
use model_qwen::Qwen;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{StudyConfig, TrainConfig};
use crate::jobs::{JobState, Jobs};
use crate::results::Results;
use crate::stages::{self, Benchmark, StagePlan, Subject};

/// The stages, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The trainings of the study.
    Checkpoints,
    /// Pairs made of two checkpoints' openings.
    Pairs,
    /// Every edge is scored on every pair, for each checkpoint and suite.
    Attribution,
    /// Circuits are selected and pruned; their faithfulness is measured beside that of random circuits.
    Circuits,
    /// Every head is tested for a change since the base; noise floors.
    Heads,
    /// Each checkpoint answers the benchmarks, all heads as they are.
    Answers,
    /// Checkpoints answer them with heads zeroed, replaced or scaled.
    Interventions,
    /// Circuits and answers of the two modes of thinking.
    Think,
    /// Problems newly solved and newly missed; kinds of failure.
    Cases,
    /// Heads' activations of one checkpoint put into another.
    Transfers,
    /// The pipeline on a planted change and on noise.
    Controls,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 11] = [
        Self::Checkpoints,
        Self::Pairs,
        Self::Attribution,
        Self::Circuits,
        Self::Heads,
        Self::Answers,
        Self::Interventions,
        Self::Think,
        Self::Cases,
        Self::Transfers,
        Self::Controls,
    ];

    /// Its name, and that of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoints => "checkpoints",
            Self::Pairs => "pairs",
            Self::Attribution => "attribution",
            Self::Circuits => "circuits",
            Self::Heads => "heads",
            Self::Answers => "answers",
            Self::Interventions => "interventions",
            Self::Think => "think",
            Self::Cases => "cases",
            Self::Transfers => "transfers",
            Self::Controls => "controls",
        }
    }
}

/// A training that a study asks for.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// Its entry in the configuration.
    pub config: &'a TrainConfig,
    /// The folder of the checkpoint that it begins from: `model.path` of the run file.
    pub model: &'a Path,
    /// The run folder: `run.dir`.
    pub run: &'a Path,
}

/// What is known of a training before it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPlan {
    /// Everything that its result depends on beside the model: settings, and hashes of the data.
    pub inputs: Value,
    /// The steps whose checkpoints it writes; `None` where they follow from the data.
    pub steps: Option<Vec<u64>>,
}

/// What a study needs of the program that runs it.
pub trait Host {
    /// The folder of a checkpoint that is given as a folder or a hub id.
    ///
    /// # Errors
    /// A hub id that cannot be fetched.
    fn folder(&mut self, model: &str) -> Result<PathBuf, Error>;

    /// Reads the run file of a training, whose `run` is empty.
    ///
    /// # Errors
    /// A file or a setting that the trainer refuses.
    fn plan(&mut self, training: &Training<'_>) -> Result<TrainingPlan, Error>;

    /// Trains, and keeps every checkpoint; goes on with a run that was interrupted.
    ///
    /// # Errors
    /// What the trainer refuses; an interruption.
    fn train(&mut self, training: &Training<'_>) -> Result<(), Error>;

    /// Token ids of questions as a checkpoint's tokenizer and chat template write them.
    ///
    /// # Errors
    /// Settings that the checkpoint's template cannot follow; a checkpoint without a tokenizer.
    fn prompts(
        &mut self,
        model: &Path,
        how: &PromptSettings,
        questions: &[String],
    ) -> Result<Vec<Vec<u32>>, Error>;

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
    /// Do nothing: [`Study::jobs`] lists the jobs, and says which would be done here.
    pub dry_run: bool,
}

/// The host of a study and the one model that is in memory.
pub(crate) struct Work<'a> {
    pub(crate) host: &'a mut dyn Host,
    loaded: Option<(String, Qwen)>,
    /// The token ids of the questions that were put last, and what they are of.
    asked: Option<(String, Rc<Vec<Vec<u32>>>)>,
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

    /// The model in memory, and the host.
    pub(crate) fn loaded(&mut self) -> Result<(&Qwen, &mut dyn Host), Error> {
        match &self.loaded {
            Some((_, model)) => Ok((model, self.host)),
            None => Err(Error::internal("no model was loaded")),
        }
    }

    /// The token ids of the problems of `benchmark` for `subject`.
    pub(crate) fn prompts(
        &mut self,
        subject: &Subject,
        benchmark: &Benchmark,
    ) -> Result<Rc<Vec<Vec<u32>>>, Error> {
        let key = json!([subject.label, benchmark.config.name, benchmark.inputs()]).to_string();
        if let Some((of, ids)) = &self.asked
            && *of == key
        {
            return Ok(Rc::clone(ids));
        }
        let questions: Vec<String> = benchmark.problems.iter().map(|p| p.problem.clone()).collect();
        let ids = Rc::new(self.host.prompts(&subject.dir, &benchmark.prompt, &questions)?);
        self.asked = Some((key, Rc::clone(&ids)));
        Ok(ids)
    }

    /// Gives the model's memory back.
    pub(crate) fn unload(&mut self) {
        self.loaded = None;
    }

    /// An error where the program was asked to stop.
    pub(crate) fn go_on(&mut self) -> Result<(), Error> {
        if self.host.stop() {
            return Err(Error::internal("interrupted; the same command goes on from here"));
        }
        Ok(())
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
        let stages = if selected.stages.is_empty() { Stage::ALL.to_vec() } else { selected.stages };
        let mut jobs = Jobs::new(&config.study.dir, stages, selected.shard);
        jobs.idle = selected.dry_run;
        Self { config, jobs, work: Work { host, loaded: None, asked: None } }
    }

    /// Runs the stages and returns the results; `None` where jobs are left for other shards or stages, which
    /// [`Study::missing`] names.
    ///
    /// # Errors
    /// A checkpoint or a file that cannot be read; what a stage refuses; an interruption.
    pub fn run(&mut self) -> Result<Option<Results>, Error> {
        let subjects = stages::subjects(self)?;
        let suites = stages::suites(self, &subjects)?;
        stages::results(self, &subjects, &suites)
    }

    /// What the jobs that are not done would take, by stages. Loads the base and times two short runs of it.
    ///
    /// # Errors
    /// As [`Study::run`].
    pub fn plan(&mut self) -> Result<Vec<StagePlan>, Error> {
        self.jobs.forget();
        let subjects = stages::subjects(self)?;
        let suites = stages::suites(self, &subjects)?;
        stages::results(self, &subjects, &suites)?;
        stages::plan(self, &subjects, &suites)
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
