//! `sparks grpo`: group-relative policy optimisation with checked answers.

use std::path::Path;
use std::time::Instant;

use model_qwen::{Checkpoint, Sampling, StopStrings};
use posttrain::Order;
use posttrain_grpo::{Grpo, GrpoConfig};
use serde_json::{Map, Value};

use super::evaluate::HeldOut;
use super::open::Open;
use super::problems::{self, Problem};
use super::steps::{self, Line, State, Trainer};
use super::watch::Watch;
use super::{Args, Kind};
use crate::options::{Common, Result};
use crate::prompt::Prompter;

pub(crate) fn grpo(common: &Common, args: &Args) -> Result {
    let mut open = Open::new(common, Kind::Grpo, args)?;
    let watch = Watch::new(&open)?;
    let prompter = Prompter::new(&open.start, open.file.prompt.settings())?;
    let problems = read(&open, &open.file.data.train, &prompter)?;
    let held_out = held_out(&open, &prompter)?;
    let stop_ids = open.start.stop_ids.clone();
    let mut grpo = Grpo::new(open.load()?, stop_ids, &open.file.grpo(), problems.len())?;
    if let Some(resumed) = &open.resumed {
        // The reference is the model that the run began from; an adapter's run has it already.
        let apart = open.file.grpo().beta > 0.0 && open.file.lora.is_none();
        let load =
            |path: &Path| Checkpoint::open(path)?.load(open.file.model.dtype.into(), &common.device()?);
        let reference = apart.then(|| load(&open.file.model.path)).transpose()?;
        grpo = grpo.resume(reference, resumed)?;
    }
    let seed = open.file.data.shuffle.then_some(open.file.run.seed);
    let order = Order { len: problems.len(), seed };
    steps::run(&mut open, watch.as_ref(), &mut Problems { grpo, problems, held_out, order, prompter })
}

/// The problems of `data.eval`.
fn held_out(open: &Open<'_>, prompter: &Prompter) -> Result<Option<HeldOut>> {
    let Some(path) = &open.file.data.eval else { return Ok(None) };
    let problems = read(open, path, prompter)?;
    let GrpoConfig { max_tokens, temperature, top_p, top_k, min_p, rollout_batch, .. } = open.file.grpo();
    let (seed, stop_ids) = (open.file.run.seed, open.start.stop_ids.clone());
    let greedy = Sampling { max_tokens, seed, stop_ids, ..Sampling::default() };
    let (samples, how) = match open.file.run.eval_samples {
        None => (1, greedy),
        Some(n) => (n, Sampling { temperature, top_p, top_k, min_p, ..greedy }),
    };
    Ok(Some(HeldOut { problems, samples, how, batch: rollout_batch }))
}

/// Reads the problems; notes what was cut or left out, and warns of what is not used or cannot be judged.
fn read(open: &Open<'_>, path: &Path, prompter: &Prompter) -> Result<Vec<Problem>> {
    let problems = problems::read(path, &open.file.data, prompter)?;
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
    if !unused.is_empty() {
        let names: Vec<&str> = unused.into_iter().collect();
        common.warn(format!("{place}: not used: {}", names.join(", ")))?;
    }
    let unreadable = problems.all.iter().filter(|p| !p.readable).count();
    if unreadable > 0 {
        common.warn(format!(
            "{place}: {unreadable} answers cannot be read by the grader: their completions are not judged"
        ))?;
    }
    let longest = problems.all.iter().map(|p| p.prompt.len()).max().unwrap_or(0);
    let (tokens, max) = (longest + open.file.grpo().max_tokens, open.start.config.max_positions);
    if tokens > max {
        common.warn(format!(
            "{place}: the longest prompt has {longest} tokens, {tokens} with grpo.max_tokens; the model has {max} positions"
        ))?;
    }
    Ok(problems.all)
}

/// Seconds and rates of a step's phases, one after the other.
struct Phase {
    began: Instant,
    fields: Map<String, Value>,
}

impl Default for Phase {
    fn default() -> Self {
        Self { began: Instant::now(), fields: Map::new() }
    }
}

impl Phase {
    /// Ends the phase `name`, which worked on so many tokens, and begins the next.
    fn ends(&mut self, name: &str, tokens: usize) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.began = Instant::now();
        self.fields.insert(format!("{name}_time"), seconds.into());
        self.fields.insert(format!("{name}_tokens_per_s"), (tokens as f64 / seconds).into());
    }
}

struct Problems {
    grpo: Grpo,
    problems: Vec<Problem>,
    held_out: Option<HeldOut>,
    order: Order,
    prompter: Prompter,
}

impl Trainer for Problems {
    fn step(&mut self) -> Result<Line> {
        let mut phase = Phase::default();
        let at = self.order.batch(self.grpo.progress().position, self.grpo.prompts());
        let prompts: Vec<Vec<u32>> = at.iter().map(|&i| self.problems[i].prompt.clone()).collect();
        let text = &self.prompter.text;
        let stops = self.prompter.settings.stops();
        let mut watch = StopStrings::new(text, &stops, prompts.len() * self.grpo.group_size());
        let rollouts = self.grpo.sample_watched(&prompts, |row, token| watch.push(row, token))?;
        watch.into_result()?;
        let completion: usize = rollouts.iter().map(|r| r.ids.len()).sum();
        let seen = completion + rollouts.iter().map(|r| r.prompt_ids.len()).sum::<usize>();
        phase.ends("sample", completion);
        let scored = rollouts.score(|rollout| {
            let problem = &self.problems[at[rollout.prompt]];
            if !problem.readable {
                return f32::NAN;
            }
            let completion = text.decode(&rollout.ids).unwrap_or_default();
            f32::from(u8::from(math_grade::grade(&problem.answer, &completion).correct))
        })?;
        phase.ends("score", completion);
        let stats = self.grpo.step(&scored)?;
        phase.ends("train", seen);
        let text = format!(
            "step {} reward {:.3} loss {:.4} kl {:.4} length {:.1}",
            stats.step, stats.reward, stats.loss, stats.kl, stats.length
        );
        let mut line = Line::new(&stats, text, format!("reward {:.3}", stats.reward))?;
        line.metrics.insert("tokens_seen".to_owned(), seen.into());
        line.metrics.extend(phase.fields);
        Ok(line)
    }

    fn evaluate(&self) -> Result<Option<Map<String, Value>>> {
        self.held_out
            .as_ref()
            .map(|held_out| held_out.evaluate(self.grpo.policy(), &self.prompter))
            .transpose()
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
        Ok((Map::from_iter(counts), self.prompter.text.decode_all(&self.problems[0].prompt)?))
    }

    fn longest(&self) -> usize {
        self.problems.iter().map(|p| p.prompt.len()).max().unwrap_or(0)
    }

    fn state(&self) -> State<'_> {
        State {
            model: self.grpo.policy(),
            optimizer: self.grpo.optimizer(),
            progress: self.grpo.progress(),
            steps: self.grpo.steps(),
        }
    }
}
