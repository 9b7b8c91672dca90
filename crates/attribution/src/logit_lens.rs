//! The logit lens: the logits that each residual stream gives when it is read out at once.
//!
//! The scale of the final norm is that of the stream itself ([`HookedModel::read_out`]).

use burn::tensor::Tensor;
use hooks::{Batch, HookedModel, Metric, Pair, Recorder, Rows, Stream, Task};

use crate::Error;
use crate::direct_logit_attribution::{difference, no_read_out};

/// The logit lens (nostalgebraist 2020): the logits that each residual stream gives when it goes through
/// the final norm and the output projection at once. `see` gets, in order, the stream before each block,
/// after its attention where `mid` asks for it, and after the last block, each with logits `[batch, seq,
/// vocab]`, or `[batch, 1, vocab]` where `batch` asks for last rows: one at a time, so that only one need fit.
///
/// # Errors
/// A model without read-out, or an error of `see`.
pub fn logit_lens<E: From<Error>>(
    model: &dyn HookedModel,
    batch: &Batch,
    mid: bool,
    see: impl FnMut(Stream, Tensor<3>) -> Result<(), E>,
) -> Result<(), E> {
    read_streams(model, batch, mid, None, see)
}

/// [`logit_lens`], of some tokens only where given.
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
    let mut seen = Recorder::new(streams.iter().map(|&s| s.into()));
    let _ = model.run(batch, &mut seen);
    for stream in streams {
        let resid = seen.take_stream(stream).expect("recorded").inner();
        let resid = if batch.wanted_rows() == Rows::Last { last_rows(&resid, batch) } else { resid };
        see(stream, model.read_out(&resid, &resid, tokens).ok_or_else(no_read_out)?.inner())?;
    }
    Ok(())
}

/// The metric of each residual stream under the logit lens at the last position, as the mean over the clean prompts.
/// The logit difference computes the logits of the pair's tokens alone.
///
/// # Errors
/// A model without read-out, a pair without what the metric needs, or a metric that is NaN or infinite.
pub fn logit_lens_metric(task: &Task<'_>, mid: bool) -> Result<Vec<(Stream, f32)>, Error> {
    task.check()?;
    let (model, metric) = (task.model, &task.metric);
    let mut sums: Vec<(Stream, f64)> = Vec::new();
    for pair in task.pairs {
        let batch = Batch::new(std::slice::from_ref(&pair.clean))?.rows(Rows::Last);
        let clean = (*metric == Metric::Kl).then(|| model.run(&batch, &mut ()).inner());
        let tokens = [&pair.target.answers[..], &pair.target.distractors[..]].concat();
        let few = (*metric == Metric::LogitDiff).then_some(&tokens[..]);
        let last = Pair { earlier: Vec::new(), ..pair.clone() };
        let mut place = 0;
        read_streams(model, &batch, mid, few, |stream, logits| -> Result<(), Error> {
            let value = match few {
                Some(_) => difference(logits, pair.target.answers.len())?[[0, 0]],
                None => metric.of_pairs(logits, &[&last], clean.as_ref()).into_scalar::<f32>(),
            };
            if !value.is_finite() {
                return Err(Error::input(format!(
                    "pair {}: under the lens the metric {metric} is {value}, expected a finite number; check the model's weights",
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
    Ok(sums.into_iter().map(|(stream, sum)| (stream, (sum / task.pairs.len() as f64) as f32)).collect())
}

/// Each row's last real position, `[batch, 1, d_model]`.
fn last_rows(x: &Tensor<3>, batch: &Batch) -> Tensor<3> {
    let row = |(i, &end): (usize, &usize)| x.clone().narrow(0, i, 1).narrow(1, end - 1, 1);
    Tensor::cat(batch.end().iter().enumerate().map(row).collect(), 0)
}
