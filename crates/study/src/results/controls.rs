//! Controls of the whole pipeline: a change that was planted, and noise; and the same study with other seeds.

use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::Verdict;
use super::as_text::texts;

/// The pipeline run on pairs of checkpoints of which it is known what changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Controls {
    /// What one head did is done by another: the pipeline has to name it.
    pub positive: Option<Control>,
    /// Weights that differ by noise: the pipeline has to find nothing.
    pub negative: Option<Control>,
    /// Weights that differ by noise as large as a training's change of them: how much the pipeline finds then is what the
    /// training's own heads have to be compared with. Not in files of earlier builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<MatchedNoise>,
}

/// Noise as large as the change of weights that one training made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatchedNoise {
    /// Name of the training.
    pub training: String,
    /// Root mean square of its change of a matrix over that of the matrix: the median over the blocks' matrices.
    pub change: f64,
    /// The command that made the trials.
    pub command: String,
    /// The trials, one a seed.
    pub trials: Vec<ControlTrial>,
}

/// One kind of control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Control {
    /// What was done to the weights, in words.
    pub planted: String,
    /// The command that made the trials.
    pub command: String,
    /// The trials, one a seed.
    pub trials: Vec<ControlTrial>,
    /// Share of the trials in which the pipeline finds what was planted (positive: the head is emergent) or finds something
    /// (negative: any head is emergent), with Wilson's 95 % interval.
    pub rate: Interval,
    /// Negative: share of all tests of single heads in which a change was found, with a 95 % interval over the trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_rate: Option<Interval>,
    /// The false-discovery rate at which the pipeline tested.
    pub level: f64,
}

/// One trial of a control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ControlTrial {
    /// Its seed.
    pub seed: u64,
    /// Heads whose change was planted; empty for noise.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub planted: Vec<Head>,
    /// Heads that are new, emergent or not.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub new: Vec<Head>,
    /// Heads that the pipeline called emergent.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub emergent: Vec<Head>,
    /// Heads that it called lost.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub lost: Vec<Head>,
    /// Heads that were tested; 0 in files of earlier builds.
    #[serde(default)]
    pub tested: usize,
    /// Heads whose change was found, in a circuit or not.
    #[serde(default)]
    pub changed: usize,
    /// Whether it found what was planted, or, where nothing was, anything.
    pub found: bool,
}

/// The same study with several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stability {
    /// The command that ran them.
    pub command: String,
    /// What the seeds have in common and what is drawn anew, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differ: Option<String>,
    /// One entry a seed.
    pub runs: Vec<SeedRun>,
}

/// One seed's study in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeedRun {
    /// The seed.
    pub seed: u64,
    /// Accuracy of the base on the seed's own problems; files of earlier builds do not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base: Vec<super::Accuracy>,
    /// Heads of the base's circuit on the seed's own pairs; files of earlier builds do not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub base_heads: Vec<Head>,
    /// The last checkpoint of each training.
    pub trainings: Vec<SeedTraining>,
    /// The verdicts on the claims.
    pub verdicts: Vec<SeedVerdict>,
}

/// The last checkpoint of one training with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeedTraining {
    /// Name of the training.
    pub name: String,
    /// Accuracy on each benchmark.
    pub accuracy: Vec<super::Accuracy>,
    /// New heads, emergent or not.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub new: Vec<Head>,
    /// Emergent heads.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub emergent: Vec<Head>,
    /// Heads of the base's circuit that are lost.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub lost: Vec<Head>,
}

/// The verdict on one claim with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeedVerdict {
    /// Key of the hypothesis.
    pub id: String,
    /// Its effect.
    pub effect: Option<Interval>,
    /// The verdict.
    pub verdict: Verdict,
}
