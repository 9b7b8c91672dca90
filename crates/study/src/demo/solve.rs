//! Greedy answers of a model on held-out problems, with a hook, and their accuracy.

use hooks::Hook;
use model_qwen::{Qwen, Request, Sampling, generate};
use stats::{self, Interval};

use crate::Error;
use crate::results::Accuracy;
use toy::{self, Manner, ToyProblem};

/// Problems answered together.
const BATCH: usize = 100;

/// Tokens of a completion at most: the longest worked solution has 41.
pub(super) const MAX_TOKENS: usize = 44;

/// Answers of a model, problem by problem.
pub(super) struct Solved {
    pub(super) completions: Vec<String>,
    pub(super) right: Vec<bool>,
    worked: usize,
}

/// Greedy completions of all `problems`.
pub(super) fn solve(model: &Qwen, problems: &[ToyProblem], hook: &mut dyn Hook) -> Result<Solved, Error> {
    let how = Sampling { max_tokens: MAX_TOKENS, stop_ids: vec![toy::EOS], ..Sampling::default() };
    let mut solved = Solved { completions: Vec::new(), right: Vec::new(), worked: 0 };
    for chunk in problems.chunks(BATCH) {
        let requests = chunk
            .iter()
            .zip(solved.right.len()..)
            .map(|(p, origin)| Ok(Request { prompt: toy::encode(&p.prompt)?, stream: 0, origin }));
        let requests: Vec<Request> = requests.collect::<Result<_, Error>>()?;
        let completions = generate(model, &requests, &how, hook, |_, _| true)?;
        for (problem, completion) in chunk.iter().zip(completions) {
            let text = toy::decode(&completion.ids);
            solved.right.push(toy::reward(problem, &text) == 1.0);
            solved.worked += usize::from(toy::manner(&text) == Manner::Worked);
            solved.completions.push(text);
        }
    }
    Ok(solved)
}

impl Solved {
    /// The share solved, with Wilson's 95 % interval.
    pub(super) fn interval(&self) -> Interval {
        stats::wilson(self.right.iter().filter(|&&r| r).count(), self.right.len(), 0.95)
    }

    pub(super) fn accuracy(&self, suite: &str) -> Accuracy {
        Accuracy {
            suite: suite.into(),
            n: self.right.len(),
            interval: self.interval(),
            worked: Some(self.worked as f64 / self.right.len().max(1) as f64),
        }
    }

    /// The difference in accuracy from `before` on the same problems, with its paired bootstrap interval.
    pub(super) fn gain_over(&self, before: &Self, seed: u64) -> Interval {
        let number = |right: &[bool]| right.iter().map(|&r| f64::from(u8::from(r))).collect::<Vec<f64>>();
        stats::paired_bootstrap(&number(&before.right), &number(&self.right), 0.95, 2000, seed).difference
    }
}
