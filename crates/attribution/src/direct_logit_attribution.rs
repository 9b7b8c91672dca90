//! Direct logit attribution: what each part of a run adds to the logits by itself.
//!
//! The scale of the final norm is held at that of the whole residual stream, which makes the read-out linear
//! ([`HookedModel::read_out`](hooks::HookedModel::read_out)). So the direct attributions of a run add up to its logit
//! difference: the writers' and, in a model whose attention has an output bias, the biases' (Elhage et al. 2021;
//! TransformerLens' `logit_attrs`). What a part does through later parts is not in its direct attribution.

use burn::tensor::Tensor;
use hooks::{Batch, Heads, Hook, HookedModel, Metric, Pair, Pairs, Rows, Site, Stream, Wiring, Writer};
use ndarray::{Array1, Array2, ArrayView1};

use crate::Error;

/// The positions that direct attribution reads the logit difference at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum At {
    /// The last, which predicts the answer.
    #[default]
    Last,
    /// Each position: what the writers add there to the logits of the pair's tokens.
    Every,
}

/// The parts of one pair's logit difference on its clean prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectPair {
    /// The pair's name.
    pub id: String,
    /// The model's own logit difference, `[position]`.
    pub logit_diff: Array1<f32>,
    /// What each writer adds to it, `[writer, position]`, writers in the order of [`Wiring::writers`].
    pub writers: Array2<f32>,
    /// What the output biases of attention, which no head writes, add to it, `[position]`; 0 for the families of
    /// Qwen.
    pub biases: Array1<f32>,
}

/// Attributes the logit difference of each pair's clean prompt to the writers, one pair at a time.
///
/// Costs one run a pair, and the memory of `n_writers` residual streams at the positions read.
///
/// # Errors
/// A model without read-out, or a pair without an answer.
pub fn direct_logit_attribution(
    model: &dyn HookedModel,
    pairs: &Pairs,
    at: At,
) -> Result<Vec<DirectPair>, Error> {
    pairs.iter().map(|pair| direct_pair(model, pair, at)).collect()
}

/// The mean of [`direct_logit_attribution`] over pairs at their last position: the logit difference, and each
/// writer's part.
pub fn direct_mean(wiring: Wiring, found: &[DirectPair]) -> (f32, Vec<(Writer, f32)>) {
    let last = |values: ArrayView1<'_, f32>| f64::from(*values.last().unwrap_or(&0.0)) / found.len() as f64;
    let total: f64 = found.iter().map(|pair| last(pair.logit_diff.view())).sum();
    let of = |w: usize| found.iter().map(|pair| last(pair.writers.row(w))).sum::<f64>() as f32;
    (total as f32, wiring.writers().enumerate().map(|(w, writer)| (writer, of(w))).collect())
}

fn direct_pair(model: &dyn HookedModel, pair: &Pair, at: At) -> Result<DirectPair, Error> {
    Metric::LogitDiff.check_pair(pair)?;
    let batch = Batch::new(std::slice::from_ref(&pair.clean))?;
    let batch = if at == At::Last { batch.rows(Rows::Last) } else { batch };
    let mut parts = Parts::new(model.wiring(), at);
    let logits = model.run(&batch, &mut parts).inner();
    let (writers, biases, resid) = parts.finish();
    let tokens = [&pair.target.answers[..], &pair.target.distractors[..]].concat();
    let read = |write: Tensor<3>| -> Result<Array2<f32>, Error> {
        let logits = model.read_out(&resid, &write, Some(&tokens)).ok_or_else(no_read_out)?;
        difference(logits.inner(), pair.target.answers.len())
    };
    let index: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
    let own = logits.clone().select(2, Tensor::from_data(&index[..], &logits.device()));
    Ok(DirectPair {
        id: pair.id.clone(),
        logit_diff: difference(own, pair.target.answers.len())?.row(0).to_owned(),
        writers: read(writers)?,
        biases: read(biases)?.row(0).to_owned(),
    })
}

pub(crate) fn no_read_out() -> Error {
    Error::input("read-out: this model has none, expected HookedModel::read_out")
}

/// Mean logit of the first `n_answers` tokens less that of the others, for each row and position of
/// `[rows, positions, tokens]`: `[rows, positions]`.
pub(crate) fn difference(logits: Tensor<3>, n_answers: usize) -> Result<Array2<f32>, Error> {
    let [rows, positions, tokens] = logits.dims();
    let right = logits.clone().narrow(2, 0, n_answers).mean_dim(2);
    let all = if tokens == n_answers {
        right
    } else {
        right - logits.narrow(2, n_answers, tokens - n_answers).mean_dim(2)
    };
    let values: Vec<f32> =
        all.into_data().try_to_vec().map_err(|e| Error::input(format!("reading logits: {e:?}")))?;
    Array2::from_shape_vec((rows, positions), values).map_err(Error::internal)
}

/// Keeps what every writer writes, at the positions asked for.
struct Parts {
    wiring: Wiring,
    at: At,
    writers: Vec<Tensor<3>>,
    heads: Option<Tensor<3>>,
    biases: Option<Tensor<3>>,
    resid: Option<Tensor<3>>,
}

impl Parts {
    fn new(wiring: Wiring, at: At) -> Self {
        Self { wiring, at, writers: Vec::new(), heads: None, biases: None, resid: None }
    }

    fn read(&self, x: &Tensor<3>) -> Tensor<3> {
        let seq = x.dims()[1];
        let x = x.clone().inner();
        if self.at == At::Last { x.narrow(1, seq - 1, 1) } else { x }
    }

    /// `[n_writers, positions, d_model]`, and `[1, positions, d_model]` of the biases and of the last stream.
    fn finish(self) -> (Tensor<3>, Tensor<3>, Tensor<3>) {
        let resid = self.resid.expect("the run ended");
        (Tensor::cat(self.writers, 0), self.biases.expect("the run ended"), resid)
    }
}

impl Hook for Parts {
    fn wants(&self, site: Site) -> bool {
        match site {
            Site::Stream(Stream::ResidPost(layer)) => layer + 1 == self.wiring.n_layers,
            Site::Stream(Stream::Embed | Stream::AttnOut(_) | Stream::MlpOut(_)) => true,
            Site::Heads(Heads::Write(_)) => true,
            _ => false,
        }
    }

    fn on_heads(&mut self, _site: Heads, x: Tensor<4>) -> Tensor<4> {
        let [_, heads, seq, d_model] = x.dims();
        let writes = self.read(&x.clone().reshape([heads, seq, d_model]));
        self.heads = Some(writes.clone().sum_dim(0));
        self.writers.push(writes);
        x
    }

    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let seen = self.read(&x);
        match site {
            Stream::ResidPost(_) => self.resid = Some(seen),
            Stream::AttnOut(_) => {
                let bias = seen - self.heads.take().expect("heads write before attention does");
                self.biases = Some(match self.biases.take() {
                    None => bias,
                    Some(before) => before + bias,
                });
            }
            _ => self.writers.push(seen),
        }
        x
    }
}
