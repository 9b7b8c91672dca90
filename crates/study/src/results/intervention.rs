//! Heads zeroed or scaled while a model answers, with random controls.

use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::as_text::texts;

/// Which heads of a training run an intervention changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HeadSet {
    /// In the post-trained circuit and not in the base's, and the change is found at the false-discovery rate.
    Emergent,
    /// In the post-trained circuit and not in the base's, emergent or not.
    New,
    /// In both.
    Kept,
    /// In the base's circuit only.
    Lost,
    /// New and lost heads together.
    Joint,
    /// In the circuit of the control task, whichever others they are in.
    Control,
    /// In the circuit without thinking and not in the one with it.
    OffOnly,
}

/// What is done to the heads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// Their output is zero.
    Zero,
    /// Their output is its mean over the clean prompts of the suite.
    Mean,
    /// Their output is that on other problems, position by position.
    Resample,
    /// Their output is multiplied.
    Scale {
        /// By this.
        factor: f64,
    },
}

/// Heads changed while a model answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[schemars(with = "Vec<String>")]
    pub heads: Vec<Head>,
    /// Name of the benchmark that the accuracies below are of.
    pub suite: String,
    /// Problems judged.
    pub n: usize,
    /// Samples of each problem.
    #[serde(default = "one")]
    pub samples: usize,
    /// Accuracy with all heads as they are.
    pub untouched: Interval,
    /// Accuracy with the heads changed.
    pub accuracy: Interval,
    /// `accuracy − untouched`, problem by problem, with its paired bootstrap interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Interval>,
    /// Share of right samples of each problem with the heads changed, in the order of the benchmark's problems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<f64>,
    /// Share of the samples with the heads changed that have no readable answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<f64>,
    /// Mean length of the samples with the heads changed, tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// The same done to as many random heads of the same layers, drawn anew each time.
    pub random: Vec<RandomDraw>,
    /// Share of the draws, the heads themselves counted among them, whose accuracy is as far from `untouched` or farther.
    /// `None` with fewer than 19 draws, which cannot give 0.05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

fn one() -> usize {
    1
}

/// A random control of an intervention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RandomDraw {
    /// The heads drawn.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub heads: Vec<Head>,
    /// Accuracy with these changed.
    pub accuracy: Interval,
}
