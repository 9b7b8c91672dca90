//! Rewards: functions of completions, with names and weights.

mod calculation;
mod command;
mod config;
mod correct;
mod length;
mod spelling;
mod text;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use model_qwen::Finish;
use posttrain::ranks::{Ranks, gather};
use serde_json::{Map, Value};

pub use config::{FormatStyle, RepetitionUnit, RewardConfig, RewardKind};
pub use correct::{is_readable, is_right};

use crate::Error;

/// A completion as rewards see it.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Which prompt of the step.
    pub prompt: usize,
    /// Text of the prompt.
    pub prompt_text: &'a str,
    /// Text of the completion, without special tokens.
    pub completion: &'a str,
    /// Token ids of the completion, the stop token included.
    pub ids: &'a [u32],
    /// Why it ended.
    pub finish: Finish,
    /// The reference answer.
    pub answer: Option<&'a str>,
    /// Other columns of the problem.
    pub columns: &'a Map<String, Value>,
}

/// A reward of completions. Closures `FnMut(&Sample) -> f32` are rewards.
pub trait Reward {
    /// One number for each completion of a step, in their order; NaN says that this reward cannot judge it.
    ///
    /// # Errors
    /// What keeps it from judging.
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error>;
}

impl<F: FnMut(&Sample<'_>) -> f32> Reward for F {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        Ok(samples.iter().map(self).collect())
    }
}

/// Rewards with their names and weights.
#[derive(Default)]
pub struct Rewards {
    all: Vec<(String, f64, Box<dyn Reward>)>,
}

impl fmt::Debug for Rewards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all.iter().map(|(name, weight, _)| (name, weight))).finish()
    }
}

impl Rewards {
    /// Those of a run file; commands are started.
    ///
    /// # Errors
    /// A setting out of its range, two rewards of one name, a command that cannot be started.
    pub fn new(config: &[RewardConfig]) -> Result<Self, Error> {
        RewardConfig::check_all(config)?;
        let mut rewards = Self::default();
        for one in config {
            rewards.all.push((one.name().to_owned(), one.weight, one.kind.start()?));
        }
        Ok(rewards)
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &str, weight: f64, reward: impl Reward + 'static) -> Self {
        self.all.push((name.to_owned(), weight, Box::new(reward)));
        self
    }

    /// As [`score`](Self::score), among several ranks: each judges the completions of some prompts, and has the rewards of
    /// all afterwards. Collective.
    ///
    /// # Errors
    /// As [`score`](Self::score), on the rank that judged.
    pub fn score_among(&mut self, samples: &[Sample<'_>], ranks: &dyn Ranks) -> Result<RewardTable, Error> {
        let mine: Vec<usize> = (0..samples.len()).filter(|&at| ranks.has(samples[at].prompt)).collect();
        let own: Vec<Sample<'_>> = mine.iter().map(|&at| samples[at]).collect();
        let mut table = RewardTable::default();
        if !own.is_empty() {
            table = self.score(&own)?;
        }
        let row = |(i, at): (usize, usize)| (at, table.values.iter().map(|values| values[i]).collect());
        let rows: Vec<(usize, Vec<f32>)> = mine.into_iter().enumerate().map(row).collect();
        let rows = gather(ranks, &rows);
        let mut all = RewardTable::default();
        for (at, (name, weight, _)) in self.all.iter().enumerate() {
            all.push(name, *weight, rows.iter().map(|row| row[at]).collect());
        }
        Ok(all)
    }

    /// Every reward of every completion.
    ///
    /// # Errors
    /// A reward that fails, panics, or judges another number of completions, by name. No completion is then scored.
    pub fn score(&mut self, samples: &[Sample<'_>]) -> Result<RewardTable, Error> {
        let mut table = RewardTable::default();
        for (name, weight, reward) in &mut self.all {
            let within = |e: Error| e.within(format!("reward `{name}`"));
            let values = caught(|| reward.score(samples)).map_err(within)?;
            if values.len() != samples.len() {
                let (found, expected) = (values.len(), samples.len());
                return Err(within(Error::input(format!(
                    "{found} numbers, expected {expected}, one a completion"
                ))));
            }
            table.push(name, *weight, values);
        }
        Ok(table)
    }
}

/// Runs a reward; a panic becomes an error.
pub(crate) fn caught<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Err(Error::internal(format!("panicked: {}", text.unwrap_or_default())))
    })
}

/// Every reward of every completion.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RewardTable {
    names: Vec<String>,
    weights: Vec<f64>,
    /// By reward, then by completion; NaN where it could not judge.
    values: Vec<Vec<f32>>,
}

impl RewardTable {
    pub(crate) fn push(&mut self, name: &str, weight: f64, values: Vec<f32>) {
        self.names.push(name.to_owned());
        self.weights.push(weight);
        self.values.push(values);
    }

    /// Names, in the order of the values.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The values of a reward, completion after completion.
    pub fn values(&self, reward: usize) -> &[f32] {
        &self.values[reward]
    }

    /// The weighted sum over the rewards that could judge a completion; NaN where none could (TRL's `nansum`).
    pub fn totals(&self) -> Vec<f32> {
        let n = self.values.first().map_or(0, Vec::len);
        let total = |at: usize| -> f32 {
            let judged = self.values.iter().zip(&self.weights).filter(|(values, _)| !values[at].is_nan());
            let terms: Vec<f64> = judged.map(|(values, weight)| f64::from(values[at]) * weight).collect();
            if terms.is_empty() { f32::NAN } else { terms.iter().sum::<f64>() as f32 }
        };
        (0..n).map(total).collect()
    }

    /// The rewards of some completions.
    pub(crate) fn rows(&self, at: &[usize]) -> Self {
        let values = self.values.iter().map(|values| at.iter().map(|&i| values[i]).collect()).collect();
        Self { values, ..self.clone() }
    }

    /// Adds another generation's completions behind these; the rewards are the same.
    pub(crate) fn append(&mut self, other: Self) {
        self.values.iter_mut().zip(other.values).for_each(|(values, more)| values.extend(more));
    }
}
