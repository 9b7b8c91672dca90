//! Attribution and circuit of the model in training, where `[watch]` asks for it.

use std::time::Instant;

use attribution::{Endpoint, Method, Options, attribute};
use circuits::{Circuit, Emergence, PerPair, Provenance, ScoreFile, Selection};
use common::{Error, write_whole};
use hooks::{Head, Metric, Pairs, Positions, Task};
use model_qwen::Qwen;
use posttrain::RunFolder;
use serde::Serialize;

use super::open::Open;
use super::sections::{WatchMethod, WatchSection};
use crate::input;
use crate::options::Result;
use crate::output::to_json;

/// Sample points of an integrating method, where `watch.steps` is not given.
const POINTS: usize = 5;

/// Random halvings of the pairs behind the noise floor.
const HALVINGS: usize = 20;

/// Seconds of this process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    /// Of steps.
    pub(super) training: f64,
    /// Of circuits.
    pub(super) watching: f64,
}

impl Clock {
    /// Time of circuits in percent of that of steps.
    pub(super) fn watch_percent(&self) -> Option<f64> {
        (self.training > 0.0).then(|| 100.0 * self.watching / self.training)
    }
}

/// A line of `heads.jsonl`.
#[derive(Debug, Serialize)]
struct HeadsLine {
    /// Steps done.
    step: usize,
    /// Edges of the circuit.
    edges: usize,
    /// Heads of the circuit, layer by layer.
    heads: Vec<String>,
    /// Heads that the circuit before had not; absent for the first, as are the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    born: Option<Vec<String>>,
    /// Heads of the circuit before that are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    died: Option<Vec<String>>,
    /// Heads born and died over heads in either circuit.
    #[serde(skip_serializing_if = "Option::is_none")]
    turnover: Option<f64>,
    /// Mean turnover between circuits of two random halves of the pairs, at these weights; absent where a half
    /// would have no pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    noise_floor: Option<f64>,
    /// Seconds that this circuit took.
    watch_time: f64,
    /// Time of all circuits in percent of that of all steps, in this process so far.
    watch_percent: Option<f64>,
}

/// What is attributed, how and how often.
pub(super) struct Watch {
    pairs: Pairs,
    /// Steps between two circuits.
    pub(super) every: usize,
    method: Method,
    top: usize,
}

impl Watch {
    pub(super) fn new(open: &Open<'_>) -> Result<Option<Self>> {
        let Some(section) = &open.file.watch else { return Ok(None) };
        let pairs = input::pairs(
            open.common,
            &section.pairs,
            &open.start,
            Some((&Metric::LogitDiff, Positions::Last)),
        )?;
        Ok(Some(Self { pairs, every: section.every, method: method(section), top: section.top }))
    }

    /// Writes `circuits/step-N.json` of the weights as they are, and its line of `heads.jsonl`. Returns the seconds
    /// that it took.
    pub(super) fn write(
        &self,
        model: &Qwen,
        folder: &mut RunFolder,
        step: usize,
        clock: &mut Clock,
    ) -> Result<f64> {
        let start = Instant::now();
        let options = Options { per_pair: true, ..Options::default() };
        let task = Task::new(model, &self.pairs, Metric::LogitDiff);
        let scores = attribute(&task, self.method, options)?;
        let n = self.top.min(scores.mean.values().len());
        let circuit = Circuit::top(&scores.mean, n)?.pruned();
        let wiring = scores.mean.wiring();
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
        let rows = scores.per_pair.into_iter().flatten().collect();
        let per_pair = PerPair { ids, values: rows };
        let noise_floor = if self.pairs.len() < 2 {
            None
        } else {
            let halves = Emergence { draws: HALVINGS, ..Emergence::new(Selection::Top(n)) };
            Some(1.0 - halves.noise_floor(wiring, &per_pair)?.heads_jaccard)
        };
        file.per_pair = Some(per_pair);
        let path = folder.circuit_path(step)?;
        write_whole(&path, &file.to_bytes(&path)?)?;
        let heads: Vec<Head> = circuit.heads().into_iter().collect();
        let before = last_heads(folder)?;
        let watch_time = start.elapsed().as_secs_f64();
        clock.watching += watch_time;
        let minus = |a: &[Head], b: &[Head]| names(a.iter().filter(|head| !b.contains(head)));
        folder.log_heads(&HeadsLine {
            step,
            edges: circuit.edges().count(),
            heads: names(heads.iter()),
            born: before.as_ref().map(|before| minus(&heads, before)),
            died: before.as_ref().map(|before| minus(before, &heads)),
            turnover: before.as_ref().map(|before| study::dynamics::turnover(before, &heads)),
            noise_floor,
            watch_time,
            watch_percent: clock.watch_percent(),
        })?;
        Ok(watch_time)
    }
}

fn names<'a>(heads: impl Iterator<Item = &'a Head>) -> Vec<String> {
    heads.map(ToString::to_string).collect()
}

/// The heads of the newest circuit.
fn last_heads(folder: &RunFolder) -> Result<Option<Vec<Head>>> {
    let Some(last) = folder.heads()?.pop() else { return Ok(None) };
    let bad = || Error::at(folder.dir().join("heads.jsonl"), format!("{last}: expected a list `heads`"));
    let heads = last["heads"].as_array().ok_or_else(bad)?;
    heads
        .iter()
        .map(|h| h.as_str().and_then(|h| h.parse().ok()).ok_or_else(bad))
        .collect::<Result<_>>()
        .map(Some)
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
