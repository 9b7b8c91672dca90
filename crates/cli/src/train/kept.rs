//! What the loop needs to go on beside weights and moments: tokens so far, the best evaluation, and how many
//! evaluations passed since.

use std::path::Path;

use common::{Error, file_hash, hash_of};
use model_qwen::model_hash;
use posttrain::rows::data_files;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kind;
use super::open::Open;
use super::sections::{BestMetric, RunSection};
use crate::options::Result;
use crate::output::to_json;

/// Kept in every checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Tokens of all steps, prompts included.
    pub(super) total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<Best>,
    /// The line of the last step, where a signal came before its evaluation or circuit: the resumed run makes up
    /// for them first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Map<String, Value>>,
    /// What the trainer needs beside: the weight of the entropy bonus, where it follows the entropy.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) trainer: Value,
    /// SHA-256 of what the run is made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<Inputs>,
    /// Evaluations since the last one that counts as better.
    #[serde(default, skip_serializing_if = "is_zero")]
    waited: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What checkpoints do not hold and a resumed run reads again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inputs {
    /// The files of `data.train`.
    data: String,
    /// The model, where the run trains an adapter beside it or has a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

impl Inputs {
    fn of(open: &Open<'_>) -> Result<Self> {
        let hashes: Vec<String> =
            data_files(&open.file.data.train)?.iter().map(file_hash).collect::<Result<_>>()?;
        let is_read_again =
            open.file.lora.is_some() || open.kind == Kind::Grpo && open.file.grpo().beta > 0.0;
        let model = is_read_again.then(|| model_hash(&open.file.model.path)).transpose()?;
        Ok(Self { data: hash_of(hashes.concat().as_bytes()), model })
    }

    /// Refuses others than `began`, those of the run so far.
    fn check(&self, began: &Self, open: &Open<'_>) -> Result {
        let changed = |what: &str, path: &Path| {
            Err(Error::at(path, format!("{what} is not what the run began with, expected the same contents")))
        };
        if self.data != began.data {
            return changed("data.train", &open.file.data.train);
        }
        // None where the run had no reference then.
        match (&self.model, &began.model) {
            (Some(now), Some(then)) if now != then => changed("model.path", &open.file.model.path),
            _ => Ok(()),
        }
    }
}

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Best {
    metric: BestMetric,
    value: f64,
    /// Steps done then; the checkpoint of that step stays.
    step: usize,
}

impl Kept {
    /// What the checkpoint kept; a best of another metric or another file is no best.
    ///
    /// # Errors
    /// Data or a model that changed since the run began.
    pub(super) fn new(open: &Open<'_>) -> Result<Self> {
        let inputs = Inputs::of(open)?;
        let Some(resumed) = open.resumed.as_ref().filter(|r| !r.state.is_null()) else {
            return Ok(Self { inputs: Some(inputs), ..Self::default() });
        };
        let kept: Self = serde_json::from_value(resumed.state.clone())
            .map_err(|e| Error::at(resumed.dir.join("state.json"), e))?;
        kept.inputs.as_ref().map_or(Ok(()), |began| inputs.check(began, open))?;
        let kept = Self { inputs: Some(inputs), ..kept };
        let same = kept.best.is_none_or(|best| Some(best.metric) == open.file.run.best);
        Ok(if same && !open.other_eval { kept } else { Self { best: None, waited: 0, ..kept } })
    }

    pub(super) fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    /// The step of the best evaluation.
    pub(super) fn best_step(&self) -> Option<usize> {
        self.best.map(|best| best.step)
    }

    /// Takes an evaluation after step `done`; whether it is the best so far. As in `transformers`, the best is any
    /// better value, and patience starts anew only where it is better by more than `run.min_delta`.
    pub(super) fn judge(&mut self, run: &RunSection, done: usize, evaluated: &Map<String, Value>) -> bool {
        let Some(metric) = run.best else { return false };
        // A value that is not finite is null in JSON, and never better.
        let value = evaluated.get(metric.name()).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let gain = self.best.map(|best| if metric.falls() { best.value - value } else { value - best.value });
        self.waited = match gain {
            None => 0,
            Some(gain) if gain > 0.0 && gain > run.min_delta.unwrap_or(0.0) => 0,
            Some(_) => self.waited + 1,
        };
        let better = gain.map_or(!value.is_nan(), |gain| gain > 0.0);
        if better {
            self.best = Some(Best { metric, value, step: done });
        }
        better
    }

    /// Whether `run.patience` evaluations passed without one that counts as better.
    pub(super) fn is_out_of_patience(&self, run: &RunSection) -> bool {
        run.patience.is_some_and(|patience| self.waited >= patience)
    }

    /// The best evaluation in words.
    pub(super) fn best_text(&self) -> Option<String> {
        self.best.map(|b| format!("best {} {:.4} at step {}", b.metric.name(), b.value, b.step))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Values of a metric, and what transformers 5.24 makes of them: the best so far and the patience counter
    /// after each (`tools/oracles/patience.py`).
    #[test]
    fn patience_is_that_of_transformers() {
        let golden: Value = serde_json::from_str(include_str!("../../testdata/patience.json")).unwrap();
        for case in golden.as_array().unwrap() {
            let metric: BestMetric = serde_json::from_value(case["metric"].clone()).unwrap();
            let run = RunSection {
                best: Some(metric),
                min_delta: case["min_delta"].as_f64(),
                patience: Some(2),
                ..RunSection::default()
            };
            let mut kept = Kept::default();
            for (at, row) in case["rows"].as_array().unwrap().iter().enumerate() {
                let evaluated = Map::from_iter([(metric.name().to_owned(), row["value"].clone())]);
                kept.judge(&run, at + 1, &evaluated);
                let best = kept.best.map(|best| best.value);
                assert_eq!(
                    (best, kept.waited as u64),
                    (row["best"].as_f64(), row["waited"].as_u64().unwrap())
                );
                assert_eq!(kept.is_out_of_patience(&run), row["stop"].as_bool().unwrap());
                let again: Kept = serde_json::from_value(kept.to_json().unwrap()).unwrap();
                assert_eq!(again, kept);
            }
        }
    }
}
