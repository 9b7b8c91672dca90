//! Stage `think`: a checkpoint asked to think and asked not to. Circuits of both modes; answers in both, and without
//! thinking with the heads changed that only that mode's circuit has (Thinking Sparks, Table 2, Figure 5).

use bench_math::Template;
use common::Error;
use hooks::{Head, Pair, Target, Task};
use model_qwen::{Checkpoint, Sampling};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tasks::{Built, Opening};

use super::answers::{Benchmark, Found, SAMPLES, difference, put};
use super::attribution::score;
use super::circuits::{self, Ranked};
use super::interventions::{changed, name as action_name};
use super::pairs::write;
use super::{Subject, heads};
use crate::config::{CircuitConfig, ThinkConfig};
use crate::jobs::Job;
use crate::noise::Draws;
use crate::results::{Action, CircuitFacts, NoiseFloor, TestedHead, ThinkCondition, ThinkMode, ThinkStudy};
use crate::study::Work;
use crate::{Stage, Study};

/// The pairs of each mode.
const FILES: [&str; 2] = ["on.jsonl", "off.jsonl"];

#[derive(Debug, Serialize, Deserialize)]
struct Circuits {
    pairs: usize,
    on: CircuitFacts,
    off: CircuitFacts,
    /// Heads of one circuit only, of largest importance first.
    only: [Vec<String>; 2],
    tests: Vec<TestedHead>,
    noise: NoiseFloor,
    /// Heads without thinking less heads with it, for draws of the pairs.
    differences: Vec<f64>,
}

/// The study of one checkpoint, and the difference in heads for each draw of the pairs; `None` where parts are not done here.
pub(crate) fn think(
    study: &mut Study<'_>,
    section: &ThinkConfig,
    subject: &Subject,
    benchmarks: &[Benchmark],
    rule: &CircuitConfig,
) -> Result<Option<(ThinkStudy, Vec<f64>)>, Error> {
    let main = match &section.benchmark {
        Some(name) => benchmarks.iter().find(|b| b.config.name == *name),
        None => benchmarks.first(),
    };
    let main = main.ok_or_else(|| Error::internal("the benchmark is checked"))?;
    let found = circuits_of(study, section, subject, main, rule)?;
    let mut conditions = Some(Vec::new());
    for benchmark in benchmarks {
        let modes = [ThinkMode::On, ThinkMode::Off].map(|mode| asked(section, benchmark, mode));
        let [on, off] = modes;
        let (on, off) = (on?, off?);
        let plain = [(ThinkMode::On, &on), (ThinkMode::Off, &off)];
        let mut untouched = None;
        for (mode, benchmark) in plain {
            let done = answered(study, subject, benchmark, (mode, None, &[]))?;
            if mode == ThinkMode::Off {
                untouched = done.clone();
            }
            add(&mut conditions, done, benchmark, (mode, None, &[]), (None, 0));
        }
        let Some(found) = &found else {
            conditions = None;
            continue;
        };
        let heads = parse(&found.only[1])?;
        let heads = &heads[..section.top.unwrap_or(usize::MAX).min(heads.len())];
        if heads.is_empty() {
            continue;
        }
        for action in section.actions.iter().map(|&a| Action::from(a)) {
            let what = (ThinkMode::Off, Some(action), heads);
            let done = answered(study, subject, &off, what)?;
            let before = untouched.as_ref().map(|u| u.rates.as_slice());
            add(&mut conditions, done, &off, what, (before, study.config.study.seed));
        }
    }
    let (Some(found), Some(conditions)) = (found, conditions) else { return Ok(None) };
    let mut only = [parse(&found.only[0])?, parse(&found.only[1])?];
    only.iter_mut().for_each(|heads| heads.sort_unstable());
    let [on_only, off_only] = only;
    let study = ThinkStudy {
        checkpoint: subject.label.clone(),
        benchmark: main.config.name.clone(),
        rule: rule.name.clone(),
        pairs: found.pairs,
        on: found.on,
        off: found.off,
        on_only,
        off_only,
        tests: found.tests,
        noise: found.noise,
        conditions,
    };
    Ok(Some((study, found.differences)))
}

fn parse(heads: &[String]) -> Result<Vec<Head>, Error> {
    heads.iter().map(|head| head.parse()).collect()
}

fn add(
    conditions: &mut Option<Vec<ThinkCondition>>,
    done: Option<Found>,
    benchmark: &Benchmark,
    (mode, action, heads): (ThinkMode, Option<Action>, &[Head]),
    (before, seed): (Option<&[f64]>, u64),
) {
    let Some(found) = done else {
        *conditions = None;
        return;
    };
    let Some(conditions) = conditions else { return };
    conditions.push(ThinkCondition {
        benchmark: benchmark.config.name.clone(),
        mode,
        action,
        heads: heads.to_vec(),
        difference: before.map(|before| difference(before, &found.rates, seed)),
        measures: found.measures,
        thinks: found.thinks,
        rates: found.rates,
    });
}

/// The benchmark as it is put in one mode.
fn asked(section: &ThinkConfig, benchmark: &Benchmark, mode: ThinkMode) -> Result<Benchmark, Error> {
    let mut asked = benchmark.clone();
    let template = benchmark.prompt.template;
    match &section.prefixes {
        None if template.is_chat() => asked.prompt.thinking = Some(mode == ThinkMode::On),
        None => {
            let what = format!(
                "think.prefixes: template {template} of benchmark {} has no switch, expected two texts",
                benchmark.config.name
            );
            return Err(Error::input(what));
        }
        Some(prefixes) if template == Template::Plain => {
            let prefix = if mode == ThinkMode::On { &prefixes.on } else { &prefixes.off };
            asked.problems.iter_mut().for_each(|p| p.problem.push_str(prefix));
        }
        Some(_) => {
            let what = format!(
                "think.prefixes has no effect on template {template} of benchmark {}",
                benchmark.config.name
            );
            return Err(Error::input(what));
        }
    }
    Ok(asked)
}

fn answered(
    study: &mut Study<'_>,
    subject: &Subject,
    benchmark: &Benchmark,
    (mode, action, list): (ThinkMode, Option<Action>, &[Head]),
) -> Result<Option<Found>, Error> {
    study.work.go_on()?;
    let word = if mode == ThinkMode::On { "on" } else { "off" };
    let condition =
        action.map_or_else(|| word.to_owned(), |action| format!("{word}-{}", action_name(action)));
    let name = format!("{}/{}/{condition}", subject.label, benchmark.config.name);
    let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    let inputs =
        json!({ "model": subject.hash, "benchmark": benchmark.inputs(), "action": action, "heads": texts });
    let file = format!("{SAMPLES}/samples.jsonl");
    let job = Job { stage: Stage::Think, name: &name, inputs, files: &[&file], ready: subject.ready };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |dir| {
        work.say(format!("think: {} on {}, {condition}", subject.label, benchmark.config.name));
        let dir = dir.join(SAMPLES);
        match action {
            Some(action) => changed(work, (subject, benchmark), (list, action, None), &dir),
            None => put(work, subject, benchmark, &dir, ("", &mut ())),
        }
    })?;
    Ok(done.map(|done| done.result))
}

fn circuits_of(
    study: &mut Study<'_>,
    section: &ThinkConfig,
    subject: &Subject,
    benchmark: &Benchmark,
    rule: &CircuitConfig,
) -> Result<Option<Circuits>, Error> {
    let (how, controls) = (study.config.attribution.clone(), study.config.controls.clone());
    let seed = study.config.study.seed;
    let sides =
        [ThinkMode::On, ThinkMode::Off].map(|mode| asked(section, &benchmark.first(section.limit), mode));
    let [on, off] = sides;
    let sides = [on?, off?];
    let inputs = json!({
        "model": subject.hash, "on": sides[0].inputs(), "off": sides[1].inputs(), "lengths": section.lengths,
        "rule": rule, "controls": [controls.draws, controls.nulls, controls.batch], "rate": controls.rate,
        "seed": seed, "null circuits": "others", "heads tested": "all", "method": how.method(), "metric": how.metric.to_string(),
    });
    let name = format!("{}/circuits", subject.label);
    let job = Job { stage: Stage::Think, name: &name, inputs, files: &FILES, ready: subject.ready };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |dir| {
        work.say(format!("think: circuits of {}", subject.label));
        let longest = section.lengths.iter().copied().max().unwrap_or(0);
        let (on, off) = opened(work, subject, &sides, longest)?;
        for (file, built) in
            FILES.iter().zip([cut(&on, &off, &section.lengths), cut(&off, &on, &section.lengths)])
        {
            write(&dir.join(file), built, subject)?;
        }
        let mut found = Vec::new();
        for file in FILES {
            let pairs = subject.pairs(&dir.join(file))?;
            let task = Task::new(work.model(subject)?, &pairs, how.metric.clone()).batch_size(controls.batch);
            let ranked = Ranked::new(&score(&task, &how, (0, 1), rule.source_only)?, rule)?;
            let circuit = ranked.circuit(rule)?;
            let facts = circuits::facts(&task, (&circuit, &ranked), controls.nulls, seed)?;
            found.push((ranked, circuit, facts, pairs.len()));
        }
        let only = |at: usize| {
            let ((ranked, circuit, facts, _), other) = (&found[at], &found[1 - at].2);
            let importance = ::circuits::head_importance(circuit, &ranked.mean);
            let mut heads: Vec<Head> =
                facts.heads.iter().copied().filter(|head| !other.heads.contains(head)).collect();
            heads.sort_by(|a, b| importance.get(*b).total_cmp(importance.get(*a)).then(a.cmp(b)));
            heads.iter().map(ToString::to_string).collect()
        };
        let (on, off) = (&found[0], &found[1]);
        let wiring = on.0.mean.wiring();
        let draws = Draws {
            selection: rule.selection(wiring.n_edges()),
            rank: rule.rank(),
            draws: controls.draws,
            seed,
        };
        let heads_of = |circuit: ::circuits::Circuit| circuit.heads().len() as f64;
        let [of_on, of_off] = [on, off].map(|side| draws.circuits(wiring, &side.0.per_pair, heads_of));
        let differences = of_on?.iter().zip(&of_off?).map(|(on, off)| off - on).collect();
        Ok(Circuits {
            pairs: on.3,
            differences,
            only: [only(0), only(1)],
            tests: heads::rows(&heads::changed(rule, &controls, seed, (&on.0, &off.0))?),
            noise: draws.noise(&subject.label, wiring, &on.0.per_pair)?,
            on: on.2.clone(),
            off: off.2.clone(),
        })
    })?;
    Ok(done.map(|done| done.result))
}

/// The beginnings of the answers in both modes, with as many tokens beyond the longer of the two prompts.
fn opened(
    work: &mut Work<'_>,
    subject: &Subject,
    sides: &[Benchmark; 2],
    longest: usize,
) -> Result<(Vec<Opening>, Vec<Opening>), Error> {
    let mut prompts = Vec::new();
    for side in sides {
        prompts.push(work.prompts(subject, side)?);
    }
    let gap = prompts[0].iter().zip(prompts[1].iter()).map(|(a, b)| a.len().abs_diff(b.len())).max();
    let how = Sampling {
        max_tokens: longest + gap.unwrap_or(0) + 1,
        seed: sides[0].seed,
        stop_ids: Checkpoint::open(&subject.dir)?.stop_ids,
        ..Sampling::default()
    };
    let mut both = Vec::new();
    for (side, ids) in sides.iter().zip(prompts) {
        let named: Vec<(String, Vec<u32>)> =
            side.problems.iter().map(|p| p.id.clone()).zip(ids.iter().cloned()).collect();
        both.push(Opening::of(work.model(subject)?, &named, &how, side.config.batch)?);
    }
    let off = both.pop().unwrap_or_default();
    Ok((both.pop().unwrap_or_default(), off))
}

/// Pairs of the texts of both modes, cut to one length: `lengths` tokens beyond the longer prompt.
fn cut(clean: &[Opening], corrupt: &[Opening], lengths: &[usize]) -> Built {
    let mut built = Built::default();
    let mut dropped = |why: &str| *built.dropped.entry(why.to_owned()).or_default() += 1;
    let mut pairs = Vec::new();
    for (a, b) in clean.iter().zip(corrupt) {
        for length in lengths {
            let end = a.prompt.len().max(b.prompt.len()) + length;
            let [left, right] = [a, b].map(|o| [&o.prompt[..], &o.answer].concat());
            let (Some(next), Some(other)) = (left.get(end), right.get(end)) else {
                dropped("whose answer ends before the cut");
                continue;
            };
            if next == other {
                dropped("that both go on alike");
                continue;
            }
            let target = Target { answers: vec![*next], distractors: vec![*other] };
            pairs.push(Pair::new(format!("{}-{length}", a.id), &left[..end], &right[..end], target));
        }
    }
    built.pairs = pairs;
    built
}
