//! The sections of a study beyond circuits: training, benchmarks, interventions, thinking, transfers.

use std::path::PathBuf;

use bench_math::{PromptSettings, Template};
use serde::{Deserialize, Serialize};

use crate::results::{Action, HeadSet, Level, TrainingMethod};

/// A training that the study makes. Its checkpoints are called `NAME-STEP`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Unique among checkpoints and trainings.
    pub name: String,
    /// How it trains.
    pub method: TrainingMethod,
    /// A run file of `sparks sft` or `sparks grpo`. Its `model.path`, `run.dir` and `run.keep` are the study's.
    pub file: PathBuf,
    /// The checkpoint, or the training by its last checkpoint, that it begins from; the base where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Changes to the run file, by sections.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub overrides: toml::Table,
    /// The steps whose checkpoints are studied; all that are written, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<u64>>,
}

/// Pairs made of the openings of two checkpoints' answers to the same problems (Thinking Sparks, section 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningsConfig {
    /// A named suite of problems, or a file.
    pub problems: String,
    /// The folder of the named suites' files.
    #[serde(default = "benchmarks")]
    pub data: PathBuf,
    /// The checkpoint, or the training by its last checkpoint, whose openings are the clean prompts.
    pub post: String,
    /// Whose openings are the corrupt prompts; the base where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Tokens of an opening; each length makes its own pairs.
    #[serde(default = "lengths")]
    pub lengths: Vec<usize>,
    /// Problems at most, in the order of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The base's circuit is found on the reversed pairs, its own openings clean, as the paper does; else every circuit is
    /// found on the same pairs.
    #[serde(default)]
    pub reversed_for_base: bool,
    /// Sampling temperature; 0 is greedy.
    #[serde(default)]
    pub temperature: f64,
    /// Prompt template.
    #[serde(default = "template")]
    pub template: Template,
    /// System prompt, in place of the template's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// A set of problems that checkpoints answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkConfig {
    /// Unique; may be that of a suite.
    pub name: String,
    /// A named suite of problems, or a file.
    pub problems: String,
    /// The folder of the named suites' files.
    #[serde(default = "benchmarks")]
    pub data: PathBuf,
    /// What is in it, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Whether it is the easy or the hard one of a comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Problems at most, in the order of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Samples of each problem.
    #[serde(default = "one")]
    pub samples: usize,
    /// Prompt template.
    #[serde(default = "template")]
    pub template: Template,
    /// System prompt, in place of the template's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Strings that end a completion, beside the template's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Sampling temperature; 0 is greedy.
    #[serde(default)]
    pub temperature: f64,
    /// Nucleus sampling: the fewest tokens whose probabilities sum to this.
    #[serde(default = "all_tokens")]
    pub top_p: f64,
    /// Largest number of new tokens.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// Samples in work at the same time: memory and time, not what is generated.
    #[serde(default = "batch")]
    pub batch: usize,
}

impl BenchmarkConfig {
    /// How its problems are written.
    pub fn prompt(&self) -> PromptSettings {
        PromptSettings { system: self.system.clone(), stop: self.stop.clone(), ..self.template.into() }
    }
}

/// An action on heads as a configuration writes it: `"zero"`, or a factor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ActionConfig {
    /// By name.
    Named(Replacement),
    /// Multiplied by a factor.
    Scale(f64),
}

/// What a head's output is replaced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replacement {
    /// Zero.
    Zero,
    /// Its mean over the clean prompts of the suite.
    Mean,
    /// That on other problems of the suite, position by position.
    Resample,
}

impl From<ActionConfig> for Action {
    fn from(action: ActionConfig) -> Self {
        match action {
            ActionConfig::Named(Replacement::Zero) => Self::Zero,
            ActionConfig::Named(Replacement::Mean) => Self::Mean,
            ActionConfig::Named(Replacement::Resample) => Self::Resample,
            ActionConfig::Scale(factor) => Self::Scale { factor },
        }
    }
}

/// Heads zeroed, replaced or scaled while checkpoints answer the benchmarks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InterventionsConfig {
    /// The suite whose circuits name the heads; the first where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// The rule whose circuits name them; the first where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The suite whose circuit in the trained checkpoint names the heads of the control task, which are one more set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// The benchmarks; all where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benchmarks: Option<Vec<String>>,
    /// Which heads of each training.
    pub sets: Vec<HeadSet>,
    /// What is done to them. Replacements act in the trained checkpoint, factors there and in the base.
    pub actions: Vec<ActionConfig>,
    /// Heads of a set at most, those of largest importance first; all where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
    /// Random sets of the same layers beside each action of `tested`: with 19 a p-value of 0.05 can be had.
    pub draws: usize,
    /// The actions whose random sets are drawn.
    pub tested: Vec<ActionConfig>,
    /// Problems at most of each benchmark, in its order; all where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Default for InterventionsConfig {
    fn default() -> Self {
        use ActionConfig::{Named, Scale};
        let replaced = [Replacement::Zero, Replacement::Mean, Replacement::Resample].map(Named);
        let factors = [0.5, 0.75, 1.15, 1.3].map(Scale);
        Self {
            suite: None,
            rule: None,
            control: None,
            benchmarks: None,
            sets: vec![HeadSet::Emergent, HeadSet::New, HeadSet::Lost, HeadSet::Joint],
            actions: replaced.into_iter().chain(factors).collect(),
            top: None,
            draws: 19,
            tested: vec![Named(Replacement::Zero)],
            limit: None,
        }
    }
}

/// Checkpoints asked to think and asked not to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinkConfig {
    /// Checkpoints, or trainings by their last checkpoint.
    pub checkpoints: Vec<String>,
    /// The benchmark whose problems the pairs are made of; the first where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<String>,
    /// Tokens of an opening beyond the longer of the two modes' prompts; each length makes its own pairs.
    #[serde(default = "lengths")]
    pub lengths: Vec<usize>,
    /// Problems at most that pairs are made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What is done to the heads of the mode without thinking, in that mode.
    #[serde(default = "off_actions")]
    pub actions: Vec<ActionConfig>,
    /// Heads at most that are changed, those of largest importance first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
    /// For templates of plain text: what is written after the prompt to ask for reasoning, and to ask for none. Chat
    /// templates have a switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<ThinkPrefixes>,
}

/// Beginnings of an answer that ask a model without a chat template to think, and not to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinkPrefixes {
    /// `<think>`
    pub on: String,
    /// `<think></think>`
    pub off: String,
}

/// Heads' activations of the last checkpoint of each training put into the base, and the other way round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransfersConfig {
    /// The suites whose clean prompts are run; all where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suites: Option<Vec<String>>,
    /// Which heads of each training.
    pub sets: Vec<HeadSet>,
    /// Random sets of the same layers beside each.
    pub draws: usize,
}

impl Default for TransfersConfig {
    fn default() -> Self {
        Self { suites: None, sets: vec![HeadSet::Emergent, HeadSet::New, HeadSet::Lost], draws: 19 }
    }
}

fn benchmarks() -> PathBuf {
    PathBuf::from("benchmarks")
}

fn lengths() -> Vec<usize> {
    vec![16]
}

fn template() -> Template {
    Template::QwenMath
}

fn one() -> usize {
    1
}

fn all_tokens() -> f64 {
    1.0
}

fn max_tokens() -> usize {
    1024
}

fn batch() -> usize {
    8
}

fn off_actions() -> Vec<ActionConfig> {
    vec![ActionConfig::Named(Replacement::Zero), ActionConfig::Scale(0.5)]
}
