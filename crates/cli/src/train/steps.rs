//! The loop over optimiser steps: evaluation, circuits, logs, checkpoints, a clean stop.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Instant;

use common::Error;
use indicatif::{HumanDuration, ProgressBar};
use model_qwen::Qwen;
use posttrain::{Optimizer, Progress, RunFolder};
use serde::Serialize;
use serde_json::{Map, Value, json};
use study::live::LiveRun;

use super::dry_run;
use super::kept::Kept;
use super::open::Open;
use super::watch::{Clock, Watch};
use crate::options::Result;
use crate::output::{print_json, progress};

/// Steps between two evaluations, where `run.eval_every` is not given.
const EVAL_EVERY: usize = 100;

/// A trainer with its data: one optimiser step at a time.
pub(super) trait Trainer {
    /// Makes the next step.
    fn step(&mut self) -> Result<Line>;
    /// After a step that failed: goes back to where it began, if nothing but sampling was done.
    fn undo(&mut self) -> bool {
        false
    }
    /// Writes what a step leaves in the run folder beside its line.
    fn record(&self, _folder: &RunFolder) -> Result {
        Ok(())
    }
    /// Metrics on `data.eval`; nothing where `stop` said on any rank to end before the end.
    fn evaluate(&self, stop: &dyn Fn() -> bool) -> Result<Option<Map<String, Value>>>;
    /// What the loop looks at between two steps.
    fn state(&self) -> State<'_>;
    /// What the trainer needs to go on beside weights, moments and progress; null where that is all.
    fn kept(&self) -> Result<Value> {
        Ok(Value::Null)
    }
    /// A reference that a checkpoint keeps.
    fn reference(&self) -> Option<&Qwen> {
        None
    }
    /// Counts of the data, and one example of the step that was made as a text, its trained tokens marked.
    fn data(&self) -> Result<(Map<String, Value>, String)>;
    /// Tokens of the longest example or prompt.
    fn longest(&self) -> usize;
}

/// A trainer between two steps.
pub(super) struct State<'a> {
    pub(super) model: &'a Qwen,
    pub(super) optimizer: &'a Optimizer,
    pub(super) progress: Progress,
    /// Steps of the run.
    pub(super) steps: usize,
    /// Examples or prompts of an epoch.
    pub(super) rows: usize,
}

/// A step's line in `metrics.jsonl`, on stderr and beside the progress bar.
pub(super) struct Line {
    /// With `tokens_seen`: tokens of the step, prompts included.
    pub(super) metrics: Map<String, Value>,
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

    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.metrics.insert(name.to_owned(), value.into());
    }
}

/// A run between two steps, beside its trainer.
struct Run<'a, 'b> {
    open: &'a Open<'b>,
    /// The first rank's.
    folder: Option<RunFolder>,
    watch: Option<&'a Watch>,
    kept: Kept,
    clock: Clock,
    /// When this process began, after how many steps.
    began: (Instant, usize),
    bar: ProgressBar,
}

/// Makes the steps that are left.
pub(super) fn run(open: &mut Open<'_>, watch: Option<&Watch>, trainer: &mut dyn Trainer) -> Result {
    let State { progress: begun, steps, .. } = trainer.state();
    if begun.step > steps {
        return Err(Error::input(format!(
            "train.steps is {steps}, and {} steps are done: expected more",
            begun.step
        )));
    }
    if open.dry_run {
        return dry_run::run(open, trainer);
    }
    let folder = open.folder()?;
    let bar = progress(open.common, steps, open.kind.name());
    let (kept, began) = (Kept::new(open)?, (Instant::now(), begun.step));
    bar.set_position((begun.step - usize::from(kept.pending.is_some())) as u64);
    bar.reset_eta();
    let mut run = Run { open, folder, watch, kept, clock: Clock::default(), began, bar };
    if let Some(folder) = &mut run.folder {
        folder.protect(run.kept.best_step());
        if let (Some(watch), None) = (watch, &open.resumed) {
            watch.write(trainer.state().model, folder, 0, &mut run.clock)?;
        }
    }
    let mut last = Value::Null;
    if let Some(metrics) = run.kept.pending.take() {
        let line = Line { metrics, text: format!("step {}", begun.step - 1), brief: String::new() };
        last = Value::Object(run.after(trainer, line)?);
    }
    while trainer.state().progress.step < steps && !run.is_out_of_patience() {
        let line = match run.step(trainer) {
            // Before its first step a process leaves nothing that was not there.
            Err(e) if trainer.undo() && trainer.state().progress.step > begun.step => {
                return Err(run.give_up(trainer, e)?);
            }
            line => line?,
        };
        last = Value::Object(run.after(trainer, line)?);
    }
    run.end(trainer.state().progress.step, last)
}

impl Run<'_, '_> {
    fn is_out_of_patience(&self) -> bool {
        self.kept.is_out_of_patience(&self.open.file.run)
    }

    /// One step with its time, tokens and memory.
    fn step(&mut self, trainer: &mut dyn Trainer) -> Result<Line> {
        let start = Instant::now();
        let mut line = trainer.step()?;
        self.folder.as_ref().map_or(Ok(()), |folder| trainer.record(folder))?;
        let seconds = start.elapsed().as_secs_f64();
        self.clock.training += seconds;
        let tokens = line.metrics.get("tokens_seen").and_then(Value::as_u64);
        let tokens = tokens.ok_or_else(|| Error::internal("metrics without tokens_seen"))?;
        self.kept.total_tokens += tokens;
        line.put("total_tokens", self.kept.total_tokens);
        let State { progress, steps, rows, .. } = trainer.state();
        line.put("epoch", progress.position as f64 / rows as f64);
        line.put("steps", steps);
        line.put("step_time", seconds);
        line.put("tokens_per_s", tokens as f64 / seconds);
        line.put("peak_memory", crate::memory::peak());
        Ok(line)
    }

    /// What follows a step: evaluation, circuit, log and checkpoint, each where it is due. Returns the metrics.
    fn after(&mut self, trainer: &dyn Trainer, mut line: Line) -> Result<Map<String, Value>> {
        let (State { progress, steps, .. }, open) = (trainer.state(), self.open);
        let (done, run) = (progress.step, &open.file.run);
        let is_due = |every: usize| done == steps || every > 0 && done.is_multiple_of(every);
        let (mut better, before) = (false, (self.kept.clone(), line.metrics.clone()));
        if open.file.data.eval.is_some() && is_due(run.eval_every.unwrap_or(EVAL_EVERY)) {
            let start = Instant::now();
            let Some(evaluated) = trainer.evaluate(&|| open.is_signalled())? else {
                return self.postpone(trainer, before);
            };
            better = self.kept.judge(run, done, &evaluated);
            line.text += &in_words(&evaluated);
            line.metrics.extend(evaluated);
            line.put("eval_time", start.elapsed().as_secs_f64());
        }
        let last = done == steps || self.is_out_of_patience();
        if let Some(watch) = self.watch.filter(|watch| last || is_due(watch.every)) {
            if open.interrupted() {
                return self.postpone(trainer, before);
            }
            if let Some(folder) = &mut self.folder {
                let seconds = watch.write(trainer.state().model, folder, done, &mut self.clock)?;
                line.put("watch_time", seconds);
                line.put("watch_percent", self.clock.watch_percent());
            }
        }
        self.bar.set_message(std::mem::take(&mut line.brief));
        self.bar.inc(1);
        self.log(&line, last || is_due(run.log_every), (done, steps))?;
        let interrupted = open.interrupted();
        if last || interrupted || better || is_due(run.checkpoint_every) {
            self.checkpoint(trainer)?;
        }
        if interrupted && !last { Err(self.interrupted(trainer)) } else { Ok(line.metrics) }
    }

    /// Logs a step, if it is due or was evaluated, and the circuits so far.
    fn log(&mut self, line: &Line, is_due: bool, (done, steps): (usize, usize)) -> Result {
        let left = self.left(done, steps);
        let Some(folder) = &mut self.folder else { return Ok(()) };
        if is_due || line.metrics.contains_key("eval_time") {
            folder.log(&line.metrics)?;
            if !std::io::stderr().is_terminal() {
                self.open.common.note(format_args!("{}, {left} left", line.text));
            }
        }
        if line.metrics.contains_key("watch_time") {
            let mut live = LiveRun::read(folder.dir())?;
            live.curve.clear();
            let text = serde_json::to_vec_pretty(&live).map_err(Error::internal)?;
            common::write_whole(folder.dir().join("dynamics.json"), &text)?;
        }
        Ok(())
    }

    /// Collective: every rank has a part of the optimiser's state.
    fn checkpoint(&mut self, trainer: &dyn Trainer) -> Result {
        let state = trainer.state();
        self.kept.trainer = trainer.kept()?;
        let Some(folder) = &mut self.folder else {
            state.optimizer.give_state();
            return Ok(());
        };
        folder.keep_state(self.kept.to_json()?);
        folder.protect(self.kept.best_step());
        if let Some(reference) = trainer.reference() {
            folder.keep_reference(reference.clone());
        }
        folder.checkpoint(state.model, state.optimizer, state.progress).map(drop)
    }

    fn dir(&self) -> &Path {
        self.folder.as_ref().map_or(&self.open.file.run.dir, RunFolder::dir)
    }

    /// Leaves what follows a step to the run that resumes this one: a launcher that has sent a signal does not wait
    /// for an evaluation.
    fn postpone<T>(
        &mut self,
        trainer: &dyn Trainer,
        (kept, metrics): (Kept, Map<String, Value>),
    ) -> Result<T> {
        self.kept = kept;
        self.kept.pending = Some(metrics);
        self.checkpoint(trainer)?;
        Err(self.interrupted(trainer))
    }

    /// Leaves a step that could not be sampled to the run that resumes this one.
    fn give_up(&mut self, trainer: &dyn Trainer, why: Error) -> Result<Error> {
        self.checkpoint(trainer)?;
        let interrupted = self.interrupted(trainer);
        Ok(if self.open.is_signalled() { interrupted } else { why.within(interrupted) })
    }

    fn interrupted(&self, trainer: &dyn Trainer) -> Error {
        self.bar.finish_and_clear();
        // The first rank has written its checkpoint before any ends the job.
        self.open.ranks.any(false);
        let State { progress, steps, .. } = trainer.state();
        let (done, dir, command) = (progress.step, self.dir().display(), self.open.kind.command());
        Error::internal(format!(
            "interrupted after {done} of {steps} steps; go on with: {command} --resume {dir}"
        ))
    }

    /// Time that the other steps take at the rate of this process, evaluations and circuits included.
    fn left(&self, done: usize, steps: usize) -> HumanDuration {
        let (start, before) = self.began;
        HumanDuration(start.elapsed().mul_f64((steps - done) as f64 / (done - before).max(1) as f64))
    }

    fn end(self, done: usize, last: Value) -> Result {
        self.bar.finish_and_clear();
        let dir = self.dir();
        if !self.open.ranks.is_first() {
            return Ok(());
        }
        if self.open.json {
            print_json(&json!({ "run": dir, "last": last }));
            return Ok(());
        }
        let stopped =
            self.is_out_of_patience().then(|| format!("stopped after {done} steps by run.patience"));
        let watched = self.clock.watch_percent().filter(|_| self.watch.is_some());
        let watched = watched.map(|percent| format!("circuits took {percent:.1} % of the time of steps"));
        let facts = [stopped.or(Some("done".to_owned())), self.kept.best_text(), watched];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        self.open.common.note(format!("{}: {}", dir.display(), facts.join("; ")));
        Ok(())
    }
}

/// The numbers of an evaluation in a line on stderr.
fn in_words(evaluated: &Map<String, Value>) -> String {
    let numbers = evaluated.iter().filter(|(_, value)| value.is_f64());
    numbers.filter_map(|(name, value)| Some(format!(" {name} {:.4}", value.as_f64()?))).collect()
}
