//! The loss and one optimiser step.

use std::sync::Arc;

use model_qwen::Qwen;
use posttrain::ranks::{Alone, Passes, Ranks};
use posttrain::{Gradients, Optimizer, Progress, Resumed, Schedule, TokenLogProbs, TokenStats};
use serde::Serialize;

use crate::batch::Rows;
use crate::loss::{Loss, Sums};
use crate::{Error, Example, SftConfig};

/// A model in training.
#[derive(Debug)]
pub struct Sft {
    model: Qwen,
    optimizer: Optimizer,
    schedule: Schedule,
    progress: Progress,
    loss: Loss,
    /// Rows of a forward pass.
    rows: usize,
    /// Examples of a step.
    batch: usize,
    /// Groups of a step's passes.
    groups: usize,
    /// Whether blocks are run again in the backward pass.
    recompute: bool,
}

/// Numbers of one optimiser step; a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SftStats {
    /// The step, from 0.
    pub step: usize,
    /// Mean loss of the step's trained tokens, in nats, before the update: their negative log-likelihood, where
    /// [`SftConfig`] says nothing else; weighted where the data have weights.
    pub loss: f64,
    /// Share of the trained tokens that were the most likely ones (TRL: `mean_token_accuracy`).
    pub token_accuracy: f64,
    /// Mean entropy of the predictions at the trained tokens, in nats.
    pub entropy: f64,
    /// Learning rate of the update.
    pub lr: f64,
    /// Global norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Trained tokens of the step.
    pub tokens: usize,
    /// All tokens of the step, prompts included and padding not.
    pub tokens_seen: usize,
}

impl Sft {
    /// Training of `model`, or of its adapter where one is attached; `examples` is the number in an epoch.
    ///
    /// # Errors
    /// A setting out of its range, or trained parameters in f16.
    pub fn new(model: Qwen, config: &SftConfig, examples: usize) -> Result<Self, Error> {
        Self::among(model, config, examples, Arc::new(Alone))
    }

    /// As [`new`](Self::new), for one of several ranks. Each is given the same model, and every step the same examples.
    ///
    /// # Errors
    /// As [`new`](Self::new); `train.groups` that the ranks cannot share.
    pub fn among(
        model: Qwen,
        config: &SftConfig,
        examples: usize,
        ranks: Arc<dyn Ranks>,
    ) -> Result<Self, Error> {
        config.check()?;
        let trainer = &config.trainer;
        let groups = trainer.train.groups(&*ranks, trainer.train.accumulation)?;
        let optimizer = Optimizer::among(&model, &trainer.optimizer, ranks)?;
        let (rows, batch) = (trainer.train.batch_size, trainer.train.examples());
        let schedule = trainer.schedule(trainer.steps(examples.div_ceil(batch)));
        let progress = Progress { step: 0, position: 0, seed: trainer.seed };
        let (loss, recompute) = (Loss::new(config), trainer.train.recompute);
        Ok(Self { model, optimizer, schedule, progress, loss, rows, batch, groups, recompute })
    }

    /// Goes on from a checkpoint, whose model this was made with.
    ///
    /// # Errors
    /// An optimiser state that cannot be read.
    pub fn resume(mut self, from: &Resumed) -> Result<Self, Error> {
        self.optimizer.load(&from.dir.join("optimizer.safetensors"))?;
        self.progress = from.progress;
        Ok(self)
    }

    /// One optimiser step on `examples`, in forward passes of `train.batch_size` rows:
    /// `loss = Σ -w log p(token) / Σ w`, or as [`SftConfig`] has it, over the trained tokens of the whole step, with w the
    /// weight of the token's document: 1 where the data give none, so that the divisor is the number of tokens.
    ///
    /// # Errors
    /// No trained token, a token beyond the vocabulary, a loss or gradient that is not finite: the message
    /// names step and examples, and the model is as it was.
    pub fn step(&mut self, examples: &[Example]) -> Result<SftStats, Error> {
        let step = self.progress.step;
        let n_tokens: usize = examples.iter().map(Example::tokens).sum();
        if n_tokens == 0 {
            return Err(Error::input(format!("step {step}: no trained token in {}", names(examples))));
        }
        let total: f64 = examples.iter().map(Example::weight).sum();
        let parts: Vec<&[Example]> = examples.chunks(self.rows).collect();
        let passes = Passes { count: parts.len(), groups: self.groups };
        let summed = self.optimizer.sum(passes, |at| self.pass(at, parts[at], total))?;
        let mut sum = Sums::default();
        summed.numbers.into_iter().for_each(|numbers| sum.add(&numbers.into()));
        let lr = self.schedule.rate(step);
        let update = self.optimizer.step(&mut self.model, summed.gradients, lr);
        let update = update.map_err(|e| e.within(format!("step {step}, {}", names(examples))))?;
        self.progress.step += 1;
        self.progress.position += examples.len() as u64;
        let tokens_seen = examples.iter().map(|e| e.ids.len()).sum();
        Ok(SftStats {
            step,
            loss: sum.loss / total,
            token_accuracy: sum.accuracy(),
            entropy: sum.mean_entropy(),
            lr,
            grad_norm: update.grad_norm,
            tokens: n_tokens,
            tokens_seen,
        })
    }

    /// One forward and backward pass on `rows`, the `at`-th of the step: its sums, and its gradients of a loss over
    /// `total` weights. Nothing where no token is trained.
    fn pass(&self, at: usize, rows: &[Example], total: f64) -> Result<Option<([f64; 5], Gradients)>, Error> {
        if rows.iter().all(|e| e.tokens() == 0) {
            return Ok(None);
        }
        let step = self.progress.step;
        let (draw, first) = ([self.progress.seed, step as u64], at * self.rows);
        let dropping = |model: Qwen| model.with_dropout(draw, &(first..first + rows.len()));
        let mut tracked = dropping(self.optimizer.tracked(&self.model));
        let Rows { batch, positions, targets, weights } = Rows::new(rows)?;
        let n = targets.len();
        let scored = if self.recompute {
            let model = dropping(self.model.clone());
            TokenLogProbs::recomputed(&model, &batch, &positions, targets, 1.0)
        } else {
            TokenLogProbs::new(&tracked, &batch, &positions, targets, 1.0)
        };
        let mut scored = scored.map_err(|e| Error::input(format!("step {step}, {}: {e}", names(rows))))?;
        let stats = if self.loss.is_linear() { vec![TokenStats::default(); n] } else { scored.stats() };
        let scaled = stats.iter().zip(&weights);
        let scaled = scaled.map(|(token, w)| self.loss.weights(token) * (w / total as f32));
        let (stats, mut part) = scored.backward(&mut tracked, &scaled.collect::<Vec<_>>());
        let sums = Sums::of(&stats, &weights, self.loss);
        if !sums.loss.is_finite() {
            let which = part.not_finite_names().map(|names| format!("; {names}")).unwrap_or_default();
            let rows = names(rows);
            return Err(Error::internal(format!("step {step}, {rows}: the loss is {}{which}", sums.loss)));
        }
        Ok(Some((sums.into(), part)))
    }

    /// Negative log-likelihood, weighted as in a step, entropy and accuracy of the trained tokens of `examples`, in
    /// passes of `train.batch_size` rows; nothing is updated. By each rank for itself.
    ///
    /// # Errors
    /// No trained token, or a token beyond the vocabulary.
    pub fn evaluate(&self, examples: &[Example]) -> Result<Sums, Error> {
        let (mut sum, loss) = (Sums::default(), Loss::new(&SftConfig::default()));
        for rows in examples.chunks(self.rows).filter(|rows| rows.iter().any(|e| e.tokens() > 0)) {
            let Rows { batch, positions, targets, weights } = Rows::new(rows)?;
            let stats = TokenLogProbs::new(&self.model, &batch, &positions, targets, 1.0)?.stats();
            sum.add(&Sums::of(&stats, &weights, loss));
        }
        if sum.weight == 0.0 { Err(Error::input("evaluation: no trained token")) } else { Ok(sum) }
    }

    /// Examples of a step.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Steps of the run.
    pub fn steps(&self) -> usize {
        self.schedule.steps
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.progress.step >= self.schedule.steps
    }

    /// Steps and examples so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The optimiser, for a checkpoint.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The model as it is now.
    pub fn model(&self) -> &Qwen {
        &self.model
    }

    /// The trained model.
    pub fn into_model(self) -> Qwen {
        self.model
    }
}

/// The examples' names, some of them where there are many.
fn names(examples: &[Example]) -> String {
    let ids: Vec<String> = examples.iter().take(16).map(Example::to_string).collect();
    let more = if examples.len() > 16 { ", …" } else { "" };
    format!("examples {}{more}", ids.join(", "))
}
