//! `results.json`: everything a study found, as one documented, versioned object. Types only; what is
//! computed from heads is in `dynamics`, what is said about it in the report.
//!
//! Probabilities and accuracies are fractions in `[0, 1]`. Heads are written `"L5H1"`, edges
//! `"a1.h3->a4.h0<q>"`. Numbers are finite: [`Results::to_json`] refuses others. Fields may be added in a
//! version; a field that changes its meaning raises [`VERSION`].

use std::path::Path;

use hooks::{Edge, Head};
use serde::{Deserialize, Serialize};
use stats::{Correlation, Interval};

use crate::Error;

/// The value of `schema` in every results file.
pub const SCHEMA: &str = "thinking-sparks/results";
/// The version that this build writes and reads.
pub const VERSION: u32 = 1;

/// A study and what it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// A heading for the report.
    pub title: String,
    /// Shown above everything else, e.g. that the numbers are made up for a test.
    pub notice: Option<String>,
    /// Who ran what where.
    pub run: RunFacts,
    /// The model that was post-trained.
    pub model: ModelFacts,
    /// What it was asked to do.
    pub task: TaskFacts,
    /// The model before post-training, step 0.
    pub base: Checkpoint,
    /// The post-training runs, all from the base.
    pub trainings: Vec<Training>,
    /// How much circuits differ when nothing but the pairs does.
    pub noise: Option<NoiseFloor>,
    /// Heads zeroed or scaled, with their random controls.
    pub interventions: Vec<Intervention>,
    /// Claims that did not survive their control, and other reasons for doubt.
    pub warnings: Vec<Warning>,
    /// Every setting, in the order of the configuration.
    pub settings: Vec<Setting>,
}

/// Who ran what where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The command line.
    pub command: String,
    /// The seed that every random number derives from.
    pub seed: u64,
    /// When it started, as text (RFC 3339), if known.
    pub started: Option<String>,
    /// The machine.
    pub machine: Machine,
    /// Names and versions of what took part.
    pub versions: Vec<Version>,
    /// The stages in order, with wall-clock time.
    pub stages: Vec<StageTime>,
}

/// A machine.
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

/// Something with a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// `burn`
    pub name: String,
    /// `0.22.1`
    pub version: String,
}

/// A stage and what it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// What was done.
    pub name: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// A model.
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

/// What the model was asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// One or two sentences.
    pub description: String,
    /// The sets of held-out problems, the main one first; every accuracy names one of them.
    pub suites: Vec<Suite>,
    /// A few problems with what each model said.
    pub examples: Vec<Example>,
}

/// A set of held-out problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// Short name, used as a key.
    pub name: String,
    /// What is in it.
    pub description: String,
    /// How many problems.
    pub n: usize,
}

/// A problem with what each model said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The prompt.
    pub prompt: String,
    /// The right answer.
    pub answer: String,
    /// One completion a model.
    pub completions: Vec<Said>,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// The completion.
    pub text: String,
    /// Whether it was judged right.
    pub correct: bool,
}

/// A set of weights, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Unique: `base`, `sft-40`.
    pub label: String,
    /// Optimiser steps since the base.
    pub step: u64,
    /// Accuracy on some or all suites.
    pub accuracy: Vec<Accuracy>,
    /// The circuit found in it.
    pub circuit: Option<CircuitFacts>,
}

/// Accuracy on one suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Name of the suite.
    pub suite: String,
    /// Problems judged (each once, or several samples averaged).
    pub n: usize,
    /// Share solved, with its 95 % interval over problems.
    pub interval: Interval,
    /// Share of completions that think before they answer.
    pub worked: Option<f64>,
}

/// A circuit and how well it stands for the whole model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitFacts {
    /// Nodes left after pruning.
    pub n_nodes: usize,
    /// Heads in it, layer by layer.
    #[serde(with = "texts")]
    pub heads: Vec<Head>,
    /// Its edges after pruning, strongest first.
    pub edges: Vec<ScoredEdge>,
    /// Name of the metric below.
    pub metric: String,
    /// Mean metric of the whole model on clean prompts.
    pub clean: f64,
    /// Mean metric of the whole model on corrupt prompts.
    pub corrupt: f64,
    /// Mean metric with every edge outside the circuit corrupted.
    pub circuit: f64,
    /// `(circuit − corrupt) / (clean − corrupt)`.
    pub faithfulness: f64,
    /// Faithfulness of random circuits with as many edges.
    pub nulls: Vec<f64>,
}

/// An edge and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredEdge {
    /// Which edge.
    #[serde(with = "text")]
    pub edge: Edge,
    /// Mean score over pairs, in units of the metric.
    pub score: f64,
}

/// How a run trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Supervised fine-tuning.
    Sft,
    /// Group-relative policy optimisation.
    Grpo,
}

/// One post-training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Name for the reader: `SFT`.
    pub name: String,
    /// How it trains.
    pub method: Method,
    /// One point a step.
    pub curve: Vec<CurvePoint>,
    /// Checkpoints in order; the last is the result.
    pub checkpoints: Vec<Checkpoint>,
    /// Accuracy of the last checkpoint minus the base's, problem by problem, on the main suite.
    pub gain: Option<Interval>,
    /// What became of the heads, one entry a checkpoint that has a circuit.
    pub changes: Vec<HeadChange>,
    /// Effect of the run on each head, mean over checkpoints.
    pub effects: Vec<HeadEffect>,
    /// Whether head turnover goes with reward (or loss).
    pub dynamics: Option<Correlation>,
}

/// A training step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Optimiser steps done before.
    pub step: u64,
    /// Loss, nats a token (SFT).
    pub loss: Option<f64>,
    /// Mean reward of the step's completions (GRPO).
    pub reward: Option<f64>,
    /// Mean length of completions, tokens (GRPO).
    pub length: Option<f64>,
    /// Learning rate.
    pub lr: Option<f64>,
}

/// What became of the heads at one checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadChange {
    /// The checkpoint's step.
    pub step: u64,
    /// Heads of the base's circuit that are in this one.
    #[serde(with = "texts")]
    pub kept: Vec<Head>,
    /// Heads of this circuit that are not in the base's: the emergent heads.
    #[serde(with = "texts")]
    pub gained: Vec<Head>,
    /// Heads of the base's circuit that are not in this one.
    #[serde(with = "texts")]
    pub lost: Vec<Head>,
    /// Heads that the checkpoint before had not (the base is before the first).
    #[serde(with = "texts")]
    pub births: Vec<Head>,
    /// Heads that the checkpoint before had and this one has not.
    #[serde(with = "texts")]
    pub deaths: Vec<Head>,
    /// `(births + deaths) / heads in either`, 0 to 1.
    pub turnover: f64,
    /// Change of mean reward (or loss) since the checkpoint before.
    pub reward_change: Option<f64>,
}

/// What a run did to one head's importance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadEffect {
    /// Which head.
    #[serde(with = "text")]
    pub head: Head,
    /// Share of all importance in the base.
    pub before: f64,
    /// Share of all importance after, mean over checkpoints.
    pub after: f64,
    /// `(after − before) / (after + before + ε)`, −1 to 1.
    pub effect: f64,
    /// 95 % bootstrap interval of the effect over pairs.
    pub interval: Option<Interval>,
}

/// How much circuits of one checkpoint differ between resamples of the pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoiseFloor {
    /// Which checkpoint.
    pub checkpoint: String,
    /// How many resamples.
    pub repeats: usize,
    /// Turnover between two of them: mean, and the range of 95 %.
    pub turnover: Interval,
    /// Heads in one and not in the other: mean, and the range of 95 %.
    pub changed_heads: Interval,
}

/// A set of heads by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadSet {
    /// In the post-trained circuit, not in the base's.
    Emergent,
    /// In both.
    Kept,
    /// In the base's circuit only.
    Lost,
}

/// What is done to the heads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// Their output is zero.
    Zero,
    /// Their output is its mean.
    Mean,
    /// Their output is multiplied.
    Scale {
        /// By this.
        factor: f64,
    },
}

/// Heads changed while a model answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervention {
    /// The checkpoint that answers.
    pub checkpoint: String,
    /// The training whose heads are changed.
    pub training: String,
    /// Which of its heads.
    pub set: HeadSet,
    /// What is done to them.
    pub action: Action,
    /// The heads themselves.
    #[serde(with = "texts")]
    pub heads: Vec<Head>,
    /// Suite of the accuracies below.
    pub suite: String,
    /// Problems judged.
    pub n: usize,
    /// Accuracy with all heads as they are.
    pub untouched: Interval,
    /// Accuracy with the heads changed.
    pub accuracy: Interval,
    /// The same done to as many random heads of the same layers, drawn anew each time.
    pub random: Vec<RandomDraw>,
}

/// A random control of an intervention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomDraw {
    /// The heads drawn.
    #[serde(with = "texts")]
    pub heads: Vec<Head>,
    /// Accuracy with these changed.
    pub accuracy: Interval,
}

/// A reason for doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// What one might have concluded.
    pub claim: String,
    /// What was held against it.
    pub control: String,
    /// What came of that.
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

impl Results {
    /// The file's text.
    ///
    /// # Errors
    /// A number that is not finite, which JSON cannot hold.
    pub fn to_json(&self) -> Result<String, Error> {
        let fail = |e: serde_json::Error| Error::input(format!("results.json: {e}"));
        let text = serde_json::to_string_pretty(self).map_err(fail)?;
        let back: Self = serde_json::from_str(&text)
            .map_err(|e| Error::input(format!("results.json: {e}; expected finite numbers throughout")))?;
        if &back == self {
            Ok(text + "\n")
        } else {
            Err(Error::input("results.json: expected finite numbers throughout"))
        }
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// Text that is not a results file, or one of another version.
    pub fn parse(text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Header {
            schema: String,
            version: u32,
        }
        let fail = |e: serde_json::Error| Error::input(format!("results.json: {e}"));
        let header: Header = serde_json::from_str(text).map_err(fail)?;
        if header.schema != SCHEMA || header.version != VERSION {
            let Header { schema, version } = header;
            return Err(Error::input(format!(
                "results.json: `schema` is {schema} version {version}, expected {SCHEMA} version {VERSION}"
            )));
        }
        serde_json::from_str(text).map_err(fail)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What cannot be read or parsed; the message names the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::at(path, e))?;
        Self::parse(&text).map_err(|e| Error::at(path, e))
    }
}

impl Checkpoint {
    /// Accuracy on the suite of this name.
    pub fn accuracy(&self, suite: &str) -> Option<&Accuracy> {
        self.accuracy.iter().find(|a| a.suite == suite)
    }
}

/// A value as its text.
mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Values as a list of texts.
mod texts {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|t| t.parse().map_err(D::Error::custom)).collect()
    }
}
