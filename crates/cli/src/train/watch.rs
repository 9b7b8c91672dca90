//! Attribution and circuit of the model in training, where `[watch]` asks for it.

use attribution::{Endpoint, Method, Options, attribute};
use circuits::{Circuit, Provenance, ScoreFile};
use common::write_whole;
use hooks::{Metric, Pairs, Task};
use model_qwen::Qwen;
use posttrain::RunFolder;

use super::open::Open;
use super::sections::{WatchMethod, WatchSection};
use crate::input;
use crate::options::Result;
use crate::output::to_json;

/// Sample points of an integrating method, where `watch.steps` is not given.
const POINTS: usize = 5;

/// What is attributed, how and how often.
pub(super) struct Watch {
    pairs: Pairs,
    every: usize,
    method: Method,
    top: usize,
}

impl Watch {
    pub(super) fn new(open: &Open<'_>) -> Result<Option<Self>> {
        let Some(section) = &open.file.watch else { return Ok(None) };
        let pairs = input::pairs(open.common, &section.pairs, &open.start)?;
        Ok(Some(Self { pairs, every: section.every, method: method(section), top: section.top }))
    }

    /// Whether a circuit is due after step `done`.
    pub(super) fn is_due(&self, done: usize, last: bool) -> bool {
        last || done.is_multiple_of(self.every)
    }

    /// Writes `circuits/step-N.json` of the weights as they are.
    pub(super) fn write(&self, model: &Qwen, folder: &RunFolder, step: usize) -> Result {
        let options = Options { per_pair: true, ..Options::default() };
        let task = Task::new(model, &self.pairs, Metric::LogitDiff);
        let scores = attribute(&task, self.method, options)?;
        let n = self.top.min(scores.mean.values().len());
        let circuit = Circuit::top(&scores.mean, n)?.pruned();
        let provenance = Provenance {
            method: Some(self.method.to_string()),
            settings: Some(to_json(&self.method)?),
            metric: Some(Metric::LogitDiff.to_string()),
            step: Some(step as u64),
            pairs: Some(crate::attribute::pair_metrics(&scores.pairs)),
            completeness_error: Some(scores.completeness_error()),
            heads: Some(circuit.heads().iter().map(ToString::to_string).collect()),
            ..Provenance::default()
        };
        let ids = scores.pairs.iter().map(|p| p.id.clone()).collect();
        let mut file = ScoreFile::new(scores.mean, Some(provenance)).with_circuit(&circuit)?;
        file.per_pair =
            scores.per_pair.map(|rows| circuits::PerPair { ids, values: rows.into_iter().collect() });
        let path = folder.circuit_path(step)?;
        write_whole(&path, &file.to_bytes(&path)?)
    }
}

fn method(section: &WatchSection) -> Method {
    let steps = section.steps.unwrap_or(POINTS);
    match section.method {
        WatchMethod::Eap => Method::Eap,
        WatchMethod::EapIgInputs => Method::EapIgInputs { steps, endpoint: Endpoint::Left },
        WatchMethod::EapIgActivations => Method::EapIgActivations { steps, endpoint: Endpoint::Right },
        WatchMethod::CleanCorrupt => Method::CleanCorrupt,
    }
}
