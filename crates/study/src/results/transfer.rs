//! A head's activations of one checkpoint put into another.

use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::HeadSet;
use super::as_text::texts;

/// Mixed values z of some heads, recorded in the checkpoint `from` on the clean prompts of a suite, in place of those of
/// the checkpoint `into` on the same prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// Label of the checkpoint whose values are taken.
    pub from: String,
    /// Label of the checkpoint that is run.
    pub into: String,
    /// Name of the suite whose clean prompts are run.
    pub suite: String,
    /// Which heads of the training that `from` belongs to.
    pub set: HeadSet,
    /// The heads.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub heads: Vec<Head>,
    /// Name of the metric below.
    pub metric: String,
    /// Mean metric of `into`.
    pub before: f64,
    /// Mean metric of `into` with the heads' values of `from`.
    pub after: f64,
    /// Mean metric of `from`.
    pub source: f64,
    /// `after − before`, with its interval over pairs.
    pub change: Interval,
    /// `(after − before) / (source − before)`: how much of the difference between the checkpoints comes along. `None` where
    /// the checkpoints do not differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// `after − before` for as many random heads of the same layers, drawn anew each time.
    pub random: Vec<TransferDraw>,
    /// Share of the draws, the heads themselves counted among them, that move the metric at least as far towards `source`.
    /// `None` with fewer than 19 draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

/// A random control of a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TransferDraw {
    /// The heads drawn.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub heads: Vec<Head>,
    /// Mean change of the metric.
    pub change: f64,
}
