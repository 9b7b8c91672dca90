//! Facts of a study that are not measured: run, machine, model, task, settings; and its warnings.

use serde::{Deserialize, Serialize};

/// Run metadata.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFacts {
    /// The command line.
    pub command: String,
    /// The seed that every random number derives from.
    pub seed: u64,
    /// When it started, as text (RFC 3339), if known.
    pub started: Option<String>,
    /// The machine; `None` in the results of a study, which are the same on every machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// Names and versions of the software used.
    pub versions: Vec<Version>,
    /// The stages in order, with wall-clock time.
    pub stages: Vec<StageTime>,
}

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor, as the system names it.
    pub processor: String,
    /// Threads used.
    pub threads: usize,
    /// Device and backend that tensors lived on.
    pub device: String,
    /// Operating system and architecture.
    pub system: String,
}

/// A piece of software and its version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// `burn`
    pub name: String,
    /// `0.22.1`
    pub version: String,
}

/// A stage and its wall-clock time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// What was done.
    pub name: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// The model that is post-trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Folder or hub id.
    pub name: String,
    /// `qwen2`, …
    pub family: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Number of blocks.
    pub n_layers: usize,
    /// Query heads in a layer.
    pub n_heads: usize,
    /// Key/value heads in a layer.
    pub n_kv_heads: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// How key and value inputs are counted in edges.
    pub key_value: hooks::KeyValue,
    /// Edges of the whole graph.
    pub n_edges: usize,
}

/// The task: problems and examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// One or two sentences.
    pub description: String,
    /// The sets of held-out problems, the main one first; every accuracy names one of them.
    pub suites: Vec<SuiteFacts>,
    /// A few problems with one completion of each model.
    pub examples: Vec<TaskExample>,
}

/// A set of held-out problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteFacts {
    /// Short name, used as a key.
    pub name: String,
    /// What is in it.
    pub description: String,
    /// How many problems.
    pub n: usize,
}

/// A problem with one completion of each model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskExample {
    /// The prompt.
    pub prompt: String,
    /// The right answer.
    pub answer: String,
    /// One completion of each model.
    pub completions: Vec<Said>,
}

/// One completion of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// The completion.
    pub text: String,
    /// Whether it was judged right.
    pub correct: bool,
}

/// A claim that a reader might make, and why the numbers do not support it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caveat {
    /// The claim.
    pub claim: String,
    /// The control that it was compared with.
    pub control: String,
    /// The result of the comparison.
    pub finding: String,
}

/// A setting as it was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `train.grpo`
    pub section: String,
    /// `lr`
    pub name: String,
    /// `2e-4`
    pub value: String,
}
