//! What a study would take: tokens, memory and time of each stage, before it is run.

use std::time::Instant;

use common::Error;
use hooks::{Batch, HookedModel as _, Rows};
use model_qwen::{Checkpoint, Qwen, Request, Room, Sampling, generate};
use serde::Serialize;

use super::Subject;
use super::answers::Benchmark;
use super::pairs::Suite;
use crate::{Stage, Study};

/// Backward passes count as two forward passes.
const BACKWARD: u64 = 2;

/// Tokens of the run and of the answer that rates are measured on.
const MEASURED: usize = 32;

/// One stage of a plan. Tokens and seconds are of the jobs that are not done, an equal part for each job of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StagePlan {
    /// The stage.
    pub stage: Stage,
    /// Its jobs that are selected.
    pub jobs: usize,
    /// Those that are not done.
    pub todo: usize,
    /// Tokens of forward passes; a backward pass counts twice.
    pub read_tokens: u64,
    /// Tokens that are generated, at most.
    pub written_tokens: u64,
    /// Bytes of weights, activations and scores, at most; training is told by `sparks sft --dry-run`.
    pub bytes: u64,
    /// Seconds at the rates that were measured on the base; `None` for training, and where nothing was measured.
    pub seconds: Option<f64>,
}

/// Tokens read and written by all jobs of a stage.
type Tokens = (u64, u64);

/// The plan of the jobs that the study has asked for.
pub(crate) fn plan(
    study: &mut Study<'_>,
    subjects: &[Subject],
    suites: &[Suite],
) -> Result<Vec<StagePlan>, Error> {
    let benchmarks = Benchmark::all(study)?;
    let config = Checkpoint::open(&subjects[0].dir)?.config;
    let wiring = config.wiring();
    let rates = rates(study, &subjects[0])?;
    let (n_pairs, longest) = suites
        .iter()
        .filter_map(Suite::facts)
        .fold((0, 0), |(n, longest), facts| (n.max(facts.n as u64), longest.max(facts.longest as u64)));
    let edges = wiring.n_edges() as u64;
    let width = wiring.d_model as u64;
    let nodes = (wiring.writers().count() + wiring.readers().count()) as u64;
    let weights = 4 * config.n_params();
    let scores = 4 * edges * n_pairs;
    let batch = study.config.controls.batch as u64;
    let at_once = config.at_once() as u64;
    let runs = weights + 4 * at_once * batch * longest * width * nodes;
    let cache = benchmarks.iter().map(|b| {
        let tokens = (b.config.max_tokens + MEASURED) * b.config.batch;
        (8 * tokens * wiring.n_layers * wiring.n_kv_heads * config.d_head) as u64
    });
    let answering = weights + cache.max().unwrap_or(0);
    let bytes = |stage| match stage {
        Stage::Checkpoints => 0,
        Stage::Pairs | Stage::Answers | Stage::Interventions => answering,
        Stage::Attribution => weights + 4 * at_once * nodes * longest * width + scores,
        Stage::Circuits | Stage::Transfers => runs + scores,
        Stage::Heads => 2 * scores,
        Stage::Think => answering.max(runs + scores),
        Stage::Cases => 0,
        Stage::Controls => 3 * weights + 2 * scores,
    };
    let all = tokens(study, subjects, suites, &benchmarks);
    let row = |(stage, (read, written)): (Stage, Tokens)| {
        let of = study.jobs().iter().filter(|job| job.name.starts_with(&format!("{}/", stage.name())));
        let (all, jobs, todo) = of.fold((0, 0, 0), |(all, jobs, todo), job| {
            (all + 1, jobs + usize::from(job.mine), todo + usize::from(job.mine && !job.done))
        });
        let part = |tokens: u64| (tokens as f64 * todo as f64 / f64::from(all.max(1))) as u64;
        let (read, written) = (part(read), part(written));
        let seconds = rates.map(|(reads, writes)| read as f64 / reads + written as f64 / writes);
        StagePlan {
            stage,
            jobs,
            todo,
            read_tokens: read,
            written_tokens: written,
            bytes: bytes(stage),
            seconds: seconds.filter(|_| stage != Stage::Checkpoints),
        }
    };
    Ok(all.into_iter().map(row).filter(|row| row.jobs > 0).collect())
}

/// Tokens of all jobs of each stage, done or not.
fn tokens(
    study: &Study<'_>,
    subjects: &[Subject],
    suites: &[Suite],
    benchmarks: &[Benchmark],
) -> Vec<(Stage, Tokens)> {
    let config = &study.config;
    let n = |x: usize| x as u64;
    let checkpoints = n(subjects.len());
    // A point of integrated gradients is a forward and a backward pass; clean and corrupt are run beside.
    let scored = 2 + n(config.attribution.steps) * (1 + BACKWARD);
    let of_pairs = |facts: crate::results::PairsFacts| n(facts.n) * n(facts.longest);
    let pairs: u64 = suites.iter().filter_map(Suite::facts).map(of_pairs).sum();
    let kinds =
        n([true, false].into_iter().filter(|k| config.circuit.iter().any(|c| c.source_only == *k)).count());
    let circuits = (3 + 2 * n(config.controls.nulls)) * n(config.circuit.len());
    let first = suites.first().and_then(Suite::facts).map_or(0, of_pairs);
    let written = |limit: Option<usize>| {
        let of = |b: &Benchmark| n(b.first(limit).problems.len() * b.config.samples * b.config.max_tokens);
        benchmarks.iter().map(of).sum::<u64>()
    };
    let trainings = n(config.train.len() + config.checkpoint.len() - 1);
    let interventions = config.interventions.as_ref().map_or(0, |section| {
        let sets = n(section.sets.len() + usize::from(section.control.is_some()));
        let scaled =
            section.actions.iter().filter(|a| matches!(a, crate::config::ActionConfig::Scale(_))).count();
        let runs = n(section.actions.len() + scaled + section.tested.len() * section.draws);
        trainings * sets * runs * written(section.limit)
    });
    let think = config
        .think
        .as_ref()
        .map_or(0, |section| n(section.checkpoints.len()) * n(2 + section.actions.len()) * written(None));
    let transfers = config
        .transfers
        .as_ref()
        .map_or(0, |section| 2 * trainings * pairs * (2 + n(section.sets.len()) * (1 + n(section.draws))));
    vec![
        (Stage::Checkpoints, (0, 0)),
        (Stage::Pairs, (0, 0)),
        (Stage::Attribution, (checkpoints * pairs * scored * kinds, 0)),
        (Stage::Circuits, (checkpoints * pairs * circuits, 0)),
        (Stage::Heads, (0, 0)),
        (Stage::Answers, (0, checkpoints * written(None))),
        (Stage::Interventions, (0, interventions)),
        (Stage::Think, (0, think)),
        (Stage::Cases, (0, 0)),
        (Stage::Transfers, (transfers, 0)),
        (Stage::Controls, ((3 + trainings) * n(config.controls.trials) * first * scored, 0)),
    ]
}

/// Tokens a second that the base reads, and writes in batches of the first benchmark; measured in one run of each.
fn rates(study: &mut Study<'_>, base: &Subject) -> Result<Option<(f64, f64)>, Error> {
    let rows = study.config.benchmark.first().map_or(1, |b| b.batch);
    if !base.ready {
        return Ok(None);
    }
    let model = study.work.model(base)?;
    let prompt: Vec<u32> = (0..MEASURED).map(|i| (i % model.config.vocab) as u32).collect();
    let batch = Batch::new(std::slice::from_ref(&prompt))?.rows(Rows::Last);
    let read = timed(|| drop(model.run(&batch, &mut ()).into_data()));
    let write = write_seconds(model, rows)?;
    Ok(Some((MEASURED as f64 / read, (rows * MEASURED) as f64 / write)))
}

fn write_seconds(model: &Qwen, rows: usize) -> Result<f64, Error> {
    let requests: Vec<Request> =
        (0..rows).map(|i| Request { prompt: vec![0], stream: i as u64, origin: 0 }).collect();
    let how = Sampling { max_tokens: MEASURED, room: Room::rows(rows), ..Sampling::default() };
    let mut made = Ok(Vec::new());
    let seconds = timed(|| made = generate(model, &requests, &how, &mut (), |_, _| true));
    made.map(|_| seconds)
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
