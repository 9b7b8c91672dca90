//! Sampling and updating.

use burn::tensor::{Tensor, TensorData};
use hooks::Batch;
use model_qwen::{Finish, Next, Qwen, Request, Sampling, generate};
use posttrain::{Gradients, Optimizer, Progress, Resumed, Schedule, TokenLogProbs, TokenWeights};
use serde::Serialize;

use crate::advantage::{mean, std};
use crate::{Error, GrpoConfig, LossConfig, LossInputs, LossStats, Rollout, Rollouts, Scored, Whole, loss};

/// A policy in training.
#[derive(Debug)]
pub struct Grpo {
    policy: Qwen,
    /// Frozen, where there is a KL term.
    reference: Option<Qwen>,
    optimizer: Optimizer,
    schedule: Schedule,
    progress: Progress,
    config: GrpoConfig,
    stop_ids: Vec<u32>,
    /// Completions of a forward and backward pass: memory only.
    rows: usize,
    steps: usize,
}

/// Numbers of one step; a line of `metrics.jsonl`. Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrpoStats {
    /// The step, from 0.
    pub step: usize,
    /// The loss before the update, averaged over updates. Near 0 on fresh completions: its gradient is not.
    pub loss: f64,
    /// Learning rate of the last update.
    pub lr: f64,
    /// Global norm of the gradients before clipping, averaged over updates; 0 where nothing could be learnt.
    pub grad_norm: f64,
    /// Mean reward of the completions that were judged.
    pub reward: f64,
    /// Standard deviation of the reward over the step.
    pub reward_std: f64,
    /// Share of groups whose rewards are all equal: they teach nothing.
    pub zero_variance: f64,
    /// Share of completions whose reward is NaN: they could not be judged.
    pub unjudged: f64,
    /// Mean completion length in tokens.
    pub length: f64,
    /// Share of completions that met the token budget.
    pub truncated: f64,
    /// Mean KL term; 0 without a reference.
    pub kl: f64,
    /// Mean of minus the log-probability of the sampled tokens: an estimate of the entropy, in nats a token.
    pub entropy: f64,
    /// Share of ratios clipped from below.
    pub clip_low: f64,
    /// Share of ratios clipped from above.
    pub clip_high: f64,
    /// The smallest importance ratio.
    pub ratio_min: f64,
    /// The largest importance ratio.
    pub ratio_max: f64,
    /// Largest difference of a token's log-probability between sampler and trainer before the first update.
    /// Rounding only, unless a filter (top-p, top-k, min-p) changed the sampler's distribution.
    pub sampler_gap: f64,
    /// Completion tokens.
    pub tokens: usize,
}

/// One completion on its way through the updates.
struct Row<'a> {
    rollout: &'a Rollout,
    advantage: f32,
    /// The policy's log-probabilities before the first update.
    old: Vec<f32>,
    /// The reference's; empty without one.
    reference: Vec<f32>,
}

impl Grpo {
    /// Training of `policy`, or of its adapter where one is attached; `prompts` is the number in an epoch. With
    /// `beta` above 0 the reference is the policy as it is now, or without its adapter.
    ///
    /// # Errors
    /// A setting out of its range, or trained parameters in f16.
    pub fn new(policy: Qwen, stop_ids: Vec<u32>, config: &GrpoConfig, prompts: usize) -> Result<Self, Error> {
        config.check()?;
        let trainer = &config.trainer;
        let steps = trainer.steps(prompts.div_ceil(config.prompts));
        Ok(Self {
            reference: (config.beta > 0.0).then(|| policy.without_adapter()),
            optimizer: Optimizer::new(&policy, &trainer.optimizer)?,
            schedule: trainer.schedule(steps * config.updates),
            progress: Progress { step: 0, position: 0, seed: trainer.seed },
            rows: trainer.train.batch_size,
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
    /// completion, which then counts as whole: stop strings ([`StopStrings`](model_qwen::StopStrings)).
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_watched(
        &mut self,
        prompts: &[Vec<u32>],
        mut watch: impl FnMut(usize, u32) -> Next,
    ) -> Result<Rollouts, Error> {
        let group = self.config.group_size;
        let requests: Vec<Request> = (0..prompts.len() * group)
            .map(|at| Request {
                prompt: prompts[at / group].clone(),
                stream: self.progress.position * group as u64 + at as u64,
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
        };
        if requests.is_empty() {
            return Err(Error::input("no prompts to sample from"));
        }
        let mut all = Vec::with_capacity(requests.len());
        for part in requests.chunks(self.config.rollout_batch) {
            let before = all.len();
            let watch = |row: usize, token| watch(before + row, token);
            for (request, done) in part.iter().zip(generate(&self.policy, part, &how, &mut (), watch)?) {
                all.push(Rollout {
                    prompt: all.len() / group,
                    prompt_ids: request.prompt.clone(),
                    ids: done.ids,
                    sampling_logprobs: done.sampling_logprobs,
                    finish: done.finish,
                });
            }
        }
        self.progress.position += prompts.len() as u64;
        Ok(Rollouts { all, group, advantage: self.config.advantage })
    }

    /// `grpo.updates` updates on scored completions, in passes of `train.batch_size` rows.
    ///
    /// Completions whose advantage is 0 have no gradient where there is no KL term, and are then not run; a
    /// step in which that is true of all leaves the model as it is.
    ///
    /// # Errors
    /// A loss or a gradient that is not finite, naming the step.
    pub fn step(&mut self, scored: Scored) -> Result<GrpoStats, Error> {
        let step = self.progress.step;
        let counts = |r: &Rollout| !(self.config.mask_truncated && r.finish == Finish::Length);
        let tokens: usize = scored.all.iter().filter(|r| counts(r)).map(|r| r.ids.len()).sum();
        let (sequences, tokens) = (scored.all.len() as f64, tokens as f64);
        let whole = Whole { sequences, tokens, kept: tokens };
        let how = LossConfig { whole: Some(whole), ..LossConfig::from(&self.config) };
        let learns = |advantage: f32| self.reference.is_some() || advantage != 0.0;
        let mut rows: Vec<Row<'_>> = scored
            .iter()
            .filter(|(r, _, a)| counts(r) && learns(*a) && !r.ids.is_empty())
            .map(|(rollout, _, advantage)| Row { rollout, advantage, old: Vec::new(), reference: Vec::new() })
            .collect();
        if rows.len() > self.rows {
            // Rows of one pass are padded to its longest.
            rows.sort_by_key(|row| std::cmp::Reverse(row.rollout.prompt_ids.len() + row.rollout.ids.len()));
        }
        self.fill_reference(&mut rows)?;

        let updates = self.config.updates;
        let (mut loss, mut grad_norm, mut lr, mut gap) = (0.0, 0.0, 0.0, 0f64);
        let mut seen = LossStats::default();
        for update in 0..updates {
            lr = self.schedule.rate(step * updates + update);
            let mut gradients = Gradients::default();
            for part in rows.chunks_mut(self.rows) {
                let (value, stats, part) = self.pass(part, update == 0, &mut gap, &how)?;
                loss += value / updates as f64;
                seen.add(&stats);
                gradients.add(part);
            }
            if !loss.is_finite() {
                let which =
                    gradients.not_finite_names().map(|names| format!("; {names}")).unwrap_or_default();
                return Err(Error::internal(format!("step {step}: the loss is {loss}{which}")));
            }
            if !rows.is_empty() {
                let done = self.optimizer.step(&mut self.policy, gradients, lr);
                grad_norm += done.map_err(|e| e.within(format!("step {step}")))?.grad_norm / updates as f64;
            }
        }
        self.progress.step += 1;
        Ok(stats(step, &scored, &seen, [loss, lr, grad_norm, gap]))
    }

    /// One forward and backward pass: loss, what was seen, gradients.
    fn pass(
        &self,
        rows: &mut [Row<'_>],
        first: bool,
        gap: &mut f64,
        how: &LossConfig,
    ) -> Result<(f64, LossStats, Gradients), Error> {
        let mut tracked = self.optimizer.tracked(&self.policy);
        let recompute = self.config.trainer.train.recompute;
        let mut log_probs = self.log_probs(if recompute { &self.policy } else { &tracked }, rows)?;
        let flat = log_probs.values();
        let now = split(&flat, rows);
        if first {
            for (row, now) in rows.iter_mut().zip(&now) {
                let both = row.rollout.sampling_logprobs.iter().zip(now);
                *gap = both.fold(*gap, |gap, (a, b)| gap.max(f64::from((a - b).abs())));
                row.old.clone_from(now);
            }
        }
        let device = self.policy.device();
        let seq = rows.iter().map(|row| row.rollout.ids.len()).max().unwrap_or(0);
        let padded = |of: &dyn Fn(usize) -> Vec<f32>| {
            let mut values = Vec::with_capacity(rows.len() * seq);
            for at in 0..rows.len() {
                let row = of(at);
                values.extend_from_slice(&row);
                values.resize((at + 1) * seq, 0.0);
            }
            Tensor::<2>::from_data(TensorData::new(values, [rows.len(), seq]), &device)
        };
        let logp = padded(&|at| now[at].clone()).autodiff().require_grad();
        let old = padded(&|at| rows[at].old.clone());
        let reference = self.reference.is_some().then(|| padded(&|at| rows[at].reference.clone()));
        let mask = padded(&|at| vec![1.0; rows[at].rollout.ids.len()]);
        let advantages: Vec<f32> = rows.iter().map(|row| row.advantage).collect();
        let advantages = Tensor::from_data(TensorData::from(&advantages[..]), &device);
        let old = Some(old);
        let inputs = LossInputs { logp: logp.clone(), old, reference, entropy: None, advantages, mask };
        let (value, stats) = loss(&inputs, how);
        let mut left = value.backward();
        let value = value.into_data().iter::<f64>().sum();
        let to_logp: Vec<f32> = match logp.grad_remove(&mut left) {
            Some(grad) => grad.into_data().iter::<f32>().collect(),
            None => vec![0.0; rows.len() * seq],
        };
        let weights: Vec<TokenWeights> = rows
            .iter()
            .enumerate()
            .flat_map(|(at, row)| &to_logp[at * seq..at * seq + row.rollout.ids.len()])
            .map(|&weight| weight.into())
            .collect();
        let (_, gradients) = log_probs.backward(&mut tracked, &weights);
        Ok((value, stats, gradients))
    }

    fn fill_reference(&self, rows: &mut [Row<'_>]) -> Result<(), Error> {
        let Some(reference) = &self.reference else { return Ok(()) };
        for part in rows.chunks_mut(self.rows) {
            let values = split(&self.log_probs(reference, part)?.values(), part);
            for (row, values) in part.iter_mut().zip(values) {
                row.reference = values;
            }
        }
        Ok(())
    }

    /// The completions' tokens under `model`, row after row.
    fn log_probs(&self, model: &Qwen, rows: &[Row<'_>]) -> Result<TokenLogProbs, Error> {
        let ids: Vec<Vec<u32>> =
            rows.iter().map(|row| [&row.rollout.prompt_ids[..], &row.rollout.ids[..]].concat()).collect();
        let batch = Batch::new(&ids)?;
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let start = at * batch.seq() + row.rollout.prompt_ids.len() - 1;
            positions.extend(start..start + row.rollout.ids.len());
            targets.extend_from_slice(&row.rollout.ids);
        }
        let run = match self.config.trainer.train.recompute {
            true => TokenLogProbs::recomputed,
            false => TokenLogProbs::new,
        };
        run(model, &batch, &positions, targets, 1.0 / self.config.temperature)
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

/// Values that lie row after row, by row.
fn split(flat: &[f32], rows: &[Row<'_>]) -> Vec<Vec<f32>> {
    let mut at = 0;
    rows.iter()
        .map(|row| {
            let start = at;
            at += row.rollout.ids.len();
            flat[start..at].to_vec()
        })
        .collect()
}

fn stats(step: usize, scored: &Scored, seen: &LossStats, [loss, lr, grad_norm, gap]: [f64; 4]) -> GrpoStats {
    let n = scored.all.len().max(1) as f64;
    let tokens: usize = scored.all.iter().map(|r| r.ids.len()).sum();
    let groups = scored.rewards.chunks(scored.group);
    let still = groups.clone().filter(|g| std(g) == 0.0).count() as f64 / groups.len().max(1) as f64;
    let share = |count: usize| count as f64 / n;
    let surprise: f64 = scored.all.iter().flat_map(|r| &r.sampling_logprobs).map(|&x| -f64::from(x)).sum();
    let ratio = |x: f64| if x.is_finite() { x } else { 1.0 };
    GrpoStats {
        step,
        loss,
        lr,
        grad_norm,
        reward: mean(&scored.rewards),
        reward_std: std(&scored.rewards),
        zero_variance: still,
        unjudged: share(scored.rewards.iter().filter(|r| r.is_nan()).count()),
        length: tokens as f64 / n,
        truncated: share(scored.all.iter().filter(|r| r.finish == Finish::Length).count()),
        kl: seen.kl / seen.tokens.max(1.0),
        entropy: surprise / tokens.max(1) as f64,
        clip_low: seen.clipped_low / seen.ratios.max(1.0),
        clip_high: seen.clipped_high / seen.ratios.max(1.0),
        ratio_min: ratio(seen.ratio_min),
        ratio_max: ratio(seen.ratio_max),
        sampler_gap: gap,
        tokens,
    }
}
