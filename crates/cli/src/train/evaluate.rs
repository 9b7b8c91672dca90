//! Evaluation of a policy on held-out problems.

use std::collections::BTreeMap;

use model_qwen::{Finish, Next, Qwen, Request, Sampling, StopStrings, generate};
use posttrain::Ranks;
use posttrain::ranks::gather;
use posttrain_grpo::reward::{RewardConfig, RewardKind, Sample, is_right};
use serde_json::{Map, Value};

use super::problems::Problem;
use crate::options::Result;
use crate::output::to_json;
use crate::prompt::Prompter;

/// Level of the interval of the accuracy.
const LEVEL: f64 = 0.95;

/// Held-out problems and how they are answered.
pub(super) struct HeldOut {
    pub(super) problems: Vec<Problem>,
    /// Completions of a problem.
    pub(super) samples: usize,
    /// The random stream is a function of its seed and the problem alone, so that evaluations of two steps draw
    /// the same numbers.
    pub(super) how: Sampling,
    /// As the reward `correct` of the run has it.
    pub(super) after_think: bool,
}

/// Whether the first reward `correct` of a run judges what follows `</think>` alone.
pub(super) fn judges_after_think(rewards: &[RewardConfig]) -> bool {
    let correct = rewards.iter().find_map(|reward| match reward.kind {
        RewardKind::Correct { after_think } => Some(after_think),
        _ => None,
    });
    correct.unwrap_or(false)
}

impl HeldOut {
    /// Accuracy by the judge of the reward `correct` with its interval, length and truncated share: fields of
    /// `metrics.jsonl`. Problems whose answer the grader cannot read count in length alone; not all are such. Nothing where `stop` says on any rank to end before the end.
    /// Collective: each rank answers some of the problems.
    pub(super) fn evaluate(
        &self,
        policy: &Qwen,
        prompter: &Prompter,
        stop: &dyn Fn() -> bool,
        ranks: &dyn Ranks,
    ) -> Result<Option<Map<String, Value>>> {
        let n = self.problems.len() * self.samples;
        let requests: Vec<Request> = (0..n)
            .filter(|at| ranks.has(at / self.samples))
            .map(|at| Request {
                prompt: self.problems[at / self.samples].prompt.clone(),
                stream: at as u64,
                origin: at / self.samples,
            })
            .collect();
        let stops = prompter.settings.stops();
        let mut watch = StopStrings::new(&prompter.text, &stops, requests.len());
        let push = |row, token| if stop() { Next::EndAll } else { watch.push(row, token) };
        let completions = match requests.is_empty() {
            true => Vec::new(),
            false => generate(policy, &requests, &self.how, &mut (), push)?,
        };
        watch.into_result()?;
        let mut mine = Vec::new();
        for (request, done) in requests.iter().zip(completions).take_while(|_| !stop()) {
            let problem = &self.problems[request.origin];
            let mut correct = false;
            if problem.readable {
                let sample = Sample {
                    prompt: request.origin,
                    prompt_text: &prompter.text.decode_all(&problem.prompt)?,
                    completion: &prompter.text.decode(&done.ids)?,
                    ids: &done.ids,
                    finish: done.finish,
                    answer: problem.answer.as_deref(),
                    columns: &problem.fields,
                };
                correct = is_right(&sample, self.after_think) == Some(true);
            }
            let facts = [done.ids.len(), usize::from(done.finish == Finish::Length), usize::from(correct)];
            mine.push((request.stream as usize, facts.map(|x| x as u64).to_vec()));
        }
        let rows = gather(ranks, &mine);
        if rows.len() < n {
            return Ok(None);
        }
        let (mut right, mut tokens, mut truncated) = (BTreeMap::<usize, usize>::new(), 0, 0);
        for (at, row) in rows.iter().enumerate() {
            (tokens, truncated) = (tokens + row[0], truncated + row[1]);
            if self.problems[at / self.samples].readable {
                *right.entry(at / self.samples).or_default() += row[2] as usize;
            }
        }
        let accuracy = match self.samples {
            1 => stats::wilson(right.values().sum(), right.len(), LEVEL),
            n => {
                let rates: Vec<f64> = right.values().map(|&k| k as f64 / n as f64).collect();
                stats::clustered(&rates, LEVEL)
            }
        };
        let n = n as f64;
        let fields = [
            ("eval_accuracy", to_json(&accuracy.estimate)?),
            ("eval_accuracy_low", to_json(&accuracy.low)?),
            ("eval_accuracy_high", to_json(&accuracy.high)?),
            ("eval_length", to_json(&(tokens as f64 / n))?),
            ("eval_truncated", to_json(&(truncated as f64 / n))?),
            ("eval_problems", right.len().into()),
        ];
        Ok(Some(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }
}
