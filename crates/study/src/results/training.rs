//! Measurements of one training run: curve, checkpoints, changes of the head set.

use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::CheckpointFacts;
use super::as_text::{optional_texts, text, texts};

/// How a run trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrainingMethod {
    /// Supervised fine-tuning.
    Sft,
    /// Group-relative policy optimisation.
    Grpo,
}

impl TrainingMethod {
    /// The command that trains so: `sft` or `grpo`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Grpo => "grpo",
        }
    }
}

/// One post-training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Training {
    /// Name for the reader: `SFT`.
    pub name: String,
    /// How it trained; `None` where that is not known: a checkpoint that was given.
    #[serde(default)]
    pub method: Option<TrainingMethod>,
    /// One point a step.
    pub curve: Vec<CurvePoint>,
    /// Checkpoints in order; the last is the result.
    pub checkpoints: Vec<CheckpointFacts>,
    /// Accuracy of the last checkpoint minus the base's, problem by problem, on the main suite.
    pub gain: Option<Interval>,
    /// Changes of the head set, one entry for each checkpoint that has a circuit.
    pub changes: Vec<HeadChange>,
    /// Effect of the run on each head, mean over checkpoints.
    pub effects: Vec<TrainingEffect>,
}

/// A training step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
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

/// Heads of one checkpoint's circuit against those of the base and of the checkpoint before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeadChange {
    /// The checkpoint's step.
    pub step: u64,
    /// Heads of the base's circuit that are in this one.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub kept: Vec<Head>,
    /// New heads: in this circuit, not in the base's.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub gained: Vec<Head>,
    /// Emergent heads: those of `gained` whose change since the base is found at
    /// [`super::Results::false_discovery_rate`]. `None` where no test was made.
    #[serde(default, with = "optional_texts", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub emergent: Option<Vec<Head>>,
    /// Heads of the base's circuit that are not in this one.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub lost: Vec<Head>,
    /// Births: heads that are not in the circuit of the checkpoint before (the base is before the first).
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub births: Vec<Head>,
    /// Deaths: heads of the checkpoint before that are not in this circuit.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub deaths: Vec<Head>,
    /// `(births + deaths) / heads in either`, 0 to 1.
    pub turnover: f64,
    /// Change of mean reward (or loss) since the checkpoint before.
    pub reward_change: Option<f64>,
}

/// Effect of a training run on one head's importance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainingEffect {
    /// Which head.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub head: Head,
    /// Share of all importance in the base.
    pub before: f64,
    /// Share of all importance after, mean over checkpoints.
    pub after: f64,
    /// `(after − before) / (after + before + ε)`, −1 to 1.
    pub effect: f64,
    /// 95 % bootstrap interval, over pairs, of the effect at the last checkpoint.
    pub interval: Option<Interval>,
}

/// How much circuits of one checkpoint differ between resamples of the pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
