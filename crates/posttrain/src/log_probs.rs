//! Log-probabilities of chosen tokens, and their gradient, without ever holding `[tokens, vocab]` whole.
//!
//! Logits are computed at the wanted positions only, in chunks of rows. Each chunk is differentiated by
//! itself down to the hidden states and the output projection; the block stack is then differentiated once,
//! with the sum of those as its cotangent. By the chain rule that is the gradient of the whole loss.

use std::ops::Range;

use burn::tensor::{DType, Int, Tensor, TensorData};
use hooks::Batch;
use model_qwen::{Pass, Qwen};

use crate::{Error, Gradients};

/// Elements of the largest block of logits: 128 MB.
const MAX_LOGITS: usize = 1 << 25;

/// Hidden states at some positions, from which log-probabilities and then gradients are asked for.
#[derive(Debug)]
pub struct TokenLogProbs {
    /// `[tokens, d_model]`.
    hidden: Tensor<2>,
    /// `[vocab, d_model]`, untracked.
    unembed: Tensor<2>,
    /// Whether the output projection collects gradients.
    trained_unembed: bool,
    targets: Vec<u32>,
    inverse_temperature: f64,
    /// Rows of a chunk.
    rows: usize,
    /// The one chunk's graph, where there is only one.
    kept: Option<Chunk>,
}

/// A tracked piece of the output layer.
#[derive(Debug)]
struct Chunk {
    x: Tensor<2>,
    unembed: Tensor<2>,
    log_probs: Tensor<1>,
}

impl TokenLogProbs {
    /// Runs `model` on `batch` and keeps its hidden states at `positions` (indices into `[batch * seq]`),
    /// each of which predicts one of `targets` under `softmax(logits * inverse_temperature)`.
    ///
    /// A model from [`tracked`](crate::tracked) gives gradients; any other gives values only and is cheaper.
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
        assert!(!positions.is_empty() && positions.len() == targets.len(), "one target for each position");
        model.check(batch)?;
        let vocab = model.config.vocab;
        if let Some(bad) = targets.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::input(format!("label {bad}: expected ids below the vocabulary size {vocab}")));
        }
        let hidden = model.final_hidden(batch, &mut Pass::new(&mut ()));
        let [n, seq, d_model] = hidden.dims();
        let index: Vec<i64> = positions.iter().map(|&p| p as i64).collect();
        let index = Tensor::<1, Int>::from_data(TensorData::from(&index[..]), &model.device());
        let hidden = hidden.reshape([n * seq, d_model]).select(0, index);
        let trained_unembed = model.unembed().is_autodiff();
        let unembed = model.unembed().clone();
        let unembed = if trained_unembed { unembed.inner() } else { unembed };
        let unembed = if unembed.dtype() == DType::F32 { unembed } else { unembed.cast(DType::F32) };
        let rows = (MAX_LOGITS / vocab).max(1);
        Ok(Self { hidden, unembed, trained_unembed, targets, inverse_temperature, rows, kept: None })
    }

    /// The same with chunks of `rows` rows: a test's way to see several.
    #[must_use]
    pub fn chunked(mut self, rows: usize) -> Self {
        self.rows = rows.max(1);
        self
    }

    /// Natural-log probability of each target. Where all logits fit in one chunk their graph is kept for
    /// [`TokenLogProbs::backward`]; otherwise they are computed again there.
    pub fn values(&mut self) -> Vec<f32> {
        if let Some(kept) = &self.kept {
            return to_vec(kept.log_probs.clone());
        }
        let one_chunk = self.targets.len() <= self.rows;
        let mut values = Vec::with_capacity(self.targets.len());
        for range in self.ranges() {
            let chunk = self.chunk(range, one_chunk && self.hidden.is_autodiff());
            values.extend(to_vec(chunk.log_probs.clone()));
            if one_chunk {
                self.kept = Some(chunk);
            }
        }
        values
    }

    /// Gradients of `Σ weights[i] * log_prob[i]` in every trained parameter of `tracked`, the model that this was
    /// made with; and the log-probabilities.
    ///
    /// # Panics
    /// If the model was not tracked, or there is not one weight for each target.
    pub fn backward(mut self, tracked: &mut Qwen, weights: &[f32]) -> (Vec<f32>, Gradients) {
        assert_eq!(weights.len(), self.targets.len(), "one weight for each target");
        let device = tracked.device();
        let mut kept = self.kept.take();
        let (mut values, mut to_hidden, mut to_unembed) = (Vec::new(), Vec::new(), None);
        for range in self.ranges() {
            let chunk = kept.take().unwrap_or_else(|| self.chunk(range.clone(), true));
            values.extend(to_vec(chunk.log_probs.clone()));
            let weights = Tensor::<1>::from_data(TensorData::from(&weights[range]), &device);
            let mut left = (chunk.log_probs * weights.autodiff()).sum().backward();
            to_hidden.extend(chunk.x.grad_remove(&mut left));
            if let Some(grad) = chunk.unembed.grad_remove(&mut left) {
                to_unembed = Some(match to_unembed.take() {
                    Some(sum) => sum + grad,
                    None => grad,
                });
            }
        }
        let cotangent = Tensor::cat(to_hidden, 0).autodiff();
        let mut left = (self.hidden * cotangent).sum().backward();
        let mut gradients = Gradients::take(tracked, &mut left);
        if let Some(grad) = to_unembed {
            gradients.add_unembed(grad);
        }
        (values, gradients)
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, rows) = (self.targets.len(), self.rows);
        (0..n).step_by(rows).map(move |start| start..(start + rows).min(n))
    }

    fn chunk(&self, range: Range<usize>, tracked: bool) -> Chunk {
        let leaf = |x: Tensor<2>| if tracked { x.autodiff().require_grad() } else { x };
        let d_model = self.hidden.dims()[1];
        let x = self.hidden.clone().inner().slice([range.clone(), 0..d_model]);
        let unembed = match (tracked, self.trained_unembed) {
            (true, false) => self.unembed.clone().autodiff(),
            _ => leaf(self.unembed.clone()),
        };
        let x = leaf(x);
        let logits = x.clone().matmul(unembed.clone().transpose());
        let log_probs = kernels::token_log_probs(logits, &self.targets[range], self.inverse_temperature);
        Chunk { x, unembed, log_probs }
    }
}

fn to_vec(x: Tensor<1>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}
