//! Log-probabilities of chosen tokens, and their gradient, without ever holding `[tokens, vocab]` whole.
//!
//! Logits are computed at the wanted positions only, in chunks of rows. The gradient of each chunk's logits takes
//! their place and is pulled back to the hidden states and the output projection; the block stack is then
//! differentiated once, with those as its cotangent, over its graph or block by block. By the chain rule that is the
//! gradient of the whole loss.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use hooks::Batch;
use kernels::{TokenStats, TokenWeights};
use model_qwen::Qwen;

use crate::hidden::Hidden;
use crate::{Error, Gradients};

/// Elements of the largest block of logits: 128 MB.
pub(crate) const MAX_LOGITS: usize = 1 << 25;

/// Hidden states at some positions, from which log-probabilities and then gradients are asked for.
#[derive(Debug)]
pub struct TokenLogProbs {
    hidden: Hidden,
    /// `[vocab, d_model]`, untracked, as it is held.
    unembed: Tensor<2>,
    targets: Vec<u32>,
    inverse_temperature: f64,
    /// Rows of a chunk.
    rows: usize,
    /// The logits, where one chunk has them all and `backward` will want them again.
    kept: Option<Tensor<2>>,
}

impl TokenLogProbs {
    /// Runs `model` on `batch` and keeps its hidden states at `positions` (indices into `[batch * seq]`),
    /// each of which predicts one of `targets` under `softmax(logits * inverse_temperature)`.
    ///
    /// A model from [`Optimizer::tracked`](crate::Optimizer::tracked) gives gradients; any other gives values only and is cheaper.
    ///
    /// # Errors
    /// A token beyond the vocabulary.
    ///
    /// # Panics
    /// If there are no positions, or not one target for each.
    pub fn new(
        model: &Qwen,
        batch: &Batch,
        positions: &[usize],
        targets: Vec<u32>,
        inverse_temperature: f64,
    ) -> Result<Self, Error> {
        check(model, batch, positions, &targets)?;
        Ok(Self::of(model, Hidden::new(model, batch, positions), targets, inverse_temperature))
    }

    /// The same with the bits of [`new`](Self::new) and less memory: of an untracked `model` only the residual stream
    /// between blocks is kept, and [`backward`](Self::backward) runs each block again on the tracked model.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn recomputed(
        model: &Qwen,
        batch: &Batch,
        positions: &[usize],
        targets: Vec<u32>,
        inverse_temperature: f64,
    ) -> Result<Self, Error> {
        check(model, batch, positions, &targets)?;
        Ok(Self::of(model, Hidden::recomputed(model, batch, positions), targets, inverse_temperature))
    }

    fn of(model: &Qwen, hidden: Hidden, targets: Vec<u32>, inverse_temperature: f64) -> Self {
        let unembed = model.unembed().clone().inner();
        let rows = (MAX_LOGITS / model.config.vocab).max(1);
        Self { hidden, unembed, targets, inverse_temperature, rows, kept: None }
    }

    /// The same with chunks of `rows` rows: a test's way to see several.
    #[must_use]
    pub fn chunked(mut self, rows: usize) -> Self {
        self.rows = rows.max(1);
        self
    }

    /// Natural-log probability of each target. Where all logits fit in one chunk they are kept for
    /// [`TokenLogProbs::backward`]; otherwise they are computed again there.
    pub fn values(&mut self) -> Vec<f32> {
        self.each_chunk(|logits, targets, inverse_temperature| {
            (to_vec(kernels::token_log_probs(logits.clone(), targets, inverse_temperature)), logits)
        })
    }

    /// Log-probability of each target with the bits of [`values`](Self::values), and what else one more sum over
    /// the vocabulary tells of each position; logits are kept as there.
    pub fn stats(&mut self) -> Vec<TokenStats> {
        self.each_chunk(kernels::token_stats)
    }

    /// Gradients, in every trained parameter of `tracked`, the model that this was made with, of
    /// `Σ w.log_prob * log_prob + w.entropy * entropy + w.mean_log_prob * mean_log_prob` over the positions; and the
    /// statistics.
    ///
    /// # Panics
    /// If `tracked` is not the model from [`Optimizer::tracked`](crate::Optimizer::tracked) that this was made with, or, with
    /// [`recomputed`](Self::recomputed), of the model; if there is not one weight for each target.
    pub fn backward(mut self, tracked: &mut Qwen, weights: &[TokenWeights]) -> (Vec<TokenStats>, Gradients) {
        assert_eq!(weights.len(), self.targets.len(), "one weight for each target");
        // Where the output projection alone is trained, the blocks get no gradient.
        let reached = self.hidden.reaches(tracked);
        let mut kept = self.kept.take();
        let (mut stats, mut to_hidden, mut to_unembed) = (Vec::new(), Vec::new(), None);
        for range in self.ranges() {
            let logits = kept.take().unwrap_or_else(|| self.logits(&range));
            let (targets, weights) = (&self.targets[range.clone()], &weights[range.clone()]);
            let (part, grad) =
                kernels::token_stats_backward(logits, targets, weights, self.inverse_temperature);
            stats.extend(part);
            if reached {
                to_hidden.push(match self.unembed.dtype() {
                    DType::F32 => kernels::matmul(grad.clone(), self.unembed.clone()),
                    _ => kernels::linear_pull_back(grad.clone(), &self.unembed),
                });
            }
            if tracked.unembed().is_autodiff() {
                let grad = kernels::linear_pull_back_weight(grad, self.hidden_of(&range));
                to_unembed = Some(match to_unembed.take() {
                    Some(sum) => sum + grad,
                    None => grad,
                });
            }
        }
        let to_hidden = reached.then(|| Tensor::cat(to_hidden, 0));
        let gradients = self.hidden.backward(tracked, to_hidden, to_unembed);
        (stats, gradients)
    }

    /// `of` on the logits, targets and inverse temperature of each chunk; it hands the logits back.
    fn each_chunk<T>(&mut self, of: impl Fn(Tensor<2>, &[u32], f64) -> (Vec<T>, Tensor<2>)) -> Vec<T> {
        let keep = self.targets.len() <= self.rows && self.hidden.is_tracked();
        let mut all = Vec::with_capacity(self.targets.len());
        for range in self.ranges() {
            let logits = self.kept.take().unwrap_or_else(|| self.logits(&range));
            let (part, logits) = of(logits, &self.targets[range], self.inverse_temperature);
            all.extend(part);
            self.kept = keep.then_some(logits);
        }
        all
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, rows) = (self.targets.len(), self.rows);
        (0..n).step_by(rows).map(move |start| start..(start + rows).min(n))
    }

    fn hidden_of(&self, range: &Range<usize>) -> Tensor<2> {
        let d_model = self.hidden.states().dims()[1];
        self.hidden.states().clone().slice([range.clone(), 0..d_model])
    }

    fn logits(&self, range: &Range<usize>) -> Tensor<2> {
        let x = self.hidden_of(range);
        match self.unembed.dtype() {
            DType::F32 => kernels::matmul(x, self.unembed.clone().transpose()),
            // Widened on the way, never copied whole.
            _ => kernels::linear(x, &self.unembed),
        }
    }
}

fn check(model: &Qwen, batch: &Batch, positions: &[usize], targets: &[u32]) -> Result<(), Error> {
    assert!(!positions.is_empty() && positions.len() == targets.len(), "one target for each position");
    model.check(batch)?;
    let vocab = model.config.vocab;
    match targets.iter().find(|&&t| t as usize >= vocab) {
        None => Ok(()),
        Some(bad) => {
            Err(Error::input(format!("label {bad}: expected ids below the vocabulary size {vocab}")))
        }
    }
}

fn to_vec(x: Tensor<1>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}
