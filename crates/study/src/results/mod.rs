//! `results.json`: everything a study found, as one documented, versioned object. Types only: head sets are
//! computed in `dynamics`, findings in the report.
//!
//! Probabilities and accuracies are fractions in `[0, 1]`. Heads are written `"L5H1"`, edges
//! `"a1.h3->a4.h0<q>"`. Numbers are finite: [`Results::to_json`] refuses others. Fields may be added in a
//! version; a field that changes its meaning raises [`VERSION`]. What a stage did not find, or did not run for, is left out.
//! `docs/results.schema.json` is the schema ([`schema()`]).

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

mod answers;
mod as_text;
mod checkpoint;
mod controls;
mod facts;
mod heads;
mod hypotheses;
mod intervention;
mod roles;
mod think;
mod training;
mod transfer;

pub use answers::{Answers, BenchmarkFacts, Case, CaseSample, Cases, FailureCount, Level, ThinkMode};
pub use checkpoint::{Accuracy, CheckpointFacts, CircuitFacts, ScoredEdge};
pub use controls::{
    Control, ControlTrial, Controls, MatchedNoise, SeedRun, SeedTraining, SeedVerdict, Stability,
};
pub use facts::{
    Caveat, CheckpointSource, Machine, ModelFacts, PairExample, PairsFacts, PairsSource, RunFacts, Said,
    Setting, StageTime, SuiteFacts, TaskExample, TaskFacts, Topic, Version,
};
pub use heads::{CheckpointHeads, Cohort, HeadFrequency, HeadStudy, TestedHead};
pub use hypotheses::{Hypothesis, Unit, Verdict};
pub use intervention::{Action, HeadSet, Intervention, RandomDraw};
pub use roles::{AttentionExample, HeadAttention, HeadRole, HeadRoles};
pub use think::{ThinkCondition, ThinkStudy};
pub use training::{CurvePoint, HeadChange, NoiseFloor, Training, TrainingEffect, TrainingMethod};
pub use transfer::{Transfer, TransferDraw};

/// The value of `schema` in every results file.
pub const SCHEMA: &str = "thinking-sparks/results";
/// The version that this build writes. It reads version 1 too.
pub const VERSION: u32 = 2;

/// A study and what it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// A heading for the report.
    pub title: String,
    /// Shown above everything else, e.g. that the numbers are made up for a test.
    pub notice: Option<String>,
    /// Run metadata: command, machine, versions, times.
    pub run: RunFacts,
    /// The model that was post-trained.
    pub model: ModelFacts,
    /// What it was asked to do.
    pub task: TaskFacts,
    /// The model before post-training, step 0.
    pub base: CheckpointFacts,
    /// The post-training runs, all from the base.
    pub trainings: Vec<Training>,
    /// Noise floor: how much circuits of one checkpoint differ between resamples of the pairs.
    pub noise: Option<NoiseFloor>,
    /// The false-discovery rate at which a change of a head is called found; `None` where nothing was tested.
    #[serde(default)]
    pub false_discovery_rate: Option<f64>,
    /// Circuits and heads on every suite by every rule; those of the first suite and rule are in `trainings` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadStudy>,
    /// Every checkpoint, the base first, with its parent and step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<CheckpointSource>,
    /// The benchmarks, and how their problems are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmarks: Vec<BenchmarkFacts>,
    /// The answers of each checkpoint to each benchmark, all heads as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answers>,
    /// Heads zeroed, replaced or scaled while a checkpoint answers, with their random controls.
    pub interventions: Vec<Intervention>,
    /// Thinking on and off, for each checkpoint that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub think: Vec<ThinkStudy>,
    /// What changed between the answers of the base and of each training's last checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<Cases>,
    /// Heads' activations of one checkpoint put into another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    /// What the heads of each checkpoint attend to, on the clean prompts of each suite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<HeadRoles>,
    /// The claims of the paper, each with its test and verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hypotheses: Vec<Hypothesis>,
    /// The pipeline on planted changes and on noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controls: Option<Controls>,
    /// The same study with other seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<Stability>,
    /// Claims that fail their control, and limits that no control of this study covers.
    pub warnings: Vec<Caveat>,
    /// Every setting, in the order of the configuration.
    pub settings: Vec<Setting>,
}

/// The JSON Schema of a results file (draft 2020-12), as `docs/results.schema.json` has it.
///
/// # Errors
/// None: a test makes it.
pub fn schema() -> Result<String, Error> {
    let text = serde_json::to_string_pretty(&schemars::schema_for!(Results)).map_err(Error::internal)?;
    Ok(text + "\n")
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

    /// Reads the file's text. What version 1 says by other definitions is left out: kinds of failure, and correlations
    /// whose p-value is not their lag's own.
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
        match (header.schema.as_str(), header.version) {
            (SCHEMA, VERSION) => serde_json::from_str(text).map_err(fail),
            (SCHEMA, 1) => {
                serde_json::from_value(upgraded(serde_json::from_str(text).map_err(fail)?)).map_err(fail)
            }
            (schema, version) => Err(Error::input(format!(
                "results.json: `schema` is {schema} version {version}, expected {SCHEMA} version {VERSION} or 1"
            ))),
        }
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

/// A file of version 1 without what version 2 says in another way.
fn upgraded(mut file: Value) -> Value {
    let each = |of: &mut Value, list: &str, change: &dyn Fn(&mut Value)| {
        of.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(change);
    };
    file["version"] = VERSION.into();
    each(&mut file, "heads", &|study| study["dynamics"] = Value::Null);
    each(&mut file, "cases", &|cases| {
        cases["failures"] = Value::Array(Vec::new());
        each(cases, "examples", &|case| {
            for at in ["before", "after"] {
                case[at]["failures"] = Value::Array(Vec::new());
            }
        });
    });
    file
}
