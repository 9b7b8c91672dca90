//! Claims of the paper as hypotheses, each with what this study says about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

/// What a study says about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The effect has the claimed direction, and the corrected p-value is below the level.
    Supported,
    /// The test had the power to see the effect that matters, and did not; or the effect has the other direction.
    NotSupported,
    /// What the claim is about was not measured, or too little of it to see the effect that matters.
    CannotTell,
}

/// A claim and its test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hypothesis {
    /// Stable key: `sft-accumulates`.
    pub id: String,
    /// The claim, in a sentence.
    pub claim: String,
    /// Where the paper says it.
    pub source: String,
    /// What the effect is, with its unit.
    pub measure: String,
    /// The effect with its 95 % interval; `None` where it was not measured.
    pub effect: Option<Interval>,
    /// The test, in words.
    pub test: String,
    /// p-value before correction.
    pub p_value: Option<f64>,
    /// p-value after Holm's correction for the tests of this list that were made.
    pub corrected: Option<f64>,
    /// The smallest effect that this study would have found with power 0.8 at level 0.05, in the unit of the effect. `None`
    /// where it could not be computed.
    pub minimum_effect: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub reason: String,
}
