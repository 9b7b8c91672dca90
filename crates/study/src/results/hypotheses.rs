//! Claims of the paper as hypotheses, each with what this study says about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

/// What a study says about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The effect has the claimed direction, and the corrected p-value is at most the level.
    Supported,
    /// The effect has the other direction, and the corrected p-value is at most the level; or the test had the power to see the
    /// effect that matters, and did not.
    NotSupported,
    /// What the claim is about was not measured, or too little of it to see the effect that matters, or no effect could have
    /// been found.
    CannotTell,
}

/// The unit of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A difference of numbers of heads.
    Heads,
    /// A difference of mean numbers of circuit edges at a head.
    EdgesPerHead,
    /// A rank correlation, −1 to 1.
    Correlation,
    /// A difference of accuracies, as a fraction; reports write it in percentage points.
    Accuracy,
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
    /// What the effect is.
    pub measure: String,
    /// The unit of `effect` and `minimum_effect`; files of earlier builds do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The effect with its 95 % interval, tested or not; `None` where it was not measured.
    pub effect: Option<Interval>,
    /// The test that the claim takes, in words; it was made where there is a p-value.
    pub test: String,
    /// p-value before correction.
    pub p_value: Option<f64>,
    /// p-value after Holm's correction for the tests of this list that were made.
    pub corrected: Option<f64>,
    /// The smallest effect that this study would have found with power 0.8 at level 0.05, in the unit of the effect. `None`
    /// where the test was not made.
    pub minimum_effect: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub reason: String,
}
