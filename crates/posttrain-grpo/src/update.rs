//! The step: updates of the policy on scored completions.

use burn::tensor::{Tensor, TensorData};
use hooks::Batch;
use model_qwen::{Finish, Qwen};
use posttrain::ranks::Passes;
use posttrain::{Gradients, TokenLogProbs, TokenStats, TokenWeights};

use crate::correction::Mismatch;
use crate::stats::{GrpoStats, Seen};
use crate::{
    Error, Grpo, LossConfig, LossInputs, LossStats, Ratio, Rollout, RolloutConfig, SamplerInputs, Scored,
    Whole, entropy_threshold, loss,
};

/// One completion on its way through the updates.
struct Row<'a> {
    rollout: &'a Rollout,
    advantage: f32,
    /// The policy's log-probabilities before the first update; a stale completion's own.
    old: Vec<f32>,
    /// Factors of the policy's term; empty where the policy itself samples.
    weights: Vec<f32>,
    /// The reference's; empty without one.
    reference: Vec<f32>,
}

/// The completions of an update.
#[derive(Default)]
struct Minibatch<'a> {
    /// Those that are run.
    rows: Vec<Row<'a>>,
    /// All of them.
    sequences: f64,
    /// Their tokens that count.
    tokens: f64,
    /// What a loss over tokens is divided by.
    divisor: f64,
}

/// What a pass saw: the loss, how far sampler and trainer were apart, and the rest.
struct PassNumbers {
    value: f64,
    mismatch: Mismatch,
    stats: LossStats,
}

impl From<PassNumbers> for [f64; 18] {
    fn from(PassNumbers { value, mismatch, stats }: PassNumbers) -> Self {
        let (m, s): ([f64; 7], [f64; 10]) = (mismatch.into(), stats.into());
        let mut all = [value].into_iter().chain(m).chain(s);
        std::array::from_fn(|_| all.next().unwrap_or_default())
    }
}

impl From<[f64; 18]> for PassNumbers {
    fn from(all: [f64; 18]) -> Self {
        let mismatch: [f64; 7] = std::array::from_fn(|i| all[1 + i]);
        let stats: [f64; 10] = std::array::from_fn(|i| all[8 + i]);
        Self { value: all[0], mismatch: mismatch.into(), stats: stats.into() }
    }
}

impl Row<'_> {
    fn len(&self) -> usize {
        self.rollout.ids.len()
    }

    /// Takes the policy's log-probabilities before the first update, and what they say of the sampler.
    fn begin(&mut self, now: Vec<f32>, step: usize, rollouts: Option<&RolloutConfig>) -> Mismatch {
        let (sampler, mut mismatch) = (&self.rollout.sampling_logprobs, Mismatch::default());
        mismatch.add_gaps(&now, sampler);
        match rollouts {
            None => {}
            Some(config) if self.rollout.sampled_at == step => {
                self.weights = config.correction.weights(&now, sampler);
                let one = if config.correction.kind.is_of_sequences() { 1 } else { self.weights.len() };
                mismatch.add_weights(&self.weights[..one]);
            }
            Some(_) => {
                self.weights = vec![1.0; now.len()];
                let own = |(now, own): (f32, &f32)| if own.is_nan() { now } else { *own };
                self.old = now.into_iter().zip(sampler).map(own).collect();
                return mismatch;
            }
        }
        self.old = now;
        mismatch
    }
}

impl Grpo {
    /// `grpo.updates` passes over scored completions, each of `grpo.minibatches` updates, in passes of `train.batch_size`
    /// rows.
    ///
    /// Completions whose advantage is 0 are not run where they have no gradient: without a KL term and a term of
    /// the entropy. An update in which that is true of all has a gradient of 0, with which the optimiser goes on as TRL's
    /// does: by its momentum and weight decay. One without completions is left out.
    ///
    /// # Errors
    /// A loss or a gradient that is not finite, naming the step.
    pub fn step(&mut self, scored: &Scored) -> Result<GrpoStats, Error> {
        self.check_staleness(scored)?;
        let (updates, step) = (self.config.updates, self.progress.step);
        let mut seen = Seen { updates, minibatches: self.config.minibatches, ..Seen::default() };
        let mut parts = self.minibatches(scored, &mut seen);
        for part in &mut parts[1..] {
            self.begin(part, &mut seen)?;
        }
        for _ in 0..updates {
            for part in &mut parts {
                self.update(part, &mut seen)?;
            }
        }
        self.progress.step += 1;
        Ok(GrpoStats::new(step, scored, &seen, self.config.rollouts.is_some()))
    }

    /// The completions of each update, in the order in which they were sampled.
    fn minibatches<'s>(&self, scored: &'s Scored, seen: &mut Seen) -> Vec<Minibatch<'s>> {
        let n = self.config.minibatches;
        let all = self.reference.is_some() || self.config.top_entropy < 1.0 || self.has_bonus();
        let counts = |r: &Rollout| !(self.config.mask_truncated && r.finish == Finish::Length);
        let mut parts: Vec<Minibatch<'s>> = (0..n).map(|_| Minibatch::default()).collect();
        let used = scored.used().count();
        for (at, (rollout, advantage)) in scored.used().enumerate() {
            let part = &mut parts[at * n / used];
            part.sequences += 1.0;
            if !counts(rollout) {
                // TRL's mean over ratios of sequences has no mask.
                seen.ratios_not_run += f64::from(u8::from(self.config.ratio == Ratio::Sequence));
                continue;
            }
            part.tokens += rollout.ids.len() as f64;
            if (all || advantage != 0.0) && !rollout.ids.is_empty() {
                let (old, weights, reference) = Default::default();
                part.rows.push(Row { rollout, advantage, old, weights, reference });
            } else {
                let known = rollout.sampling_logprobs.iter().filter(|x| !x.is_nan());
                seen.ratios_not_run += match self.config.ratio {
                    Ratio::Token => rollout.ids.len() as f64,
                    Ratio::Sequence => 1.0,
                };
                seen.not_run.1 += known.clone().count();
                seen.not_run.0 -= known.map(|&x| f64::from(x)).sum::<f64>();
            }
        }
        let mean = parts.iter().map(|part| part.tokens).sum::<f64>() / n as f64;
        for part in &mut parts {
            part.divisor = if self.config.loss.divides_by_mean_tokens() { mean } else { part.tokens };
            if part.rows.len() > self.rows {
                // Rows of one pass are padded to its longest.
                part.rows.sort_by_key(|row| std::cmp::Reverse(row.rollout.prompt_ids.len() + row.len()));
            }
        }
        parts
    }

    /// Takes the log-probabilities of completions that are not in the first update, before it.
    fn begin(&self, part: &mut Minibatch<'_>, seen: &mut Seen) -> Result<(), Error> {
        let config = self.config.rollouts.as_ref();
        let now = self.values(part, &self.policy, |token| token.log_prob)?;
        for (row, now) in part.rows.iter_mut().zip(now) {
            seen.mismatch.add(&row.begin(now, self.progress.step, config));
        }
        if let Some(reference) = &self.reference {
            let values = self.values(part, reference, |token| token.log_prob)?;
            part.rows.iter_mut().zip(values).for_each(|(row, values)| row.reference = values);
        }
        Ok(())
    }

    /// One update of the policy.
    fn update(&mut self, part: &mut Minibatch<'_>, seen: &mut Seen) -> Result<(), Error> {
        let step = self.progress.step;
        let before = step * seen.all() + seen.made;
        seen.made += 1;
        seen.lr = self.schedule.rate(before);
        let (mut kept, mut kept_entropy, mut how) = (part.tokens, None, LossConfig::from(&self.config));
        let adaptive = self.config.adaptive_entropy;
        if let Some(adaptive) = &adaptive {
            how.entropy_coef = self.entropy.applied(adaptive);
        }
        if self.config.top_entropy < 1.0 && !part.rows.is_empty() {
            // The quantile is over the whole update, so that passes do not change it.
            let all = self.values(part, &self.policy, |token| token.entropy)?.concat();
            let floor = entropy_threshold(&all, self.config.top_entropy);
            let above = || all.iter().map(|&h| f64::from(h)).filter(|&h| h >= floor);
            (kept, kept_entropy) = (above().count() as f64, Some(above().sum()));
            how.entropy_floor = Some(floor);
        }
        how.whole = Some(Whole { sequences: part.sequences, tokens: part.divisor, kept });
        let passes = self.passes(&part.rows);
        let mut rows: Vec<&mut [Row<'_>]> = part.rows.chunks_mut(self.rows).collect();
        let summed = self.optimizer.sum(passes, |at| {
            let (numbers, mut part) = self.pass(rows[at], &how)?;
            if !numbers.value.is_finite() {
                let which = part.not_finite_names().map(|names| format!("; {names}")).unwrap_or_default();
                return Err(Error::internal(format!("step {step}: the loss is {}{which}", numbers.value)));
            }
            Ok(Some((numbers.into(), part)))
        })?;
        let mut entropy = 0.0;
        for PassNumbers { value, mismatch, stats } in summed.numbers.into_iter().map(PassNumbers::from) {
            seen.loss += value / seen.all() as f64;
            seen.losses.add(&stats);
            seen.mismatch.add(&mismatch);
            entropy += stats.entropy;
        }
        if part.sequences > 0.0 {
            let gradients = if part.rows.is_empty() {
                self.optimizer.zero_gradients(&mut self.policy)
            } else {
                summed.gradients
            };
            let done = self.optimizer.step(&mut self.policy, gradients, seen.lr);
            let norm = done.map_err(|e| e.within(format!("step {step}")))?.grad_norm;
            seen.grad_norm += norm / seen.all() as f64;
            if let Some(adaptive) = &adaptive {
                self.entropy.saw(kept_entropy.unwrap_or(entropy) / kept.max(1.0), adaptive);
            }
        }
        seen.entropy_coef = self.has_bonus().then_some(self.entropy.coef);
        if let (Some(sync), Some(reference)) = (self.config.sync_reference, &mut self.reference)
            && (before + 1).is_multiple_of(sync.every)
        {
            sync.run(reference, &self.policy);
        }
        Ok(())
    }

    /// Whether the loss has a term of the entropy.
    fn has_bonus(&self) -> bool {
        self.config.adaptive_entropy.is_some() || self.config.entropy_coef != 0.0
    }

    fn passes(&self, rows: &[Row<'_>]) -> Passes {
        Passes { count: rows.len().div_ceil(self.rows), groups: self.groups }
    }

    /// Another program's completions are of weights that are at most `staleness` steps behind.
    fn check_staleness(&self, scored: &Scored) -> Result<(), Error> {
        let Some(RolloutConfig { staleness, .. }) = self.config.rollouts else { return Ok(()) };
        let step = self.progress.step;
        let fits = |r: &Rollout| r.sampled_at <= step && step - r.sampled_at <= staleness;
        match scored.all.iter().find(|r| !fits(r)) {
            None => Ok(()),
            Some(r) => Err(Error::input(format!(
                "step {step}: a completion of the weights after step {}, expected at most {staleness} behind",
                r.sampled_at
            ))),
        }
    }

    /// One forward and backward pass: numbers and gradients. In the first update the policy's log-probabilities become the
    /// old ones, and the reference's are asked for.
    fn pass(&self, rows: &mut [Row<'_>], how: &LossConfig) -> Result<(PassNumbers, Gradients), Error> {
        let is_first = rows.iter().all(|row| row.old.is_empty());
        if let Some(reference) = self.reference.as_ref().filter(|_| is_first) {
            let values = split(&self.log_probs(reference, rows)?.values(), rows);
            rows.iter_mut().zip(values).for_each(|(row, values)| row.reference = values);
        }
        let mut tracked = self.optimizer.tracked(&self.policy);
        let recompute = self.config.trainer.train.recompute;
        let mut log_probs = self.log_probs(if recompute { &self.policy } else { &tracked }, rows)?;
        let now = log_probs.stats();
        let (logp, entropy): (Vec<f32>, Vec<f32>) = now.iter().map(|t| (t.log_prob, t.entropy)).unzip();
        let mut mismatch = Mismatch::default();
        if is_first {
            let (now, config) = (split(&logp, rows), self.config.rollouts.as_ref());
            for (row, now) in rows.iter_mut().zip(now) {
                mismatch.add(&row.begin(now, self.progress.step, config));
            }
        }
        let padded = Padded::new(rows, self.policy.device());
        let (old, reference) = (flat(rows, |row| &row.old), flat(rows, |row| &row.reference));
        let advantages: Vec<f32> = rows.iter().map(|row| row.advantage).collect();
        let inputs = LossInputs {
            logp: padded.tensor(&logp, 0.0).autodiff().require_grad(),
            old: Some(padded.tensor(&old, 0.0)),
            reference: self.reference.is_some().then(|| padded.tensor(&reference, 0.0)),
            entropy: Some(padded.tensor(&entropy, 0.0).autodiff().require_grad()),
            advantages: Tensor::from_data(TensorData::from(&advantages[..]), &padded.device),
            mask: padded.tensor(&vec![1.0; logp.len()], 0.0),
            sampler: self.config.rollouts.map(|_| SamplerInputs {
                logp: padded.tensor(&flat(rows, |row| &row.rollout.sampling_logprobs), 0.0),
                weights: padded.tensor(&flat(rows, |row| &row.weights), 1.0),
            }),
        };
        let (value, stats) = loss(&inputs, how);
        let left = value.backward();
        let value = value.into_data().iter::<f64>().sum();
        let to = |x: Option<Tensor<2>>| x.and_then(|x| x.grad(&left)).map(|grad| padded.values(grad));
        let (to_logp, to_entropy) = (to(Some(inputs.logp)), to(inputs.entropy));
        let weights: Vec<TokenWeights> = (0..logp.len())
            .map(|at| {
                let of = |grad: &Option<Vec<f32>>| grad.as_ref().map_or(0.0, |grad| grad[at]);
                TokenWeights { log_prob: of(&to_logp), entropy: of(&to_entropy), ..TokenWeights::default() }
            })
            .collect();
        let (_, gradients) = log_probs.backward(&mut tracked, &weights);
        Ok((PassNumbers { value, mismatch, stats }, gradients))
    }

    /// A number of each token under `model`, by row.
    fn values(
        &self,
        part: &Minibatch<'_>,
        model: &Qwen,
        of: impl Fn(&TokenStats) -> f32,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let rows: Vec<&[Row<'_>]> = part.rows.chunks(self.rows).collect();
        let all = self.optimizer.values(self.passes(&part.rows), |at| {
            let stats = self.log_probs(model, rows[at])?.stats();
            Ok(stats.iter().map(&of).collect())
        });
        Ok(split(&all?.concat(), &part.rows))
    }

    /// The completions' tokens under `model`, row after row.
    fn log_probs(&self, model: &Qwen, rows: &[Row<'_>]) -> Result<TokenLogProbs, Error> {
        let ids: Vec<Vec<u32>> =
            rows.iter().map(|row| [&row.rollout.prompt_ids[..], &row.rollout.ids[..]].concat()).collect();
        let batch = Batch::new(&ids)?;
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let start = at * batch.seq() + row.rollout.prompt_ids.len() - 1;
            positions.extend(start..start + row.len());
            targets.extend_from_slice(&row.rollout.ids);
        }
        let run = match self.config.trainer.train.recompute {
            true => TokenLogProbs::recomputed,
            false => TokenLogProbs::new,
        };
        run(model, &batch, &positions, targets, 1.0 / self.config.temperature)
    }
}

/// Between values that lie row after row and tensors `[rows, longest]`.
struct Padded {
    lengths: Vec<usize>,
    longest: usize,
    device: burn::tensor::Device,
}

impl Padded {
    fn new(rows: &[Row<'_>], device: burn::tensor::Device) -> Self {
        let lengths: Vec<usize> = rows.iter().map(Row::len).collect();
        let longest = lengths.iter().max().copied().unwrap_or(0);
        Self { lengths, longest, device }
    }

    /// With `fill` behind each row.
    fn tensor(&self, mut values: &[f32], fill: f32) -> Tensor<2> {
        let mut all = Vec::with_capacity(self.lengths.len() * self.longest);
        for (at, &n) in self.lengths.iter().enumerate() {
            all.extend(values.split_off(..n).unwrap_or_default());
            all.resize((at + 1) * self.longest, fill);
        }
        Tensor::from_data(TensorData::new(all, [self.lengths.len(), self.longest]), &self.device)
    }

    fn values(&self, x: Tensor<2>) -> Vec<f32> {
        let all: Vec<f32> = x.into_data().iter::<f32>().collect();
        let row = |(at, &n): (usize, &usize)| all[at * self.longest..at * self.longest + n].to_vec();
        self.lengths.iter().enumerate().flat_map(row).collect()
    }
}

/// Values of each row, row after row.
fn flat<'r>(rows: &'r [Row<'_>], of: impl Fn(&'r Row<'_>) -> &'r Vec<f32>) -> Vec<f32> {
    rows.iter().flat_map(of).copied().collect()
}

/// Values that lie row after row, by row.
fn split(flat: &[f32], rows: &[Row<'_>]) -> Vec<Vec<f32>> {
    let mut at = 0;
    rows.iter()
        .map(|row| {
            let start = at;
            at += row.len();
            flat[start..at].to_vec()
        })
        .collect()
}
