//! A policy in training: sampling, and where it is; its updates are in `update.rs`.

use std::sync::Arc;

use model_qwen::{Next, Qwen, Request, Sampling, generate};
use posttrain::ranks::{Alone, Ranks, gather};
use posttrain::{Optimizer, Progress, Resumed, Schedule};

use crate::{Error, GrpoConfig, Rollout, Rollouts, words};

/// A policy in training.
#[derive(Debug)]
pub struct Grpo {
    pub(crate) policy: Qwen,
    /// Frozen, where there is a KL term.
    pub(crate) reference: Option<Qwen>,
    pub(crate) optimizer: Optimizer,
    pub(crate) schedule: Schedule,
    pub(crate) progress: Progress,
    pub(crate) config: GrpoConfig,
    stop_ids: Vec<u32>,
    /// Completions of a forward and backward pass: memory only.
    pub(crate) rows: usize,
    /// Groups of an update's passes.
    pub(crate) groups: usize,
    steps: usize,
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
        let trainer = &config.trainer;
        let rows = trainer.train.batch_size;
        let groups = trainer.train.groups(&*ranks, (config.prompts * config.group_size).div_ceil(rows))?;
        let steps = trainer.steps(prompts.div_ceil(config.prompts));
        Ok(Self {
            reference: (config.beta > 0.0).then(|| policy.without_adapter()),
            optimizer: Optimizer::among(&policy, &trainer.optimizer, ranks)?,
            schedule: trainer.schedule(steps * config.updates),
            progress: Progress { step: 0, position: 0, seed: trainer.seed },
            rows,
            groups,
            policy,
            config: config.clone(),
            stop_ids,
            steps,
        })
    }

    /// Goes on from a checkpoint, whose model or adapter this was made with. `reference` is the model that the run
    /// started from, kept only with `beta` above 0; an adapter's run needs none.
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
        let group = self.config.group_size;
        if prompts.is_empty() {
            return Err(Error::input("no prompts to sample from"));
        }
        // Whole groups by turns, since a rank that scores them sees all completions of a prompt.
        let ranks = self.optimizer.ranks();
        let mine: Vec<usize> = (0..prompts.len() * group).filter(|at| ranks.has(at / group)).collect();
        let requests: Vec<Request> = mine
            .iter()
            .map(|at| Request {
                prompt: prompts[at / group].clone(),
                stream: (self.progress.position * group as u64) + *at as u64,
                origin: at / group,
            })
            .collect();
        let how = Sampling {
            max_tokens: self.config.max_tokens,
            temperature: self.config.temperature,
            top_p: self.config.top_p,
            top_k: self.config.top_k,
            min_p: self.config.min_p,
            seed: self.progress.seed,
            stop_ids: self.stop_ids.clone(),
            room: self.config.room(),
        };
        let done = match requests.is_empty() {
            true => Vec::new(),
            false => generate(&self.policy, &requests, &how, &mut (), |row, token| watch(mine[row], token))?,
        };
        let rows: Vec<(usize, Vec<u32>)> = mine.into_iter().zip(done.iter().map(words::of)).collect();
        let rollout = |(at, row): (usize, Vec<u32>)| {
            let (finish, ids, sampling_logprobs) = words::read(&row);
            Rollout {
                prompt: at / group,
                prompt_ids: prompts[at / group].clone(),
                ids,
                sampling_logprobs,
                finish,
                prompt_text: String::new(),
                text: String::new(),
            }
        };
        let all = gather(ranks, &rows).into_iter().enumerate().map(rollout).collect();
        self.progress.position += prompts.len() as u64;
        Ok(Rollouts { all, how: (&self.config).into() })
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
