//! The clean and the corrupt run of a pair, as one batch of two rows, and the output of each writer in them.

use burn::tensor::Tensor;
use hooks::{Batch, Heads, HookedModel, Metric, Pair, Recorder, Site, Stream, Task, Wiring};

use crate::Error;

/// What the methods need of the two runs of a pair.
pub(crate) struct PairRuns<'a> {
    pub(crate) model: &'a dyn HookedModel,
    pub(crate) pair: &'a Pair,
    pub(crate) metric: &'a Metric,
    pub(crate) wiring: Wiring,
    pub(crate) seq: usize,
    /// Clean embeddings, then corrupt ones, `[2, seq, d_model]`.
    pub(crate) embed: Tensor<3>,
    /// Corrupt minus clean output of every writer, `[n_writers, seq * d_model]`.
    pub(crate) differences: Tensor<2>,
    /// Clean and corrupt output of each layer's attention and MLP, `[2, seq, d_model]`, where asked for.
    pub(crate) outputs: Option<Vec<[Tensor<3>; 2]>>,
    /// Logits of the clean run where the metric reads them, `[1, n, vocab]`.
    pub(crate) clean_logits: Tensor<3>,
    pub(crate) clean_metric: f64,
    pub(crate) corrupt_metric: f64,
}

impl<'a> PairRuns<'a> {
    pub(crate) fn new(task: &'a Task<'a>, pair: &'a Pair, keep_outputs: bool) -> Result<Self, Error> {
        let (model, metric, wiring) = (task.model, &task.metric, task.wiring());
        metric.check_pair(pair)?;
        let sites = (0..wiring.n_layers)
            .flat_map(|l| [Heads::Write(l).into(), Stream::MlpOut(l).into()])
            .chain([Site::from(Stream::Embed)]);
        // The attention's output is the sum of its heads and, in some models, a bias that belongs to none.
        let attention = (0..wiring.n_layers).filter(|_| keep_outputs).map(|l| Stream::AttnOut(l).into());
        let mut seen = Recorder::new(sites.chain(attention));
        let batch = Batch::new(&[pair.clean.clone(), pair.corrupt.clone()])?.rows(pair.rows());
        let logits = model.run(&batch, &mut seen).inner();
        let [_, n, vocab] = logits.dims();
        let row = |i: usize| logits.clone().slice([i..i + 1, 0..n, 0..vocab]);
        let clean_logits = row(0);
        let value = |i: usize| scalar(metric.of_pairs(row(i), &[pair], Some(&clean_logits)));
        let (clean_metric, corrupt_metric) = (value(0), value(1));
        if !clean_metric.is_finite() || !corrupt_metric.is_finite() {
            return Err(Error::input(format!(
                "pair {}: the metric {metric} is {clean_metric} on clean and {corrupt_metric} on corrupt, expected finite numbers; check the model's weights",
                pair.id
            )));
        }

        let embed = seen.stream(Stream::Embed).inner();
        let [_, seq, _] = embed.dims();
        let mut rows: Vec<Tensor<2>> = vec![difference(embed.clone().unsqueeze_dim(1))];
        let mut outputs = keep_outputs.then(Vec::new);
        for layer in 0..wiring.n_layers {
            let writes = seen.take_heads(Heads::Write(layer)).map(Tensor::inner);
            let mlp = seen.take_stream(Stream::MlpOut(layer)).map(Tensor::inner);
            let (Some(writes), Some(mlp)) = (writes, mlp) else {
                return Err(Error::input(format!(
                    "the model shows no per-head writes or MLP output in layer {layer}"
                )));
            };
            if let Some(outputs) = &mut outputs {
                let attention = seen.take_stream(Stream::AttnOut(layer)).map(Tensor::inner);
                let attention = attention.ok_or_else(|| {
                    Error::input(format!("the model shows no attention output in layer {layer}"))
                })?;
                outputs.push([attention, mlp.clone()]);
            }
            rows.push(difference(writes));
            rows.push(difference(mlp.unsqueeze_dim(1)));
        }
        let differences = Tensor::cat(rows, 0);
        Ok(Self {
            model,
            pair,
            metric,
            wiring,
            seq,
            embed,
            differences,
            outputs,
            clean_logits,
            clean_metric,
            corrupt_metric,
        })
    }

    /// `rows` copies of the clean prompt.
    pub(crate) fn clean_batch(&self, rows: usize) -> Result<Batch, Error> {
        Ok(Batch::new(&vec![self.pair.clean.clone(); rows])?.rows(self.pair.rows()))
    }

    /// The metric of each row of logits `[rows, n, vocab]` of the clean prompt.
    pub(crate) fn metric_of(&self, logits: Tensor<3>) -> Tensor<1> {
        let [rows, n, vocab] = logits.dims();
        let clean = self.clean_logits.clone().expand([rows, n, vocab]);
        self.metric.of_pairs(logits, &vec![self.pair; rows], Some(&clean))
    }
}

/// Second row of the batch minus the first: `[2, n, seq, d]` to `[n, seq * d]`.
fn difference(x: Tensor<4>) -> Tensor<2> {
    let [_, n, seq, d] = x.dims();
    let clean = x.clone().slice([0..1, 0..n, 0..seq, 0..d]);
    let corrupt = x.slice([1..2, 0..n, 0..seq, 0..d]);
    (corrupt - clean).reshape([n, seq * d])
}

/// The one element of a tensor.
pub(crate) fn scalar(x: Tensor<1>) -> f64 {
    f64::from(x.inner().into_scalar::<f32>())
}
