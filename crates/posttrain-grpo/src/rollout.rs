//! Completions, before and after they are scored: what is not scored cannot be trained on.

use model_qwen::{Finish, Text};
use serde_json::{Map, Value};

use crate::reward::{RewardTable, Sample, caught};
use crate::scored::Baseline;
use crate::{Error, GrpoConfig, Scored};

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
    /// Steps done by the weights that sampled it. Of another program's completions those of earlier weights are stale
    /// ([`RolloutConfig`](crate::RolloutConfig)); without that it is not looked at.
    pub sampled_at: usize,
    /// Text of the prompt; empty before [`Rollouts::decode`].
    pub prompt_text: String,
    /// Text of the completion, without special tokens; empty before [`Rollouts::decode`].
    pub text: String,
}

/// Completions that wait for their rewards: group after group.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollouts {
    pub(crate) all: Vec<Rollout>,
    pub(crate) how: Baseline,
}

impl Rollouts {
    /// Completions that another sampler drew, `grpo.group_size` of each prompt, group after group.
    ///
    /// # Errors
    /// An incomplete group, an empty prompt, or not one log-probability for each token.
    pub fn new(all: Vec<Rollout>, config: &GrpoConfig) -> Result<Self, Error> {
        let group = config.group_size;
        if all.is_empty() || !all.len().is_multiple_of(group) {
            return Err(Error::input(format!("{} completions, expected whole groups of {group}", all.len())));
        }
        for (at, rollout) in all.iter().enumerate() {
            if rollout.prompt_ids.is_empty() || rollout.prompt_ids != all[at / group * group].prompt_ids {
                return Err(Error::input(format!("completion {at}: expected the prompt of its group")));
            }
            if rollout.sampling_logprobs.len() != rollout.ids.len() {
                return Err(Error::input(format!(
                    "completion {at}: expected one log-probability for each token"
                )));
            }
        }
        Ok(Self { all, how: config.into() })
    }

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

    /// Makes the texts of prompts and completions, for rewards and files.
    ///
    /// # Errors
    /// Ids that the tokenizer has not.
    pub fn decode(&mut self, text: &Text) -> Result<(), Error> {
        for rollout in &mut self.all {
            rollout.prompt_text = text.decode_all(&rollout.prompt_ids)?;
            rollout.text = text.decode(&rollout.ids)?;
        }
        Ok(())
    }

    /// The completions as rewards see them; `problem` gives the answer and the other columns of a prompt.
    pub fn samples<'a>(
        &'a self,
        problem: impl Fn(usize) -> (Option<&'a str>, &'a Map<String, Value>),
    ) -> Vec<Sample<'a>> {
        let one = |rollout: &'a Rollout| {
            let (answer, columns) = problem(rollout.prompt);
            let Rollout { prompt, prompt_text, text: completion, ids, finish, .. } = rollout;
            Sample { prompt: *prompt, prompt_text, completion, ids, finish: *finish, answer, columns }
        };
        self.all.iter().map(one).collect()
    }

    /// Asks for the reward of each completion. NaN says that it cannot be judged: it is then left out of its
    /// group and teaches nothing.
    ///
    /// # Errors
    /// A reward that panics; an infinite one, naming the prompt.
    pub fn score(self, reward: impl FnMut(&Rollout) -> f32) -> Result<Scored, Error> {
        let values = caught(|| Ok(self.all.iter().map(reward).collect()));
        let mut table = RewardTable::default();
        table.push("reward", 1.0, values.map_err(|e| e.within("reward"))?);
        Scored::new(self.all, table, self.how)
    }

    /// With the rewards that [`Rewards::score`](crate::reward::Rewards::score) gave these completions.
    ///
    /// # Errors
    /// An infinite reward, naming it and the prompt.
    ///
    /// # Panics
    /// If the rewards are of another number of completions.
    pub fn with_rewards(self, table: RewardTable) -> Result<Scored, Error> {
        assert!(
            table.names().is_empty() || table.values(0).len() == self.all.len(),
            "one reward a completion"
        );
        Scored::new(self.all, table, self.how)
    }
}
