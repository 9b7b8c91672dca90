//! Circuits and heads of the checkpoints of one training, on one suite, by one rule of selection.

use circuits::Fate;
use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::{Interval, LaggedCorrelation};

use super::as_text::{text, texts};
use super::{CircuitFacts, HeadChange, NoiseFloor, TrainingEffect};

/// Circuits and heads of one training's checkpoints (Thinking Sparks, Figures 2, 3 and 6 to 11).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeadStudy {
    /// Name of the training, or of the checkpoint that was given.
    pub training: String,
    /// Name of the suite whose pairs the circuits were found on.
    pub suite: String,
    /// Name of the rule that selected them.
    pub rule: String,
    /// The base's circuit.
    pub base: CircuitFacts,
    /// The checkpoints, in order.
    pub checkpoints: Vec<CheckpointHeads>,
    /// Changes of the head set, one entry a checkpoint.
    pub changes: Vec<HeadChange>,
    /// New heads by the checkpoint at which each was first in a circuit.
    pub cohorts: Vec<Cohort>,
    /// How often each head was in a circuit, over checkpoints; heads that never were are left out.
    pub frequency: Vec<HeadFrequency>,
    /// Effect on each head, mean over checkpoints.
    pub effects: Vec<TrainingEffect>,
    /// Noise floor of the base's circuit.
    pub base_noise: NoiseFloor,
    /// Correlation of turnover less its noise floor with the absolute change of reward (or loss), over checkpoints.
    /// A positive lag: turnover is ahead. `None` where there are too few checkpoints, or no curve.
    pub dynamics: Option<LaggedCorrelation>,
}

/// A checkpoint's circuit, its noise floor, and the tests of its heads against the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointHeads {
    /// Label of the checkpoint.
    pub label: String,
    /// Optimiser steps.
    pub step: u64,
    /// Its circuit.
    pub circuit: CircuitFacts,
    /// Noise floor of its circuit.
    pub noise: NoiseFloor,
    /// Tests of all heads of the model, in a circuit or not.
    pub tests: Vec<TestedHead>,
}

/// The test of one head against the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestedHead {
    /// Which head.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub head: Head,
    /// Which circuits it is in, and whether it is emergent.
    #[schemars(with = "String")]
    pub fate: Fate,
    /// Its share of the importance in the base's circuit.
    #[serde(default)]
    pub before: f64,
    /// Its share in the checkpoint's circuit.
    #[serde(default)]
    pub after: f64,
    /// Effect E = (after − before) / (after + before + 10⁻⁶) with its 95 % interval over draws of the pairs.
    pub effect: Interval,
    /// Share of draws of the pairs in which the base's circuit has it.
    pub base_frequency: f64,
    /// Share of draws of the pairs in which the later circuit has it.
    pub frequency: f64,
    /// Two-sided p-value of the change in its share of edge scores, before correction.
    pub p_value: f64,
    /// Whether the change is found at the false-discovery rate.
    pub found: bool,
}

/// New heads that were first in a circuit at the same checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cohort {
    /// That checkpoint's step.
    pub step: u64,
    /// The heads.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub heads: Vec<Head>,
    /// How many of them are in the circuit of each checkpoint, from that one on.
    pub alive: Vec<usize>,
}

/// How often a head was in a circuit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeadFrequency {
    /// Which head.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub head: Head,
    /// Share of the checkpoints whose circuit has it.
    pub share: f64,
    /// Whether the base's circuit has it.
    pub base: bool,
    /// Whether the last checkpoint's circuit has it.
    pub last: bool,
}
