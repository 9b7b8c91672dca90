//! The loop over optimiser steps: logs, circuits, evaluation, checkpoints, a clean stop.

use std::io::IsTerminal as _;

use common::Error;
use model_qwen::Qwen;
use posttrain::{Optimizer, Progress};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dry_run;
use super::open::Open;
use super::watch::Watch;
use crate::options::Result;
use crate::output::{print_json, progress};

/// Steps between two evaluations, where `run.eval_every` is not given.
const EVAL_EVERY: usize = 100;

/// A trainer with its data: one optimiser step at a time.
pub(super) trait Trainer {
    /// Makes the next step.
    fn step(&mut self) -> Result<Line>;
    /// Metrics on `data.eval`, where there is such a file.
    fn evaluate(&self) -> Result<Option<Map<String, Value>>>;
    /// What the loop looks at between two steps.
    fn state(&self) -> State<'_>;
    /// Counts of the data, and one example as a text.
    fn data(&self) -> Result<(Map<String, Value>, String)>;
}

/// A trainer between two steps.
pub(super) struct State<'a> {
    pub(super) model: &'a Qwen,
    pub(super) optimizer: &'a Optimizer,
    pub(super) progress: Progress,
    /// Steps of the run.
    pub(super) steps: usize,
}

/// A step's line in `metrics.jsonl`, on stderr and beside the progress bar.
pub(super) struct Line {
    metrics: Map<String, Value>,
    text: String,
    brief: String,
}

impl Line {
    pub(super) fn new(stats: &impl Serialize, text: String, brief: String) -> Result<Self> {
        match serde_json::to_value(stats).map_err(Error::internal)? {
            Value::Object(metrics) => Ok(Self { metrics, text, brief }),
            other => Err(Error::internal(format!("metrics: {other} is no object"))),
        }
    }
}

/// Makes the steps that are left.
pub(super) fn run(open: &mut Open<'_>, watch: Option<&Watch>, trainer: &mut dyn Trainer) -> Result {
    let Some(mut folder) = open.folder.take() else { return dry_run::run(open, trainer) };
    let State { progress: begun, steps, .. } = trainer.state();
    if begun.step > steps {
        return Err(Error::input(format!(
            "train.steps is {steps}, and {} steps are done: expected more",
            begun.step
        )));
    }
    let bar = progress(open.common, steps, open.kind.name());
    bar.set_position(begun.step as u64);
    if let (Some(watch), None) = (watch, &open.resumed) {
        watch.write(trainer.state().model, &folder, 0)?;
    }
    let mut last_metrics = Value::Null;
    while trainer.state().progress.step < steps {
        let mut line = trainer.step()?;
        let done = trainer.state().progress.step;
        let last = done == steps;
        let evaluated = evaluate(open, trainer, done, last)?;
        let log = done.is_multiple_of(open.file.run.log_every) || last || evaluated.is_some();
        line.metrics.extend(evaluated.into_iter().flatten());
        if log {
            folder.log(&line.metrics)?;
            if !std::io::stderr().is_terminal() {
                open.common.note(&line.text);
            }
        }
        bar.set_message(line.brief);
        bar.inc(1);
        last_metrics = Value::Object(line.metrics);
        let state = trainer.state();
        if let Some(watch) = watch.filter(|w| w.is_due(done, last)) {
            watch.write(state.model, &folder, done)?;
        }
        let every = open.file.run.checkpoint_every;
        let interrupted = open.interrupted();
        if last || interrupted || every > 0 && done.is_multiple_of(every) {
            folder.checkpoint(state.model, state.optimizer, state.progress)?;
        }
        if interrupted && !last {
            bar.finish_and_clear();
            let dir = folder.dir().display();
            let command = open.kind.command();
            return Err(Error::internal(format!(
                "interrupted after {done} of {steps} steps; go on with: {command} --resume {dir}"
            )));
        }
    }
    bar.finish_and_clear();
    if open.json {
        print_json(&json!({ "run": folder.dir(), "last": last_metrics }));
    } else {
        open.common.note(format!("{}: done", folder.dir().display()));
    }
    Ok(())
}

fn evaluate(
    open: &Open<'_>,
    trainer: &dyn Trainer,
    done: usize,
    last: bool,
) -> Result<Option<Map<String, Value>>> {
    let every = open.file.run.eval_every.unwrap_or(EVAL_EVERY);
    if last || done.is_multiple_of(every) { trainer.evaluate() } else { Ok(None) }
}
