//! `sparks grpo`: group-relative policy optimisation with checked answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::Error;
use model_qwen::{Checkpoint, Next, Qwen, Sampling, StopStrings};
use posttrain::{Order, REFERENCE, Ranks, RunFolder};
use posttrain_grpo::reward::{RewardConfig, RewardKind, Rewards};
use posttrain_grpo::{Grpo, GrpoConfig, Scored};
use serde_json::{Map, Value};

use super::evaluate::{HeldOut, judges_after_think};
use super::open::Open;
use super::problems::{self, Problem};
use super::rollouts::Elsewhere;
use super::steps::{self, Line, State, Trainer};
use super::watch::Watch;
use super::{Args, Kind};
use crate::options::{Common, Result};
use crate::output::to_json;
use crate::prompt::Prompter;

pub(crate) fn grpo(common: &Common, args: &Args, ranks: Arc<dyn Ranks>) -> Result {
    let mut open = Open::new(common, Kind::Grpo, args, Arc::clone(&ranks))?;
    let watch = Watch::new(&open)?;
    let prompter = Prompter::new(&open.start, open.file.prompt.settings())?;
    let problems = read(&open, &open.file.data.train, &prompter)?;
    let held_out = held_out(&open, &prompter)?;
    let rewards = Rewards::new(&open.file.reward)?;
    let stop_ids = open.start.stop_ids.clone();
    let mut grpo = Grpo::among(open.load()?, stop_ids, &open.file.grpo(), problems.len(), ranks)?;
    if let Some(resumed) = &open.resumed {
        // The reference is the model that the run began from, unless it changes; an adapter's run has it already.
        let apart = open.file.grpo().beta > 0.0 && open.file.lora.is_none();
        let load =
            |path: &Path| Checkpoint::open(path)?.load(open.file.model.dtype.into(), &common.device()?);
        let kept = resumed.dir.join(REFERENCE);
        let from = if kept.exists() { &kept } else { &open.file.model.path };
        let reference = apart.then(|| load(from)).transpose()?;
        grpo = grpo.resume(reference, resumed)?;
        let entropy = resumed.state.get("trainer").filter(|_| grpo.entropy().is_some());
        if let Some(entropy) = entropy {
            let entropy = serde_json::from_value(entropy.clone());
            grpo = grpo.with_entropy(entropy.map_err(|e| Error::at(resumed.dir.join("state.json"), e))?);
        }
    }
    let longest = longest(&problems);
    let elsewhere = Elsewhere::open(&open, &prompter.settings.stops(), longest)?;
    let seed = open.file.data.shuffle.then_some(open.file.run.seed);
    let order = Order { len: problems.len(), seed };
    let (scored, samples_from, stop) = (None, None, crate::signals::polled());
    let mut trainer = Problems {
        grpo,
        rewards,
        problems,
        held_out,
        order,
        prompter,
        elsewhere,
        scored,
        samples_from,
        stop,
    };
    let done = steps::run(&mut open, watch.as_ref(), &mut trainer);
    if let Some(elsewhere) = trainer.elsewhere {
        elsewhere.close();
    }
    done
}

/// Tokens of the longest prompt.
fn longest(problems: &[Problem]) -> usize {
    problems.iter().map(|p| p.prompt.len()).max().unwrap_or(0)
}

/// The problems of `data.eval`.
fn held_out(open: &Open<'_>, prompter: &Prompter) -> Result<Option<HeldOut>> {
    let Some(path) = &open.file.data.eval else { return Ok(None) };
    let problems = read(open, path, prompter)?;
    if !problems.iter().any(|problem| problem.readable) {
        return Err(Error::at(path, "data.eval: no answer can be read by the grader"));
    }
    let config = open.file.grpo();
    let room = config.room();
    let GrpoConfig { max_tokens, temperature, top_p, top_k, min_p, .. } = config;
    let (seed, stop_ids) = (open.file.run.seed, open.start.stop_ids.clone());
    let greedy = Sampling { max_tokens, seed, stop_ids, room, ..Sampling::default() };
    let (samples, how) = match open.file.run.eval_samples {
        None => (1, greedy),
        Some(n) => (n, Sampling { temperature, top_p, top_k, min_p, ..greedy }),
    };
    let after_think = judges_after_think(&open.file.reward);
    Ok(Some(HeldOut { problems, samples, how, after_think }))
}

/// Reads the problems; notes what was cut or left out, and warns of what is not used or cannot be judged.
fn read(open: &Open<'_>, path: &Path, prompter: &Prompter) -> Result<Vec<Problem>> {
    let rewards = &open.file.reward;
    let answers =
        Some(path) == open.file.data.eval.as_deref() || rewards.iter().any(RewardConfig::needs_answer);
    let problems = problems::read(path, &open.file.data, prompter, answers)?;
    let (common, place) = (open.common, path.display());
    if problems.cut + problems.dropped > 0 {
        common.note(format!(
            "{place}: {} problems, {} prompts cut to data.max_length, {} longer ones left out",
            problems.all.len(),
            problems.cut,
            problems.dropped
        ));
    }
    let unused = problems.unused();
    // A command is given every column.
    let commands = rewards.iter().any(|reward| matches!(reward.kind, RewardKind::Command { .. }));
    if !unused.is_empty() && !commands {
        let names: Vec<&str> = unused.into_iter().collect();
        common.warn(format!("{place}: not used: {}", names.join(", ")))?;
    }
    let unreadable = problems.all.iter().filter(|p| !p.readable).count();
    if answers && unreadable > 0 {
        common.warn(format!(
            "{place}: {unreadable} answers cannot be read by the grader: their completions are not judged"
        ))?;
    }
    let tokens = longest(&problems.all).saturating_add(open.file.grpo().max_tokens);
    common.warn_positions(
        format_args!("{place}: the longest prompt and grpo.max_tokens"),
        tokens,
        &open.start,
    )?;
    Ok(problems.all)
}

/// Seconds and tokens of a step's phases, one after the other.
struct Phase {
    began: Instant,
    all: BTreeMap<&'static str, (f64, usize)>,
}

impl Default for Phase {
    fn default() -> Self {
        Self { began: Instant::now(), all: BTreeMap::new() }
    }
}

impl Phase {
    /// Ends the phase `name`, which worked on so many tokens, and begins the next.
    fn ends(&mut self, name: &'static str, tokens: usize) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.began = Instant::now();
        let sum = self.all.entry(name).or_default();
        *sum = (sum.0 + seconds, sum.1 + tokens);
    }

    fn fields(self) -> impl Iterator<Item = (String, Value)> {
        self.all.into_iter().flat_map(|(name, (seconds, tokens))| {
            let rate = tokens as f64 / seconds;
            [(format!("{name}_time"), seconds.into()), (format!("{name}_tokens_per_s"), rate.into())]
        })
    }
}

struct Problems<'a> {
    grpo: Grpo,
    rewards: Rewards,
    problems: Vec<Problem>,
    held_out: Option<HeldOut>,
    order: Order,
    prompter: Prompter,
    /// Servers, where they sample.
    elsewhere: Option<Elsewhere<'a>>,
    /// Of the last step.
    scored: Option<Scored>,
    /// The position that a step samples from, until all its completions are there and judged. None among several ranks,
    /// which would have to go back together.
    samples_from: Option<u64>,
    /// Set by a signal.
    stop: Arc<AtomicBool>,
}

impl Problems<'_> {
    /// Samples completions of the next prompts and asks for their rewards.
    fn generation(&mut self, phase: &mut Phase) -> Result<Scored> {
        let (order, n) = (self.order, self.grpo.prompts());
        let at = order.batch(self.grpo.progress().position, n);
        let prompts = |position: u64| -> Vec<Vec<u32>> {
            order.batch(position, n).iter().map(|&i| self.problems[i].prompt.clone()).collect()
        };
        let text = &self.prompter.text;
        let mut rollouts = match &mut self.elsewhere {
            Some(elsewhere) => elsewhere.sample(&mut self.grpo, &prompts, text)?,
            None => {
                let stops = self.prompter.settings.stops();
                let mut watch = StopStrings::new(text, &stops, n * self.grpo.group_size());
                let prompts = prompts(self.grpo.progress().position);
                let (stop, may_stop) = (&self.stop, self.samples_from.is_some());
                let stopped = || may_stop && stop.load(Ordering::SeqCst);
                let push = |row, token| if stopped() { Next::EndAll } else { watch.push(row, token) };
                let rollouts = self.grpo.sample_watched(&prompts, push)?;
                watch.into_result()?;
                if stopped() {
                    return Err(Error::internal("interrupted while completions were sampled"));
                }
                rollouts
            }
        };
        let tokens = rollouts.iter().map(|r| r.ids.len()).sum();
        phase.ends("sample", tokens);
        rollouts.decode(text)?;
        let problem = |prompt: usize| {
            let problem = &self.problems[at[prompt]];
            (problem.answer.as_deref(), &problem.fields)
        };
        let table = self.rewards.score_among(&rollouts.samples(problem), self.grpo.optimizer().ranks())?;
        let scored = rollouts.with_rewards(table)?;
        phase.ends("score", tokens);
        Ok(scored)
    }
}

impl Trainer for Problems<'_> {
    fn step(&mut self) -> Result<Line> {
        let mut phase = Phase::default();
        let is_alone = self.grpo.optimizer().ranks().count() == 1;
        self.samples_from = is_alone.then(|| self.grpo.progress().position);
        let mut scored = self.generation(&mut phase)?;
        while scored.wants_more() {
            scored.append(self.generation(&mut phase)?);
        }
        self.samples_from = None;
        let seen: usize = scored.iter().map(|(r, ..)| r.ids.len() + r.prompt_ids.len()).sum();
        let stats = self.grpo.step(&scored)?;
        phase.ends("train", seen);
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.check(&stats)?;
        }
        let text = format!(
            "step {} reward {:.3} loss {:.4} kl {:.4} length {:.1}",
            stats.step, stats.reward, stats.loss, stats.kl, stats.length
        );
        let mut line = Line::new(&stats, text, format!("reward {:.3}", stats.reward))?;
        line.metrics.insert("tokens_seen".to_owned(), Value::from(seen));
        line.metrics.extend(phase.fields());
        self.scored = Some(scored);
        Ok(line)
    }

    fn record(&self, folder: &RunFolder) -> Result {
        let Some(scored) = &self.scored else { return Ok(()) };
        // The model that sampled them had made all steps but the last.
        let step = self.grpo.progress().step - 1;
        scored.write(&folder.completions_path(step)?, step)
    }

    fn evaluate(&self, stop: &dyn Fn() -> bool) -> Result<Option<Map<String, Value>>> {
        let Some(held_out) = &self.held_out else { return Ok(None) };
        held_out.evaluate(self.grpo.policy(), &self.prompter, stop, self.grpo.optimizer().ranks())
    }

    fn kept(&self) -> Result<Value> {
        self.grpo.entropy().map_or(Ok(Value::Null), |entropy| to_json(&entropy))
    }

    fn reference(&self) -> Option<&Qwen> {
        self.grpo.kept_reference()
    }

    fn data(&self) -> Result<(Map<String, Value>, String)> {
        let lengths = self.problems.iter().map(|p| p.prompt.len());
        let counts = [
            ("problems", self.problems.len()),
            ("unjudged", self.problems.iter().filter(|p| !p.readable).count()),
            ("prompt_tokens", lengths.clone().sum()),
            ("longest", lengths.max().unwrap_or(0)),
        ];
        let counts = counts.map(|(name, n)| (name.to_owned(), n.into()));
        let text = &self.prompter.text;
        let first = self.scored.iter().flat_map(|scored| scored.iter()).next();
        let example = match first {
            Some((r, ..)) => format!("{}⟦{}⟧", text.decode_all(&r.prompt_ids)?, text.decode_all(&r.ids)?),
            None => text.decode_all(&self.problems[0].prompt)?,
        };
        Ok((Map::from_iter(counts), example))
    }

    fn longest(&self) -> usize {
        longest(&self.problems)
    }

    fn undo(&mut self) -> bool {
        self.samples_from.take().map(|position| self.grpo.rewind(position)).is_some()
    }

    fn state(&self) -> State<'_> {
        State {
            model: self.grpo.policy(),
            optimizer: self.grpo.optimizer(),
            progress: self.grpo.progress(),
            steps: self.grpo.steps(),
            rows: self.problems.len(),
        }
    }
}
