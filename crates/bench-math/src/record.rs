//! The records of a run: one JSON line for each graded sample. The run itself is in [`crate::run`].

use serde::{Deserialize, Serialize};

use crate::prompt::Prompt;
use math_grade::Verdict;

/// A sample that is still to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingSample {
    /// The problem's id.
    pub id: String,
    /// The problem's place in the run's list.
    pub problem: usize,
    /// Which sample of this problem, from 0.
    pub sample: usize,
    /// The seed to sample with: depends on the run's seed, the problem's id and the sample's number alone.
    pub seed: u64,
    /// The prompt.
    pub prompt: Prompt,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model's own end token.
    Eos,
    /// The token budget was used up.
    Length,
    /// A stop string of the template.
    Stop,
}

/// A completion of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The completion's text.
    pub completion: String,
    /// Its token ids.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: FinishReason,
}

/// One finished sample: a line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The problem's id.
    pub id: String,
    /// Which sample of this problem, from 0.
    pub sample: usize,
    /// The seed it was sampled with.
    pub seed: u64,
    /// The prompt.
    pub prompt: Prompt,
    /// The completion's text.
    pub completion: String,
    /// Its token ids; their number is its length.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: FinishReason,
    /// The extracted answer.
    pub answer: Option<String>,
    /// An answer was begun and cut off.
    pub cut_off: bool,
    /// The grader's verdict.
    pub verdict: Verdict,
}
