//! One checkpoint asked to think and asked not to: circuits of both modes, and answers with the heads of one changed.

use bench_math::Measures;
use hooks::Head;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::as_text::texts;
use super::{Action, CircuitFacts, NoiseFloor, TestedHead, ThinkMode};

/// Thinking on and off in one checkpoint (Thinking Sparks, Table 2, Figures 5 and 17).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThinkStudy {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// Name of the benchmark whose problems the pairs are made of.
    pub benchmark: String,
    /// Name of the rule that selected the circuits.
    pub rule: String,
    /// Pairs of each circuit.
    pub pairs: usize,
    /// Circuit of the openings with thinking, the openings without as the corrupt side.
    pub on: CircuitFacts,
    /// Circuit of the openings without thinking, those with it as the corrupt side.
    pub off: CircuitFacts,
    /// Heads of the circuit with thinking only.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub on_only: Vec<Head>,
    /// Heads of the circuit without thinking only.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub off_only: Vec<Head>,
    /// The test of each head's change from the circuit with thinking to the one without.
    pub tests: Vec<TestedHead>,
    /// Noise floor of the circuit with thinking.
    pub noise: NoiseFloor,
    /// Answers in each mode, and without thinking with heads changed.
    pub conditions: Vec<ThinkCondition>,
}

impl ThinkStudy {
    /// The answers to a benchmark in one mode, all heads as they are.
    pub fn plain(&self, benchmark: &str, mode: ThinkMode) -> Option<&ThinkCondition> {
        self.conditions.iter().find(|c| c.benchmark == benchmark && c.mode == mode && c.action.is_none())
    }
}

/// Answers to one benchmark in one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThinkCondition {
    /// Name of the benchmark.
    pub benchmark: String,
    /// The mode.
    pub mode: ThinkMode,
    /// What was done to `heads`; `None` where all heads are as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The heads that were changed.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub heads: Vec<Head>,
    /// pass@1, pass@k, success@k and others.
    pub measures: Measures,
    /// Share of the completions that end their thinking with `</think>`; with thinking off they think all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinks: Option<f64>,
    /// Share of right samples of each problem.
    pub rates: Vec<f64>,
    /// Accuracy less that of the same mode with all heads as they are, problem by problem; `None` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Interval>,
}
