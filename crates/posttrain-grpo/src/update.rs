//! The step: updates of the policy on scored completions.

use burn::tensor::{Tensor, TensorData};
use hooks::Batch;
use model_qwen::{Finish, Qwen};
use posttrain::{Gradients, TokenLogProbs, TokenWeights};

use crate::stats::{GrpoStats, Seen};
use crate::{
    Error, Grpo, LossConfig, LossInputs, LossStats, Rollout, Scored, Whole, entropy_threshold, loss,
};

/// One completion on its way through the updates.
struct Row<'a> {
    rollout: &'a Rollout,
    advantage: f32,
    /// The policy's log-probabilities before the first update.
    old: Vec<f32>,
    /// The reference's; empty without one.
    reference: Vec<f32>,
}

impl Row<'_> {
    fn len(&self) -> usize {
        self.rollout.ids.len()
    }
}

impl Grpo {
    /// `grpo.updates` updates on scored completions, in passes of `train.batch_size` rows.
    ///
    /// Completions whose advantage is 0 are not run where they have no gradient: without a KL term and a term of
    /// the entropy. A step in which that is true of all leaves the model as it is.
    ///
    /// # Errors
    /// A loss or a gradient that is not finite, naming the step.
    pub fn step(&mut self, scored: &Scored) -> Result<GrpoStats, Error> {
        let step = self.progress.step;
        let (entropies, updates) = (self.config.top_entropy < 1.0, self.config.updates);
        let all = self.reference.is_some() || entropies || self.config.entropy_coef != 0.0;
        let counts = |r: &Rollout| !(self.config.mask_truncated && r.finish == Finish::Length);
        let (mut rows, mut seen, mut tokens) = (Vec::new(), Seen { updates, ..Seen::default() }, 0);
        for (rollout, advantage) in scored.used().filter(|(r, _)| counts(r)) {
            tokens += rollout.ids.len();
            if (all || advantage != 0.0) && !rollout.ids.is_empty() {
                rows.push(Row { rollout, advantage, old: Vec::new(), reference: Vec::new() });
            } else {
                seen.not_run.0 -= rollout.sampling_logprobs.iter().map(|&x| f64::from(x)).sum::<f64>();
                seen.not_run.1 += rollout.ids.len();
            }
        }
        let (sequences, tokens) = (scored.used().count() as f64, tokens as f64);
        let mut how = LossConfig::from(&self.config);
        if rows.len() > self.rows {
            // Rows of one pass are padded to its longest.
            rows.sort_by_key(|row| std::cmp::Reverse(row.rollout.prompt_ids.len() + row.len()));
        }
        self.fill_reference(&mut rows)?;

        for update in 0..updates {
            seen.lr = self.schedule.rate(step * updates + update);
            let mut kept = tokens;
            if entropies && !rows.is_empty() {
                let all = self.entropies(&rows)?;
                let floor = entropy_threshold(&all, self.config.top_entropy);
                kept = all.iter().filter(|&&h| f64::from(h) >= floor).count() as f64;
                how.entropy_floor = Some(floor);
            }
            how.whole = Some(Whole { sequences, tokens, kept });
            let mut gradients = Gradients::default();
            for part in rows.chunks_mut(self.rows) {
                let (value, stats, part) = self.pass(part, (update == 0).then_some(&mut seen.gap), &how)?;
                seen.loss += value / updates as f64;
                seen.losses.add(&stats);
                gradients.add(part);
            }
            if !seen.loss.is_finite() {
                let which =
                    gradients.not_finite_names().map(|names| format!("; {names}")).unwrap_or_default();
                return Err(Error::internal(format!("step {step}: the loss is {}{which}", seen.loss)));
            }
            if !rows.is_empty() {
                let done = self.optimizer.step(&mut self.policy, gradients, seen.lr);
                let norm = done.map_err(|e| e.within(format!("step {step}")))?.grad_norm;
                seen.grad_norm += norm / updates as f64;
            }
        }
        self.progress.step += 1;
        Ok(GrpoStats::new(step, scored, &seen))
    }

    /// One forward and backward pass: loss, what was seen, gradients. In the first update the policy's log-probabilities
    /// become the old ones, and `gap` takes their sum and largest difference from the sampler's.
    fn pass(
        &self,
        rows: &mut [Row<'_>],
        gap: Option<&mut (f64, f64)>,
        how: &LossConfig,
    ) -> Result<(f64, LossStats, Gradients), Error> {
        let mut tracked = self.optimizer.tracked(&self.policy);
        let recompute = self.config.trainer.train.recompute;
        let mut log_probs = self.log_probs(if recompute { &self.policy } else { &tracked }, rows)?;
        let now = log_probs.stats();
        let (logp, entropy): (Vec<f32>, Vec<f32>) = now.iter().map(|t| (t.log_prob, t.entropy)).unzip();
        if let Some(gap) = gap {
            let sampled = rows.iter().flat_map(|row| &row.rollout.sampling_logprobs);
            for difference in sampled.zip(&logp).map(|(a, b)| f64::from((a - b).abs())) {
                *gap = (gap.0 + difference, gap.1.max(difference));
            }
            let old = split(&logp, rows);
            rows.iter_mut().zip(old).for_each(|(row, old)| row.old = old);
        }
        let padded = Padded::new(rows, self.policy.device());
        let old: Vec<f32> = rows.iter().flat_map(|row| &row.old).copied().collect();
        let reference: Vec<f32> = rows.iter().flat_map(|row| &row.reference).copied().collect();
        let advantages: Vec<f32> = rows.iter().map(|row| row.advantage).collect();
        let inputs = LossInputs {
            logp: padded.tensor(&logp).autodiff().require_grad(),
            old: Some(padded.tensor(&old)),
            reference: self.reference.is_some().then(|| padded.tensor(&reference)),
            entropy: Some(padded.tensor(&entropy).autodiff().require_grad()),
            advantages: Tensor::from_data(TensorData::from(&advantages[..]), &padded.device),
            mask: padded.tensor(&vec![1.0; logp.len()]),
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

    /// The policy's entropy at each token. The quantile is over the whole step, so that passes do not change it.
    fn entropies(&self, rows: &[Row<'_>]) -> Result<Vec<f32>, Error> {
        let mut all = Vec::new();
        for part in rows.chunks(self.rows) {
            all.extend(self.log_probs(&self.policy, part)?.stats().iter().map(|token| token.entropy));
        }
        Ok(all)
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

    /// With zeros behind each row.
    fn tensor(&self, mut values: &[f32]) -> Tensor<2> {
        let mut all = Vec::with_capacity(self.lengths.len() * self.longest);
        for (at, &n) in self.lengths.iter().enumerate() {
            all.extend(values.split_off(..n).unwrap_or_default());
            all.resize((at + 1) * self.longest, 0.0);
        }
        Tensor::from_data(TensorData::new(all, [self.lengths.len(), self.longest]), &self.device)
    }

    fn values(&self, x: Tensor<2>) -> Vec<f32> {
        let all: Vec<f32> = x.into_data().iter::<f32>().collect();
        let row = |(at, &n): (usize, &usize)| all[at * self.longest..at * self.longest + n].to_vec();
        self.lengths.iter().enumerate().flat_map(row).collect()
    }
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
