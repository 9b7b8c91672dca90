//! Stage `answers`: each checkpoint answers the benchmarks, all heads as they are.

use std::collections::BTreeMap;
use std::path::Path;

use bench_math::{Measures, Problem, PromptSettings, Protocol, Record, Run, measure, suite};
use common::Error;
use hooks::Hook;
use model_qwen::{Checkpoint, Room, Sampling, tokenizer_hash};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Subject;
use crate::answer::{Asked, Reading, Watcher, answer};
use crate::config::BenchmarkConfig;
use crate::jobs::Job;
use crate::results::{Answers, BenchmarkFacts};
use crate::study::Work;
use crate::{Host, Stage, Study};

/// The level of every interval.
pub(crate) const LEVEL: f64 = 0.95;

/// Draws of problems behind the interval of a difference.
const RESAMPLES: usize = 2000;

/// Ends thinking in the models' own form (R1, Qwen3).
const END_OF_THINKING: &str = "</think>";

/// A benchmark with its problems.
#[derive(Debug, Clone)]
pub(crate) struct Benchmark {
    pub(crate) config: BenchmarkConfig,
    pub(crate) prompt: PromptSettings,
    pub(crate) problems: Vec<Problem>,
    pub(crate) seed: u64,
}

/// What is found in the samples of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) measures: Measures,
    /// Share of right samples of each problem.
    pub(crate) rates: Vec<f64>,
    /// Share of completions with the end of thinking in them; not in files of earlier builds.
    #[serde(default)]
    pub(crate) thinks: Option<f64>,
}

impl Benchmark {
    /// The benchmarks of the configuration.
    pub(crate) fn all(study: &Study<'_>) -> Result<Vec<Self>, Error> {
        let seed = study.config.study.seed;
        let one = |config: &BenchmarkConfig| {
            let mut problems = suite::load(&config.problems, &config.data, seed)
                .map_err(|e| e.within(format_args!("benchmark {}", config.name)))?
                .list;
            problems.truncate(config.limit.unwrap_or(usize::MAX));
            Ok(Self { config: config.clone(), prompt: config.prompt(), problems, seed })
        };
        study.config.benchmark.iter().map(one).collect()
    }

    /// The first `n` problems.
    pub(crate) fn first(&self, n: Option<usize>) -> Self {
        let mut part = self.clone();
        part.problems.truncate(n.unwrap_or(usize::MAX));
        part
    }

    /// Everything about it that the samples of a model depend on.
    pub(crate) fn inputs(&self) -> Value {
        let BenchmarkConfig { samples, temperature, top_p, max_tokens, .. } = &self.config;
        json!({
            "problems": self.problems, "prompt": self.prompt, "samples": samples, "temperature": temperature,
            "top_p": top_p, "max_tokens": max_tokens, "seed": self.seed,
        })
    }

    /// For the results file.
    pub(crate) fn facts(&self) -> BenchmarkFacts {
        let BenchmarkConfig { name, description, level, samples, temperature, max_tokens, .. } =
            self.config.clone();
        BenchmarkFacts {
            name,
            description,
            level,
            n: self.problems.len(),
            samples,
            template: self.prompt.template.to_string(),
            temperature,
            max_tokens,
            problems: self.problems.iter().map(|p| p.id.clone()).collect(),
        }
    }

    fn protocol(&self, subject: &Subject, change: &str) -> Result<Protocol, Error> {
        let BenchmarkConfig { samples, temperature, top_p, max_tokens, .. } = self.config;
        let mut of = BTreeMap::from([
            ("model".to_owned(), subject.hash.clone()),
            ("tokenizer".to_owned(), tokenizer_hash(&subject.dir)?),
        ]);
        if !change.is_empty() {
            of.insert("interventions".to_owned(), change.to_owned());
        }
        let prompt = self.prompt.clone();
        Ok(Protocol { prompt, samples, temperature, top_p, max_tokens, seed: self.seed, subject: of })
    }

    /// The samples in `dir` of a run of `subject` on this benchmark, as the study has made them.
    pub(crate) fn records(&self, subject: &Subject, dir: &Path) -> Result<Vec<Record>, Error> {
        let run = Run::open(dir, self.problems.clone(), self.protocol(subject, "")?)?;
        Ok(run.records().into_iter().cloned().collect())
    }
}

/// Stops where the program is asked to.
struct UntilAsked<'a>(std::cell::RefCell<&'a mut dyn Host>);

impl Watcher for UntilAsked<'_> {
    fn stop(&self) -> bool {
        self.0.borrow_mut().stop()
    }
}

/// `subject` answers `benchmark` under a hook, which `change` says in words; the samples are kept in `dir`, and those that
/// are there already are not made again.
pub(crate) fn put(
    work: &mut Work<'_>,
    subject: &Subject,
    benchmark: &Benchmark,
    dir: &Path,
    (change, hook): (&str, &mut dyn Hook),
) -> Result<Found, Error> {
    let mut run = Run::open(dir, benchmark.problems.clone(), benchmark.protocol(subject, change)?)?;
    if !run.pending().is_empty() {
        let ids = work.prompts(subject, benchmark)?;
        let asked = Asked::new(&run, |sample| Ok(ids[sample.problem].clone()))?;
        let checkpoint = Checkpoint::open(&subject.dir)?;
        let (text, stops) = (checkpoint.text()?, benchmark.prompt.stops());
        let how = Sampling {
            max_tokens: benchmark.config.max_tokens,
            temperature: benchmark.config.temperature,
            top_p: benchmark.config.top_p,
            seed: benchmark.seed,
            stop_ids: checkpoint.stop_ids.clone(),
            room: Room::rows(benchmark.config.batch),
            ..Sampling::default()
        };
        let reading = Reading { text: &text, stops: &stops, how: &how };
        work.model(subject)?;
        let (model, host) = work.loaded()?;
        let mut watcher = UntilAsked(host.into());
        answer(&asked, &reading, (model, hook), &mut run, &mut watcher)?;
        work.go_on()?;
    }
    let records = run.records();
    let measures = measure(&records, LEVEL)?;
    let rate = |problem: &Problem| {
        let of = records.iter().filter(|r| r.id == problem.id);
        let (n, right) = of.fold((0u32, 0u32), |(n, k), r| (n + 1, k + u32::from(r.verdict.correct)));
        f64::from(right) / f64::from(n.max(1))
    };
    let rates = benchmark.problems.iter().map(rate).collect();
    let thinks = records.iter().filter(|r| r.completion.contains(END_OF_THINKING)).count();
    Ok(Found { measures, rates, thinks: Some(thinks as f64 / records.len().max(1) as f64) })
}

/// The difference of two runs on the same problems, with its paired bootstrap interval.
pub(crate) fn difference(before: &[f64], after: &[f64], seed: u64) -> stats::Interval {
    stats::paired_bootstrap(before, after, LEVEL, RESAMPLES, seed).difference
}

/// The folder of a run's samples inside a job's folder.
pub(crate) const SAMPLES: &str = "samples";

/// The answers of every checkpoint to every benchmark, in that order; `None` for those that are not done here.
pub(crate) fn answers(
    study: &mut Study<'_>,
    subjects: &[Subject],
    benchmarks: &[Benchmark],
) -> Result<Vec<Vec<Option<Found>>>, Error> {
    let mut all = Vec::new();
    for subject in subjects {
        let mut row = Vec::new();
        for benchmark in benchmarks {
            study.work.go_on()?;
            let name = format!("{}/{}", subject.label, benchmark.config.name);
            let inputs = json!({ "model": subject.hash, "benchmark": benchmark.inputs() });
            let file = format!("{SAMPLES}/samples.jsonl");
            let job =
                Job { stage: Stage::Answers, name: &name, inputs, files: &[&file], ready: subject.ready };
            let Study { jobs, work, .. } = &mut *study;
            let done = jobs.run(&job, |dir| {
                work.say(format!("answers: {} on {}", subject.label, benchmark.config.name));
                put(work, subject, benchmark, &dir.join(SAMPLES), ("", &mut ()))
            })?;
            row.push(done.map(|done| done.result));
        }
        all.push(row);
    }
    Ok(all)
}

/// The answers as the results file has them, of those that are done; the base is the first.
pub(crate) fn rows(
    subjects: &[Subject],
    benchmarks: &[Benchmark],
    found: &[Vec<Option<Found>>],
    seed: u64,
) -> Vec<Answers> {
    let mut all = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        for (b, benchmark) in benchmarks.iter().enumerate() {
            let Some(one) = &found[at][b] else { continue };
            let base = found[0][b].as_ref().filter(|_| at > 0);
            all.push(Answers {
                checkpoint: subject.label.clone(),
                benchmark: benchmark.config.name.clone(),
                measures: one.measures.clone(),
                rates: one.rates.clone(),
                gain: base.map(|base| difference(&base.rates, &one.rates, seed)),
            });
        }
    }
    all
}
