//! `sparks grpo`: group-relative policy optimisation with checked answers.

use std::path::Path;

use model_qwen::{Checkpoint, Dtype, Text};
use posttrain::Order;
use posttrain_grpo::Grpo;
use serde_json::{Map, Value};

use super::open::Open;
use super::problems::{self, Problem};
use super::steps::{self, Line, State, Trainer};
use super::watch::Watch;
use super::{Args, Kind};
use crate::input;
use crate::options::{Common, Result};

pub(crate) fn grpo(common: &Common, args: &Args) -> Result {
    let mut open = Open::new(common, Kind::Grpo, args)?;
    let watch = Watch::new(&open)?;
    let text = input::tokenizer(&open.start)?;
    let problems = read(&open, &text)?;
    let stop_ids = open.start.stop_ids.clone();
    let mut grpo = Grpo::new(open.load()?, stop_ids, &open.file.grpo(), problems.len())?;
    if let Some(resumed) = &open.resumed {
        // The reference is the model that the run began from; an adapter's run has it already.
        let apart = open.file.grpo().beta > 0.0 && open.file.lora.is_none();
        let load = |path: &Path| Checkpoint::open(path)?.load(Dtype::F32, &common.device()?);
        let reference = apart.then(|| load(&open.file.model.path)).transpose()?;
        grpo = grpo.resume(reference, resumed)?;
    }
    let seed = open.file.data.shuffle.then_some(open.file.run.seed);
    let order = Order { len: problems.len(), seed };
    steps::run(&mut open, watch.as_ref(), &mut Problems { grpo, problems, order, text })
}

/// Reads the problems; notes what was cut or left out, and warns of what is not used or cannot be judged.
fn read(open: &Open<'_>, text: &Text) -> Result<Vec<Problem>> {
    let template = open.start.chat_template().ok();
    let problems = problems::read(&open.file.data, text, template.as_ref())?;
    let (common, place) = (open.common, open.file.data.train.display());
    if problems.cut + problems.dropped > 0 {
        common.note(format!(
            "{place}: {} problems, {} prompts cut to data.max_length, {} longer ones left out",
            problems.all.len(),
            problems.cut,
            problems.dropped
        ));
    }
    if !problems.unused.is_empty() {
        let names: Vec<&str> = problems.unused.iter().map(String::as_str).collect();
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

struct Problems {
    grpo: Grpo,
    problems: Vec<Problem>,
    order: Order,
    text: Text,
}

impl Trainer for Problems {
    fn step(&mut self) -> Result<Line> {
        let at = self.order.batch(self.grpo.progress().position, self.grpo.prompts());
        let prompts: Vec<Vec<u32>> = at.iter().map(|&i| self.problems[i].prompt.clone()).collect();
        let rollouts = self.grpo.sample(&prompts)?;
        let scored = rollouts.score(|rollout| {
            let problem = &self.problems[at[rollout.prompt]];
            if !problem.readable {
                return f32::NAN;
            }
            let completion = self.text.decode(&rollout.ids).unwrap_or_default();
            f32::from(u8::from(math_grade::grade(&problem.answer, &completion).correct))
        })?;
        let stats = self.grpo.step(scored)?;
        let text = format!(
            "step {} reward {:.3} loss {:.4} kl {:.4} length {:.1}",
            stats.step, stats.reward, stats.loss, stats.kl, stats.length
        );
        Line::new(&stats, text, format!("reward {:.3}", stats.reward))
    }

    fn evaluate(&self) -> Result<Option<Map<String, Value>>> {
        Ok(None)
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
        Ok((Map::from_iter(counts), self.text.decode_all(&self.problems[0].prompt)?))
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
