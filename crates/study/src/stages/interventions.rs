//! Stage `interventions`: checkpoints answer the benchmarks with heads zeroed, replaced or scaled, beside the same done to
//! random heads of the same layers (Thinking Sparks, Tables 1, 4 and 5).

use std::path::Path;
use std::sync::Arc;

use ablation::{Ablation, Fill, HeadMeans, Resampled};
use common::Error;
use hooks::{Batch, Head, HookedModel as _, Pairs};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stats::Interval;

use super::answers::{self, Benchmark, Found, SAMPLES, put};
use super::pairs::Suite;
use super::{Subject, random};
use crate::config::InterventionsConfig;
use crate::jobs::Job;
use crate::results::{Action, HeadSet, Intervention, RandomDraw};
use crate::study::Work;
use crate::{Stage, Study};

/// Which heads of one training are changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NamedHeads {
    pub(crate) set: HeadSet,
    pub(crate) heads: Vec<Head>,
}

/// A training: its heads, its last checkpoint, and the base, each with its answers to every benchmark.
pub(crate) struct Trained<'a> {
    pub(crate) name: &'a str,
    pub(crate) heads: Vec<NamedHeads>,
    pub(crate) last: (&'a Subject, &'a [Option<Found>]),
    pub(crate) base: (&'a Subject, &'a [Option<Found>]),
}

/// What a job finds.
#[derive(Debug, Serialize, Deserialize)]
struct Changed {
    found: Found,
    random: Vec<(Vec<String>, Found)>,
}

/// The interventions of one training; `None` where some are not done here.
pub(crate) fn all(
    study: &mut Study<'_>,
    section: &InterventionsConfig,
    trained: &Trained<'_>,
    benchmarks: &[Benchmark],
    suite: &Suite,
) -> Result<Option<Vec<Intervention>>, Error> {
    let mut rows = Vec::new();
    let mut missing = false;
    for (b, whole) in benchmarks.iter().enumerate() {
        if section.benchmarks.as_ref().is_some_and(|names| !names.contains(&whole.config.name)) {
            continue;
        }
        let benchmark = whole.first(section.limit);
        for named in &trained.heads {
            for config in &section.actions {
                let action = Action::from(*config);
                let draws = if section.tested.contains(config) { section.draws } else { 0 };
                let scaled = matches!(action, Action::Scale { .. });
                let places = [(trained.last, true), (trained.base, scaled)];
                for ((subject, answered), _) in places.into_iter().filter(|(_, wanted)| *wanted) {
                    study.work.go_on()?;
                    let what = What { training: trained.name, named, action, draws, suite };
                    let done = one(study, subject, &benchmark, &what)?;
                    match (done, &answered[b]) {
                        (Some(changed), Some(untouched)) => {
                            let seed = study.config.study.seed;
                            rows.push(row(subject, &benchmark, &what, (changed, untouched, seed))?);
                        }
                        _ => missing = true,
                    }
                }
            }
        }
    }
    Ok((!missing).then_some(rows))
}

struct What<'a> {
    training: &'a str,
    named: &'a NamedHeads,
    action: Action,
    draws: usize,
    suite: &'a Suite,
}

/// The name of an action, fit for a folder.
pub(crate) fn name(action: Action) -> String {
    match action {
        Action::Zero => "zero".into(),
        Action::Mean => "mean".into(),
        Action::Resample => "resample".into(),
        Action::Scale { factor } => format!("x{factor}"),
    }
}

fn set_name(set: HeadSet) -> Result<String, Error> {
    let text = serde_json::to_value(set).map_err(Error::internal)?;
    Ok(text.as_str().unwrap_or_default().to_owned())
}

fn texts(heads: &[Head]) -> Vec<String> {
    heads.iter().map(ToString::to_string).collect()
}

fn one(
    study: &mut Study<'_>,
    subject: &Subject,
    benchmark: &Benchmark,
    what: &What<'_>,
) -> Result<Option<Changed>, Error> {
    let seed = study.config.study.seed;
    let set = set_name(what.named.set)?;
    let action = name(what.action);
    let job_name = format!("{}/{}/{set}/{action}/{}", what.training, benchmark.config.name, subject.label);
    // What replaces a head's output is measured on the clean prompts of the suite.
    let filled = matches!(what.action, Action::Mean | Action::Resample);
    let fill_from = if filled { what.suite.file(false).map(|(_, hash)| hash.to_owned()) } else { None };
    let inputs = json!({
        "model": subject.hash, "benchmark": benchmark.inputs(), "heads": texts(&what.named.heads),
        "action": what.action, "fill_from": fill_from, "draws": what.draws, "seed": seed,
    });
    let file = format!("{SAMPLES}/samples.jsonl");
    let ready = subject.ready && (!filled || fill_from.is_some());
    let job = Job { stage: Stage::Interventions, name: &job_name, inputs, files: &[&file], ready };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |dir| {
        work.say(format!(
            "interventions: {} {set} heads of {}: {action} in {} on {}",
            what.named.heads.len(),
            what.training,
            subject.label,
            benchmark.config.name
        ));
        let pairs = if filled { Some(what.suite.of(subject, false)?) } else { None };
        let fill = fill(work, subject, what.action, pairs.as_ref())?;
        let n_heads = work.model(subject)?.wiring().n_heads;
        let mut at = |heads: &[Head], dir: &Path| -> Result<Found, Error> {
            changed(work, (subject, benchmark), (heads, what.action, fill.as_ref()), dir)
        };
        let found = at(&what.named.heads, &dir.join(SAMPLES))?;
        let sets = random::draws(&what.named.heads, n_heads, what.draws, seed);
        let drawn = sets
            .iter()
            .enumerate()
            .map(|(k, heads)| Ok((texts(heads), at(heads, &dir.join(format!("draw-{k}")))?)));
        let random = drawn.collect::<Result<_, Error>>()?;
        Ok(Changed { found, random })
    })?;
    Ok(done.map(|done| done.result))
}

/// `subject` answers with `heads` changed; the samples are kept in `dir`.
pub(crate) fn changed(
    work: &mut Work<'_>,
    (subject, benchmark): (&Subject, &Benchmark),
    (heads, action, fill): (&[Head], Action, Option<&Fill>),
    dir: &Path,
) -> Result<Found, Error> {
    let wiring = work.model(subject)?.wiring();
    let list = heads.iter().copied();
    let mut hook = match (action, fill) {
        (Action::Scale { factor }, _) => Ablation::scale(wiring, list, factor)?,
        (_, Some(fill)) => Ablation::heads(wiring, list, fill.clone())?,
        (_, None) => Ablation::heads(wiring, list, Fill::Zero)?,
    };
    let said = format!("{}: {}", texts(heads).join(","), name(action));
    put(work, subject, benchmark, dir, (&said, &mut hook))
}

/// What the heads' output is replaced by, measured on the clean prompts of `pairs`.
fn fill(
    work: &mut Work<'_>,
    subject: &Subject,
    action: Action,
    pairs: Option<&Pairs>,
) -> Result<Option<Fill>, Error> {
    let Some(pairs) = pairs else { return Ok(None) };
    let model = work.model(subject)?;
    let prompts: Vec<Vec<u32>> = pairs.iter().map(|pair| pair.clean.clone()).collect();
    let batch = Batch::new(&prompts)?;
    Ok(Some(match action {
        Action::Mean => Fill::Mean(Arc::new(HeadMeans::measure(model, &[batch])?)),
        _ => Fill::Resample(Arc::new(Resampled::record(model, &batch))),
    }))
}

fn row(
    subject: &Subject,
    benchmark: &Benchmark,
    what: &What<'_>,
    (changed, untouched, seed): (Changed, &Found, u64),
) -> Result<Intervention, Error> {
    let n = benchmark.problems.len();
    let before = &untouched.rates[..n];
    let interval = |rates: &[f64]| -> Interval { stats::clustered(rates, answers::LEVEL) };
    let whole = interval(before);
    let mut random = Vec::new();
    for (heads, found) in changed.random {
        let heads = heads.iter().map(|head| head.parse()).collect::<Result<Vec<Head>, _>>()?;
        random.push(RandomDraw { heads, accuracy: interval(&found.rates) });
    }
    let far = |accuracy: &Interval| (accuracy.estimate - whole.estimate).abs();
    let accuracy = interval(&changed.found.rates);
    let drawn: Vec<f64> = random.iter().map(|draw| far(&draw.accuracy)).collect();
    Ok(Intervention {
        checkpoint: subject.label.clone(),
        training: what.training.to_owned(),
        set: what.named.set,
        action: what.action,
        heads: what.named.heads.clone(),
        suite: benchmark.config.name.clone(),
        n,
        samples: benchmark.config.samples,
        untouched: whole,
        accuracy,
        difference: Some(answers::difference(before, &changed.found.rates, seed)),
        unanswered: Some(changed.found.measures.unanswered.estimate),
        tokens: Some(changed.found.measures.tokens.estimate),
        rates: changed.found.rates,
        p_value: random::p_value(far(&accuracy), &drawn),
        random,
    })
}
