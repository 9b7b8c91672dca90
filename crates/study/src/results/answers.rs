//! Answers of checkpoints to the problems of a benchmark.

use bench_math::{Failure, Measures};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::{Interval, Mcnemar};

/// A set of problems and how they are given to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchmarkFacts {
    /// Short name, used as a key by answers and interventions.
    pub name: String,
    /// What is in it.
    pub description: String,
    /// Whether it is the easy or the hard one of a comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Problems.
    pub n: usize,
    /// Samples of each problem.
    pub samples: usize,
    /// Prompt template.
    pub template: String,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f64,
    /// Largest number of new tokens.
    pub max_tokens: usize,
    /// The ids of its problems, in the order of [`Answers::rates`].
    pub problems: Vec<String>,
}

/// How hard a benchmark is, of two that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The easy one.
    Easy,
    /// The hard one.
    Hard,
}

/// How a model was asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ThinkMode {
    /// With reasoning.
    On,
    /// Without: the template writes an empty block of reasoning.
    Off,
}

/// One checkpoint's answers to a benchmark, all heads as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answers {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// Name of the benchmark.
    pub benchmark: String,
    /// pass@1, pass@k, success@k, maj@k, lengths and shares of failures, with 95 % intervals over problems.
    pub measures: Measures,
    /// Share of right samples of each problem.
    pub rates: Vec<f64>,
    /// Accuracy less the base's, problem by problem; `None` for the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<Interval>,
}

/// What changed between the answers of the base and those of a checkpoint (Thinking Sparks, section 5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cases {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// Label of the checkpoint that it is compared with.
    pub against: String,
    /// Name of the benchmark.
    pub benchmark: String,
    /// Ids of problems solved now and not before. Solved: more than half of the samples are right.
    pub newly_solved: Vec<String>,
    /// Ids of problems solved before and not now.
    pub newly_missed: Vec<String>,
    /// Exact test on these two numbers.
    pub mcnemar: Mcnemar,
    /// The main kind of failure of each wrong sample, before and now: the counts sum to the wrong samples. Empty in what
    /// was a file of version 1, whose kinds were others.
    pub failures: Vec<FailureCount>,
    /// The first of the newly solved and missed problems, with the texts.
    pub examples: Vec<Case>,
}

/// How many samples have one main kind of failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureCount {
    /// The kind.
    pub kind: Failure,
    /// Samples of the checkpoint that is compared with.
    pub before: usize,
    /// Samples of the checkpoint.
    pub after: usize,
}

/// A problem that one checkpoint solves and another does not, with one sample of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// The problem's id.
    pub id: String,
    /// The problem.
    pub problem: String,
    /// The right answer.
    pub answer: String,
    /// Solved now, not before; else the other way round.
    pub newly_solved: bool,
    /// The first sample of the checkpoint that is compared with: wrong where the problem is newly solved, else right.
    pub before: CaseSample,
    /// The first sample of the checkpoint: right where the problem is newly solved, else wrong.
    pub after: CaseSample,
}

/// A sample as it was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseSample {
    /// The completion.
    pub text: String,
    /// The answer read in it.
    pub answer: Option<String>,
    /// Whether it is right.
    pub correct: bool,
    /// How it fails, the main kind first; empty where it is right.
    pub failures: Vec<Failure>,
}
