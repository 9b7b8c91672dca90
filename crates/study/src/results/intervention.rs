//! Heads zeroed or scaled while a model answers, with random controls.

use hooks::Head;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::as_text::texts;

/// Which heads of a training run an intervention changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// SuiteFacts of the accuracies below.
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
