//! Facts of a study that are not measured: run, machine, model, task, settings; and its warnings.

use std::collections::BTreeMap;

use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Run metadata.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// `burn`
    pub name: String,
    /// `0.22.1`
    pub version: String,
}

/// A stage and its wall-clock time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageTime {
    /// What was done.
    pub name: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// The model that is post-trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[schemars(with = "String")]
    pub key_value: hooks::KeyValue,
    /// Edges of the whole graph.
    pub n_edges: usize,
}

impl ModelFacts {
    /// All query heads, layer by layer.
    pub fn heads(&self) -> impl Iterator<Item = Head> {
        let n = self.n_heads;
        (0..self.n_layers).flat_map(move |layer| (0..n).map(move |head| Head { layer, head }))
    }
}

/// The task: problems and examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskFacts {
    /// One or two sentences.
    pub description: String,
    /// The suites of pairs and the benchmarks, the main one first; every accuracy names one of them.
    pub suites: Vec<SuiteFacts>,
    /// A few problems with one completion of each model.
    pub examples: Vec<TaskExample>,
}

/// A set of pairs that circuits are found on, or of problems, or of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuiteFacts {
    /// Short name, used as a key.
    pub name: String,
    /// What is in it.
    pub description: String,
    /// How many problems; 0 for a suite of pairs alone.
    pub n: usize,
    /// The pairs that circuits are found on; `None` for a benchmark alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PairsFacts>,
}

/// Where the pairs of a suite come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairsFacts {
    /// How many.
    pub n: usize,
    /// Tokens of the longest prompt.
    pub longest: usize,
    /// A pairs file, or the openings of two checkpoints.
    pub source: PairsSource,
    /// The first pair as text; `None` without a tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<PairExample>,
}

/// A pair as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairExample {
    /// The clean prompt.
    pub clean: String,
    /// The corrupt prompt.
    pub corrupt: String,
    /// The first token of the right answer.
    pub answer: String,
    /// The first token of the wrong one that it is compared with, if any.
    pub distractor: Option<String>,
}

/// The origin of pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum PairsSource {
    /// A file of pairs.
    File,
    /// The openings of two checkpoints' answers to the same problems, cut to one length (Thinking Sparks, section 3).
    Openings {
        /// Label of the checkpoint whose openings are the clean prompts.
        post: String,
        /// Label of the checkpoint whose openings are the corrupt prompts.
        base: String,
        /// Tokens of an opening; each length makes its own pairs.
        lengths: Vec<usize>,
        /// Whether the base's circuit is found on the reversed pairs: its own openings clean.
        reversed_for_base: bool,
        /// How many candidates were left out, by reason.
        dropped: BTreeMap<String, usize>,
    },
}

/// A checkpoint and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointSource {
    /// Unique: `base`, `sft-40`.
    pub label: String,
    /// Name of its training, or of the checkpoint that was given.
    pub training: String,
    /// Label of the checkpoint that its training began from; `None` for the base, and where nobody said.
    pub parent: Option<String>,
    /// Optimiser steps since the parent; 0 where nobody said.
    pub step: u64,
    /// Hash of its weights, and of its adapter after a `+`.
    pub hash: String,
}

/// A problem with one completion of each model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskExample {
    /// The prompt.
    pub prompt: String,
    /// The right answer.
    pub answer: String,
    /// One completion of each model.
    pub completions: Vec<Said>,
}

/// One completion of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Said {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// The completion.
    pub text: String,
    /// Whether it was judged right.
    pub correct: bool,
}

/// A claim that a reader might make, and why the numbers do not support it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Caveat {
    /// The claim.
    pub claim: String,
    /// The control that it was compared with.
    pub control: String,
    /// The result of the comparison.
    pub finding: String,
    /// The section of the report that the claim belongs to; `None` where it concerns the whole study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Topic>,
}

/// A section of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Accuracy before and after.
    Accuracy,
    /// Heads kept, new and lost.
    Heads,
    /// The circuits.
    Circuits,
    /// What happened during training.
    Training,
    /// Heads ablated and scaled.
    Interventions,
    /// Thinking on and off.
    Think,
}

/// A setting as it was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// `train.grpo`
    pub section: String,
    /// `lr`
    pub name: String,
    /// `2e-4`
    pub value: String,
}
