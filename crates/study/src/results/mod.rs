//! `results.json`: everything a study found, as one documented, versioned object. Types only: head sets are
//! computed in `dynamics`, findings in the report.
//!
//! Probabilities and accuracies are fractions in `[0, 1]`. Heads are written `"L5H1"`, edges
//! `"a1.h3->a4.h0<q>"`. Numbers are finite: [`Results::to_json`] refuses others. Fields may be added in a
//! version; a field that changes its meaning raises [`VERSION`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

mod as_text;
mod checkpoint;
mod facts;
mod heads;
mod intervention;
mod training;

pub use checkpoint::{Accuracy, CheckpointFacts, CircuitFacts, ScoredEdge};
pub use facts::{
    Caveat, Machine, ModelFacts, RunFacts, Said, Setting, StageTime, SuiteFacts, TaskExample, TaskFacts,
    Version,
};
pub use heads::{CheckpointHeads, Cohort, HeadFrequency, HeadStudy, TestedHead};
pub use intervention::{Action, HeadSet, Intervention, RandomDraw};
pub use training::{CurvePoint, HeadChange, NoiseFloor, Training, TrainingEffect, TrainingMethod};

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
    /// Heads zeroed or scaled, with their random controls.
    pub interventions: Vec<Intervention>,
    /// Claims that fail their control, and limits that no control of this study covers.
    pub warnings: Vec<Caveat>,
    /// Every setting, in the order of the configuration.
    pub settings: Vec<Setting>,
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
