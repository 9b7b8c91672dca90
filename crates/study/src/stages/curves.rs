//! The curve of a training run, from its run folder.

use std::ops::Range;
use std::path::Path;

use common::Error;
use posttrain::RunFolder;
use serde::Deserialize;

use crate::results::{CurvePoint, TrainingMethod};

/// How a run trained, and one point a step.
pub(crate) struct Curves {
    pub(crate) method: Option<TrainingMethod>,
    pub(crate) points: Vec<CurvePoint>,
    /// Steps of the run, as its last line says.
    pub(crate) steps: Option<u64>,
}

impl Curves {
    /// Mean reward (or loss) over the steps `steps`.
    pub(crate) fn mean(&self, steps: Range<u64>) -> Option<f64> {
        let points = self.points.iter().filter(|p| steps.contains(&p.step));
        let values: Vec<f64> = points.filter_map(|p| p.reward.or(p.loss)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// The lines of `metrics.jsonl` that are of a training step.
#[derive(Deserialize)]
struct Line {
    step: u64,
    loss: Option<f64>,
    lr: Option<f64>,
    reward: Option<f64>,
    length: Option<f64>,
    steps: Option<u64>,
}

/// Reads `metrics.jsonl` and `config.toml` of a run folder; no points where there is none.
pub(crate) fn read(run: Option<&Path>) -> Result<Curves, Error> {
    let Some(run) = run else { return Ok(Curves { method: None, points: Vec::new(), steps: None }) };
    let config: toml::Table = RunFolder::config(run)?
        .parse()
        .map_err(|e: toml::de::Error| Error::at(run.join("config.toml"), e))?;
    let grpo = config.contains_key("grpo");
    let path = run.join("metrics.jsonl");
    let text = if path.exists() { common::read_text(&path)? } else { String::new() };
    let (mut points, mut all) = (Vec::new(), None);
    // A run that goes on may be in the middle of its last line.
    let whole = text.split_inclusive('\n').enumerate().filter(|(_, line)| line.ends_with('\n'));
    for (n, line) in whole {
        let line: Line = serde_json::from_str(line).map_err(|e| Error::line(&path, n + 1, e))?;
        let Line { step, loss, lr, reward, length, steps } = line;
        // Lines of an evaluation have no learning rate.
        if lr.is_some() {
            let loss = if grpo { None } else { loss };
            points.push(CurvePoint { step, loss, reward, length, lr });
            all = steps;
        }
    }
    let method = if grpo { TrainingMethod::Grpo } else { TrainingMethod::Sft };
    Ok(Curves { method: Some(method), points, steps: all })
}
