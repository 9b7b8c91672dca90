//! Rewards as a run file names them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Reward;
use super::command::Program;
use super::correct::{Correct, Cosine, Length};
use super::length::{Overlong, Repetition};
use super::text::{Format, Language, TagCount};
use crate::Error;

/// A `[[reward]]` of a run file: which one, its weight, its name in metrics and files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct RewardConfig {
    /// The kind's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Factor in the total; 1 where not given.
    pub weight: f64,
    /// Which reward.
    #[serde(flatten)]
    pub kind: RewardKind,
}

/// Which reward. Lengths are in tokens of the completion, the stop token included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RewardKind {
    /// 1 for the right answer by `math_grade`, 0 for others; not judged without an answer that the grader reads.
    Correct {
        /// Only what follows the last `</think>` counts, and without one nothing (TRL's `reasoning_accuracy_reward`).
        #[serde(default)]
        after_think: bool,
    },
    /// 1 for the form asked for, 0 for others.
    Format {
        /// The form.
        #[serde(default)]
        style: FormatStyle,
    },
    /// A quarter for each of open-r1's four tags that is there once.
    TagCount {},
    /// Among a prompt's completions 0.5 for the shortest down to -0.5 for the longest; wrong ones at most 0 (Kimi k1.5).
    Length {},
    /// A cosine from one value at no length to another at `max_tokens`, for wrong and right completions (TRL).
    Cosine {
        /// Where the second value is reached.
        max_tokens: usize,
        /// Of wrong completions.
        #[serde(default = "wrong")]
        wrong: [f64; 2],
        /// Of right ones.
        #[serde(default = "right")]
        correct: [f64; 2],
    },
    /// 0 up to `max_tokens - cache`, then falling to -1 at `max_tokens` (DAPO, equation 13).
    Overlong {
        /// Where it is -1.
        max_tokens: usize,
        /// Tokens over which it falls.
        cache: usize,
    },
    /// `max_penalty` times the share of n-grams that came before.
    Repetition {
        /// n.
        #[serde(default = "three")]
        n: usize,
        /// At most 0.
        #[serde(default = "minus_one")]
        max_penalty: f64,
        /// Of what the n-grams are.
        #[serde(default)]
        unit: RepetitionUnit,
    },
    /// The share of letters that are of a script of Unicode; 1 where there are no letters.
    Language {
        /// "Latin", "Han", "Cyrillic", …
        script: String,
    },
    /// What a program says: JSON lines in and out (docs/METHODS.md).
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// Seconds within which each completion is answered.
        #[serde(default = "minute")]
        timeout: f64,
    },
}

/// Forms of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatStyle {
    /// `<think>\n…\n</think>\n<answer>\n…\n</answer>` (open-r1).
    #[default]
    ThinkAnswer,
    /// `<think>…</think>…` (TRL).
    Think,
}

/// Of what n-grams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepetitionUnit {
    /// Token ids (TRL).
    #[default]
    Tokens,
    /// Words in lower case, between blanks (open-r1).
    Words,
}

fn wrong() -> [f64; 2] {
    [-1.0, -0.5]
}

fn right() -> [f64; 2] {
    [1.0, 0.5]
}

fn three() -> usize {
    3
}

fn minus_one() -> f64 {
    -1.0
}

fn minute() -> f64 {
    60.0
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self { name: None, weight: 1.0, kind: RewardKind::Correct { after_think: false } }
    }
}

impl TryFrom<Map<String, Value>> for RewardConfig {
    type Error = String;

    fn try_from(mut table: Map<String, Value>) -> Result<Self, String> {
        let name = match table.remove("name") {
            None => None,
            Some(Value::String(name)) => Some(name),
            Some(other) => return Err(format!("reward.name is {other}, expected a text")),
        };
        let weight = match table.remove("weight") {
            None => 1.0,
            Some(value) => value.as_f64().ok_or_else(|| {
                format!(
                    "reward.weight is {value}, expected a finite number (null stands for one that is not)"
                )
            })?,
        };
        if !table.contains_key("kind") && table.contains_key("command") {
            table.insert("kind".to_owned(), "command".into());
        }
        let shown = table.get("kind").map_or("reward".to_owned(), |kind| format!("reward of kind {kind}"));
        let kind = serde_json::from_value(Value::Object(table)).map_err(|e| format!("{shown}: {e}"))?;
        Ok(Self { name, weight, kind })
    }
}

impl RewardConfig {
    /// Its name in metrics and files.
    pub fn name(&self) -> &str {
        let kind = match &self.kind {
            RewardKind::Correct { .. } => "correct",
            RewardKind::Format { .. } => "format",
            RewardKind::TagCount {} => "tag_count",
            RewardKind::Length {} => "length",
            RewardKind::Cosine { .. } => "cosine",
            RewardKind::Overlong { .. } => "overlong",
            RewardKind::Repetition { .. } => "repetition",
            RewardKind::Language { .. } => "language",
            RewardKind::Command { .. } => "command",
        };
        self.name.as_deref().unwrap_or(kind)
    }

    /// One of each kind, with every setting.
    pub fn examples() -> Vec<Self> {
        let kinds = [
            RewardKind::Correct { after_think: false },
            RewardKind::Format { style: FormatStyle::default() },
            RewardKind::TagCount {},
            RewardKind::Length {},
            RewardKind::Cosine { max_tokens: 256, wrong: wrong(), correct: right() },
            RewardKind::Overlong { max_tokens: 256, cache: 64 },
            RewardKind::Repetition { n: 3, max_penalty: -1.0, unit: RepetitionUnit::default() },
            RewardKind::Language { script: "Latin".to_owned() },
            RewardKind::Command { command: vec!["true".to_owned()], timeout: minute() },
        ];
        kinds.into_iter().map(|kind| Self { name: None, weight: 1.0, kind }).collect()
    }

    /// Whether it needs the problems' answers.
    pub fn needs_answer(&self) -> bool {
        matches!(self.kind, RewardKind::Correct { .. } | RewardKind::Length {} | RewardKind::Cosine { .. })
    }

    /// Checks names and ranges of all rewards of a run.
    ///
    /// # Errors
    /// The first that is out of its range, by name.
    pub fn check_all(all: &[Self]) -> Result<(), Error> {
        if all.is_empty() {
            return Err(Error::input("reward is empty, expected at least one [[reward]]"));
        }
        for (at, one) in all.iter().enumerate() {
            let name = one.name();
            one.check().map_err(|e| e.within(format!("reward `{name}`")))?;
            if name.is_empty() || name.contains('/') {
                return Err(Error::input(format!("reward.name is {name:?}, expected a text without /")));
            }
            if all[..at].iter().any(|other| other.name() == name) {
                return Err(Error::input(format!("two rewards are called `{name}`: give them a name each")));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let expected = |what: &str| Err(Error::input(format!("expected {what}")));
        let finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
        if !self.weight.is_finite() {
            return expected("a finite weight");
        }
        match &self.kind {
            RewardKind::Cosine { max_tokens: 0, .. } => expected("max_tokens from 1"),
            RewardKind::Cosine { wrong, correct, .. } if !finite(wrong) || !finite(correct) => {
                expected("finite values of wrong and correct")
            }
            RewardKind::Overlong { max_tokens, cache } if cache > max_tokens => {
                expected("cache of at most max_tokens")
            }
            RewardKind::Repetition { n: 0, .. } => expected("n from 1"),
            RewardKind::Repetition { max_penalty, .. }
                if !(*max_penalty <= 0.0 && max_penalty.is_finite()) =>
            {
                expected("max_penalty of at most 0")
            }
            RewardKind::Language { script } => Language::new(script).map(drop),
            RewardKind::Command { command, .. } if command.is_empty() => expected("command: a program"),
            RewardKind::Command { timeout, .. } if !(*timeout > 0.0 && *timeout <= 1e6) => {
                expected("timeout above 0 and at most 1e6 seconds")
            }
            _ => Ok(()),
        }
    }
}

impl RewardKind {
    /// The reward itself; a command is started.
    pub(super) fn start(&self) -> Result<Box<dyn Reward>, Error> {
        Ok(match self.clone() {
            Self::Correct { after_think } => Box::new(Correct { after_think }),
            Self::Format { style } => Box::new(Format(style)),
            Self::TagCount {} => Box::new(TagCount),
            Self::Length {} => Box::new(Length),
            Self::Cosine { max_tokens, wrong, correct } => {
                Box::new(Cosine { max_tokens, wrong, right: correct })
            }
            Self::Overlong { max_tokens, cache } => Box::new(Overlong { max_tokens, cache }),
            Self::Repetition { n, max_penalty, unit } => Box::new(Repetition { n, max_penalty, unit }),
            Self::Language { script } => Box::new(Language::new(&script)?),
            Self::Command { command, timeout } => Box::new(Program::start(&command, timeout)?),
        })
    }
}
