//! What the parts of one run say to the logits by themselves: logit lens and direct logit attribution.
//!
//! Both hold the scale of the final norm at that of the whole residual stream, which makes the read-out
//! linear ([`HookedModel::read_out`]). So the direct attributions of a run add up to its logit difference:
//! the writers' and, in a model whose attention has an output bias, the biases' (Elhage et al. 2021;
//! TransformerLens' `logit_attrs`). What a part does through later parts is not in its direct attribution.

use burn::tensor::Tensor;
use hooks::{Batch, Heads, Hook, HookedModel, Metric, Pair, Pairs, Rows, Site, Stream, Wiring, Writer};

use crate::Error;

/// The positions that direct attribution reads the logit difference at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum At {
    /// The last, which predicts the answer.
    #[default]
    Last,
    /// Each: what the writers say at a position to the tokens of the pair.
    Every,
}

/// The parts of one pair's logit difference on its clean prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectPair {
    /// The pair's name.
    pub id: String,
    /// The model's own logit difference at each position read.
    pub logit_diff: Vec<f32>,
    /// What each writer adds to it, in the order of [`Wiring::writers`], position by position.
    pub writers: Vec<Vec<f32>>,
    /// What the output biases of attention, which no head writes, add to it; 0 for the families of Qwen.
    pub biases: Vec<f32>,
}

/// Attributes the logit difference of each pair's clean prompt to the writers, one pair at a time.
///
/// Costs one run a pair, and the memory of `n_writers` residual streams at the positions read.
///
/// # Errors
/// A model without read-out, or a pair without an answer.
pub fn direct(model: &dyn HookedModel, pairs: &Pairs, at: At) -> Result<Vec<DirectPair>, Error> {
    pairs.iter().map(|pair| direct_pair(model, pair, at)).collect()
}

/// The mean of [`direct`] over pairs at their last position: the logit difference, and each writer's part.
pub fn direct_mean(wiring: Wiring, found: &[DirectPair]) -> (f32, Vec<(Writer, f32)>) {
    let last = |values: &[f32]| f64::from(*values.last().unwrap_or(&0.0)) / found.len() as f64;
    let total: f64 = found.iter().map(|pair| last(&pair.logit_diff)).sum();
    let of = |w: usize| found.iter().map(|pair| last(&pair.writers[w])).sum::<f64>() as f32;
    (total as f32, wiring.writers().enumerate().map(|(w, writer)| (writer, of(w))).collect())
}

fn direct_pair(model: &dyn HookedModel, pair: &Pair, at: At) -> Result<DirectPair, Error> {
    Metric::LogitDiff.check(&pair.id, &pair.target)?;
    let batch = Batch::new(std::slice::from_ref(&pair.clean))?;
    let batch = if at == At::Last { batch.rows(Rows::Last) } else { batch };
    let mut parts = Parts::new(model.wiring(), at);
    let logits = model.run(&batch, &mut parts).inner();
    let (writers, biases, resid) = parts.finish();
    let tokens = [&pair.target.answers[..], &pair.target.distractors[..]].concat();
    let read = |write: Tensor<3>| -> Result<Vec<Vec<f32>>, Error> {
        let said = model.read_out(&resid, &write, Some(&tokens)).ok_or_else(no_read_out)?;
        difference(said.inner(), pair.target.answers.len())
    };
    let index: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
    let own = logits.clone().select(2, Tensor::from_data(&index[..], &logits.device()));
    Ok(DirectPair {
        id: pair.id.clone(),
        logit_diff: difference(own, pair.target.answers.len())?.swap_remove(0),
        writers: read(writers)?,
        biases: read(biases)?.swap_remove(0),
    })
}

fn no_read_out() -> Error {
    Error::input("read-out: this model has none, expected HookedModel::read_out")
}

/// Mean logit of the first `n_answers` tokens less that of the others, for each row and position of
/// `[rows, positions, tokens]`.
fn difference(logits: Tensor<3>, n_answers: usize) -> Result<Vec<Vec<f32>>, Error> {
    let [_, positions, tokens] = logits.dims();
    let right = logits.clone().narrow(2, 0, n_answers).mean_dim(2);
    let all = if tokens == n_answers {
        right
    } else {
        right - logits.narrow(2, n_answers, tokens - n_answers).mean_dim(2)
    };
    let values: Vec<f32> =
        all.into_data().try_to_vec().map_err(|e| Error::input(format!("reading logits: {e:?}")))?;
    Ok(values.chunks(positions).map(<[f32]>::to_vec).collect())
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

/// The logit lens (nostalgebraist 2020): the logits that each residual stream gives when it goes through
/// the final norm and the output projection at once. `see` gets, in order, the stream before each block,
/// after its attention where `mid` asks for it, and after the last block, each with logits `[batch, seq,
/// vocab]`, or `[batch, 1, vocab]` where `batch` asks for last rows: one at a time, so that only one need fit.
///
/// # Errors
/// A model without read-out, or an error of `see`.
pub fn lens<E: From<Error>>(
    model: &dyn HookedModel,
    batch: &Batch,
    mid: bool,
    see: impl FnMut(Stream, Tensor<3>) -> Result<(), E>,
) -> Result<(), E> {
    read_streams(model, batch, mid, None, see)
}

/// [`lens`], of some tokens only where given.
fn read_streams<E: From<Error>>(
    model: &dyn HookedModel,
    batch: &Batch,
    mid: bool,
    tokens: Option<&[u32]>,
    mut see: impl FnMut(Stream, Tensor<3>) -> Result<(), E>,
) -> Result<(), E> {
    let n = model.wiring().n_layers;
    let block =
        |l| if mid { vec![Stream::ResidPre(l), Stream::ResidMid(l)] } else { vec![Stream::ResidPre(l)] };
    let streams: Vec<Stream> = (0..n).flat_map(block).chain([Stream::ResidPost(n - 1)]).collect();
    let mut seen = hooks::Recorder::new(streams.iter().map(|&s| s.into()));
    let _ = model.run(batch, &mut seen);
    for stream in streams {
        let resid = seen.take_stream(stream).expect("recorded").inner();
        let resid = if batch.wanted_rows() == Rows::Last { last_rows(&resid, batch) } else { resid };
        see(stream, model.read_out(&resid, &resid, tokens).ok_or_else(no_read_out)?.inner())?;
    }
    Ok(())
}

/// The metric of each residual stream under the logit lens, meaned over the clean prompts of `pairs`. The
/// logit difference reads the tokens of the pair alone.
///
/// # Errors
/// A model without read-out, a pair without what the metric needs, or a metric that is not a number.
pub fn lens_metric(
    model: &dyn HookedModel,
    pairs: &Pairs,
    metric: Metric,
    mid: bool,
) -> Result<Vec<(Stream, f32)>, Error> {
    let mut sums: Vec<(Stream, f64)> = Vec::new();
    for pair in pairs {
        metric.check(&pair.id, &pair.target)?;
        let batch = Batch::new(std::slice::from_ref(&pair.clean))?.rows(Rows::Last);
        let clean = (metric == Metric::Kl).then(|| model.run(&batch, &mut ()).inner());
        let tokens = [&pair.target.answers[..], &pair.target.distractors[..]].concat();
        let few = (metric == Metric::LogitDiff).then_some(&tokens[..]);
        let mut place = 0;
        read_streams(model, &batch, mid, few, |stream, logits| -> Result<(), Error> {
            let value = match few {
                Some(_) => difference(logits, pair.target.answers.len())?[0][0],
                None => metric.values(logits, &[&pair.target], clean.as_ref()).into_scalar::<f32>(),
            };
            if !value.is_finite() {
                return Err(Error::input(format!(
                    "pair {}: under the lens the metric {metric} is {value}, expected a number; are the weights numbers?",
                    pair.id
                )));
            }
            if place == sums.len() {
                sums.push((stream, 0.0));
            }
            sums[place].1 += f64::from(value);
            place += 1;
            Ok(())
        })?;
    }
    Ok(sums.into_iter().map(|(stream, sum)| (stream, (sum / pairs.len() as f64) as f32)).collect())
}

/// Each row's last real position, `[batch, 1, d_model]`.
fn last_rows(x: &Tensor<3>, batch: &Batch) -> Tensor<3> {
    let row = |(i, &end): (usize, &usize)| x.clone().narrow(0, i, 1).narrow(1, end - 1, 1);
    Tensor::cat(batch.end().iter().enumerate().map(row).collect(), 0)
}
