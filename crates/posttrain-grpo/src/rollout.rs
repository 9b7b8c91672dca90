//! Completions, before and after they are scored: what is not scored cannot be trained on.

use crate::{Advantage, Error, advantages};
use model_qwen::Finish;

/// One sampled completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Which of the prompts that were given to `Grpo::sample`.
    pub prompt: usize,
    /// Token ids of the prompt.
    pub prompt_ids: Vec<u32>,
    /// Token ids of the completion, the stop token included.
    pub ids: Vec<u32>,
    /// Natural-log probability of each under the distribution that it was drawn from.
    pub sampling_logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// Completions that wait for their rewards: group after group.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollouts {
    pub(crate) all: Vec<Rollout>,
    pub(crate) group: usize,
    pub(crate) advantage: Advantage,
}

impl Rollouts {
    /// The completions.
    pub fn iter(&self) -> impl Iterator<Item = &Rollout> {
        self.all.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Asks for the reward of each completion. NaN says that it cannot be judged: it is then left out of its
    /// group and teaches nothing.
    ///
    /// # Errors
    /// An infinite reward, naming the prompt.
    pub fn score(self, mut reward: impl FnMut(&Rollout) -> f32) -> Result<Scored, Error> {
        let rewards: Vec<f32> = self.all.iter().map(&mut reward).collect();
        if let Some(at) = rewards.iter().position(|r| r.is_infinite()) {
            return Err(Error::input(format!(
                "the reward of completion {} of prompt {} is {}, expected a finite number, or NaN for what cannot be judged",
                at % self.group,
                self.all[at].prompt,
                rewards[at]
            )));
        }
        let advantages = advantages(&rewards, self.group, self.advantage);
        Ok(Scored { all: self.all, group: self.group, rewards, advantages })
    }
}

/// Completions with their rewards.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    pub(crate) all: Vec<Rollout>,
    pub(crate) group: usize,
    pub(crate) rewards: Vec<f32>,
    pub(crate) advantages: Vec<f32>,
}

impl Scored {
    /// Each completion with its reward and its advantage.
    pub fn iter(&self) -> impl Iterator<Item = (&Rollout, f32, f32)> {
        self.all.iter().zip(&self.rewards).zip(&self.advantages).map(|((r, &reward), &a)| (r, reward, a))
    }

    /// Rewards, group after group.
    pub fn rewards(&self) -> &[f32] {
        &self.rewards
    }
}
