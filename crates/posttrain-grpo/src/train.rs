//! A policy in training: sampling, and where it is; its updates are in `update.rs`.

use std::sync::Arc;

use model_qwen::{Completion, Next, Qwen, Request, Sampling, generate};
use posttrain::ranks::{Alone, Ranks, gather};
use posttrain::{Optimizer, Progress, Resumed, Schedule};

use crate::{EntropyControl, Error, GrpoConfig, Rollout, Rollouts, words};

/// A policy in training.
#[derive(Debug)]
pub struct Grpo {
    pub(crate) policy: Qwen,
    /// Frozen, where there is a KL term.
    pub(crate) reference: Option<Qwen>,
    pub(crate) optimizer: Optimizer,
    pub(crate) schedule: Schedule,
    pub(crate) progress: Progress,
    pub(crate) entropy: EntropyControl,
    pub(crate) config: GrpoConfig,
    stop_ids: Vec<u32>,
    /// Completions of a forward and backward pass: memory only.
    pub(crate) rows: usize,
    /// Groups of an update's passes.
    pub(crate) groups: usize,
    steps: usize,
}

/// A completion for one of [`Grpo::requests`].
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The request's number.
    pub at: usize,
    /// The completion.
    pub completion: Completion,
    /// Steps done by the weights that sampled it.
    pub step: usize,
}

impl Grpo {
    /// Training of `policy`, or of its adapter where one is attached; `prompts` is the number in an epoch. With
    /// `beta` above 0 the reference is the policy as it is now, or without its adapter.
    ///
    /// # Errors
    /// A setting out of its range, or trained parameters in f16.
    pub fn new(policy: Qwen, stop_ids: Vec<u32>, config: &GrpoConfig, prompts: usize) -> Result<Self, Error> {
        Self::among(policy, stop_ids, config, prompts, Arc::new(Alone))
    }

    /// As [`new`](Self::new), for one of several ranks. Each is given the same policy, and makes the same calls with the
    /// same arguments.
    ///
    /// # Errors
    /// As [`new`](Self::new); `train.groups` that the ranks cannot share.
    pub fn among(
        policy: Qwen,
        stop_ids: Vec<u32>,
        config: &GrpoConfig,
        prompts: usize,
        ranks: Arc<dyn Ranks>,
    ) -> Result<Self, Error> {
        config.check()?;
        if config.sync_reference.is_some() && policy.has_adapter() {
            return Err(Error::input(
                "grpo.sync_reference: the reference of an adapter is the model without it, which does not change",
            ));
        }
        let trainer = &config.trainer;
        let rows = trainer.train.batch_size;
        let completions = config.prompts * config.group_size / config.minibatches;
        let groups = trainer.train.groups(&*ranks, completions.div_ceil(rows))?;
        let steps = trainer.steps(prompts.div_ceil(config.prompts));
        Ok(Self {
            reference: (config.beta > 0.0).then(|| policy.without_adapter()),
            optimizer: Optimizer::among(&policy, &trainer.optimizer, ranks)?,
            schedule: trainer.schedule(steps * config.updates_of_a_step()),
            progress: Progress { step: 0, position: 0, seed: trainer.seed },
            entropy: EntropyControl::new(config.entropy_coef),
            rows,
            groups,
            policy,
            config: config.clone(),
            stop_ids,
            steps,
        })
    }

    /// Goes on from a checkpoint, whose model or adapter this was made with. `reference` is the one that was kept there
    /// ([`kept_reference`](Self::kept_reference)), else the model that the run started from; kept only with `beta` above
    /// 0, and an adapter's run needs none.
    ///
    /// # Errors
    /// An optimiser state that cannot be read.
    pub fn resume(mut self, reference: Option<Qwen>, from: &Resumed) -> Result<Self, Error> {
        if let (Some(kept), Some(reference)) = (&mut self.reference, reference) {
            *kept = reference;
        }
        self.optimizer.load(&from.dir.join("optimizer.safetensors"))?;
        self.progress = from.progress;
        Ok(self)
    }

    /// Samples `grpo.group_size` completions of each prompt. Draws depend on the run's seed and on how many
    /// prompts were sampled before, not on what shares a batch.
    ///
    /// # Errors
    /// No prompts, an empty prompt, a token beyond the vocabulary.
    pub fn sample(&mut self, prompts: &[Vec<u32>]) -> Result<Rollouts, Error> {
        self.sample_watched(prompts, |_, _| Next::Go)
    }

    /// As [`sample`](Self::sample); `watch(completion, token)` sees each token as it is drawn and may end its
    /// completion, which then counts as whole: stop strings ([`StopStrings`](model_qwen::StopStrings)). Among several
    /// ranks each samples for some of the prompts and has all completions afterwards.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_watched(
        &mut self,
        prompts: &[Vec<u32>],
        mut watch: impl FnMut(usize, u32) -> Next,
    ) -> Result<Rollouts, Error> {
        let (mine, requests) = self.requests(prompts, self.progress.position)?;
        let how = self.sampling();
        let done = match requests.is_empty() {
            true => Vec::new(),
            false => generate(&self.policy, &requests, &how, &mut (), |row, token| watch(mine[row], token))?,
        };
        let step = self.progress.step;
        let made = mine.into_iter().zip(done).map(|(at, completion)| Made { at, completion, step });
        self.rollouts(prompts, made.collect())
    }

    /// What this rank asks a sampler for to have `grpo.group_size` completions of each prompt, and their numbers;
    /// `position` is that of the first prompt in the order of the run's prompts.
    ///
    /// # Errors
    /// No prompts.
    pub fn requests(&self, prompts: &[Vec<u32>], position: u64) -> Result<(Vec<usize>, Vec<Request>), Error> {
        if prompts.is_empty() {
            return Err(Error::input("no prompts to sample from"));
        }
        let (group, ranks) = (self.config.group_size, self.optimizer.ranks());
        // Whole groups by turns, since a rank that scores them sees all completions of a prompt.
        let mine: Vec<usize> = (0..prompts.len() * group).filter(|at| ranks.has(at / group)).collect();
        let request = |&at: &usize| Request {
            prompt: prompts[at / group].clone(),
            stream: position * group as u64 + at as u64,
            origin: at / group,
        };
        let requests = mine.iter().map(request).collect();
        Ok((mine, requests))
    }

    /// How completions are sampled.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            max_tokens: self.config.max_tokens,
            temperature: self.config.temperature,
            top_p: self.config.top_p,
            top_k: self.config.top_k,
            min_p: self.config.min_p,
            seed: self.progress.seed,
            stop_ids: self.stop_ids.clone(),
            room: self.config.room(),
        }
    }

    /// Takes the completions that were made for [`requests`](Self::requests) of the next prompts, here or by another
    /// program. Among several ranks each gives its own and has all afterwards.
    ///
    /// # Errors
    /// Missing completions; those that [`Rollouts::new`] refuses.
    pub fn rollouts(&mut self, prompts: &[Vec<u32>], made: Vec<Made>) -> Result<Rollouts, Error> {
        let group = self.config.group_size;
        let rows: Vec<(usize, Vec<u32>)> =
            made.iter().map(|m| (m.at, words::of(&m.completion, m.step))).collect();
        let all = gather(self.optimizer.ranks(), &rows);
        if all.len() != prompts.len() * group {
            let (n, expected) = (all.len(), prompts.len() * group);
            return Err(Error::input(format!(
                "{n} completions, expected {group} of each prompt: {expected}"
            )));
        }
        let rollout = |(at, row): (usize, Vec<u32>)| {
            let (sampled_at, Completion { ids, sampling_logprobs, finish, .. }) = words::read(&row);
            Rollout {
                prompt: at / group,
                prompt_ids: prompts[at / group].clone(),
                ids,
                sampling_logprobs,
                finish,
                sampled_at,
                prompt_text: String::new(),
                text: String::new(),
            }
        };
        let rollouts = Rollouts::new(all.into_iter().enumerate().map(rollout).collect(), &self.config)?;
        self.progress.position += prompts.len() as u64;
        Ok(rollouts)
    }

    /// Goes back to an earlier position in the order of the prompts: what was sampled since is asked for again.
    ///
    /// # Panics
    /// If the position lies ahead.
    pub fn rewind(&mut self, position: u64) {
        assert!(position <= self.progress.position, "a position behind this one");
        self.progress.position = position;
    }

    /// The reference, where it is no longer the model that the run started from and a checkpoint has to keep it.
    pub fn kept_reference(&self) -> Option<&Qwen> {
        self.reference.as_ref().filter(|_| self.config.sync_reference.is_some())
    }

    /// The weight of the entropy bonus, for a checkpoint; none where it is constant.
    pub fn entropy(&self) -> Option<EntropyControl> {
        self.config.adaptive_entropy.map(|_| self.entropy)
    }

    /// Goes on with a weight of the entropy bonus that a checkpoint kept.
    #[must_use]
    pub fn with_entropy(self, entropy: EntropyControl) -> Self {
        Self { entropy, ..self }
    }

    /// Completions of a prompt.
    pub fn group_size(&self) -> usize {
        self.config.group_size
    }

    /// Prompts of a step.
    pub fn prompts(&self) -> usize {
        self.config.prompts
    }

    /// Steps of the run.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.progress.step >= self.steps
    }

    /// Steps and prompts so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The optimiser, for a checkpoint.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The policy as it is now.
    pub fn policy(&self) -> &Qwen {
        &self.policy
    }

    /// The trained policy.
    pub fn into_policy(self) -> Qwen {
        self.policy
    }
}
