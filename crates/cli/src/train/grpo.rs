//! `sparks grpo`: group-relative policy optimisation with checked answers.

use model_qwen::{Checkpoint, Dtype, Text};
use posttrain::Order;
use posttrain_grpo::Grpo;
use serde_json::{Map, Value};

use super::open::Open;
use super::problems::{self, Problem};
use super::steps::{self, Line, State, Trainer};
use super::{Args, Kind};
use crate::input;
use crate::options::{Common, Result};

pub(crate) fn grpo(common: &Common, args: &Args) -> Result {
    let mut open = Open::new(common, Kind::Grpo, args)?;
    let text = input::tokenizer(&open.start)?;
    let problems = problems::read(&open.file.data.train, &text)?;
    let stop_ids = open.start.stop_ids.clone();
    let mut grpo = Grpo::new(open.load()?, stop_ids, &open.file.grpo(), problems.len())?;
    if let Some(resumed) = &open.resumed {
        // The reference is the model that the run began from.
        let reference = Checkpoint::open(&open.file.model.path)?.load(Dtype::F32, &common.device()?)?;
        grpo = grpo.resume(reference, resumed)?;
    }
    let seed = open.file.data.shuffle.then_some(open.file.run.seed);
    let order = Order { len: problems.len(), seed };
    steps::run(&mut open, &mut Problems { grpo, problems, order, text })
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
            let completion = self.text.decode(&rollout.ids).unwrap_or_default();
            let verdict = math_grade::grade(&self.problems[at[rollout.prompt]].answer, &completion);
            f32::from(u8::from(verdict.correct))
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

    fn state(&self) -> State<'_> {
        State {
            model: self.grpo.policy(),
            optimizer: self.grpo.optimizer(),
            progress: self.grpo.progress(),
            steps: self.grpo.steps(),
        }
    }
}
