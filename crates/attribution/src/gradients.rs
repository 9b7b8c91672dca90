//! Gradients of the metric at what every reader reads.
//!
//! Two ways to the same numbers. The direct one watches the reading sites themselves, where the residual
//! stream has a copy for each head. The cheap one watches queries, keys and values, which are `d_head` wide,
//! and carries their gradients back through projection and norm ([`HookedModel::pull_back`]): no copy of the
//! stream is ever kept for backward, which is most of the memory and time that other implementations spend.

use burn::tensor::Tensor;
use hooks::{Batch, Heads, Hook, HookedModel, Metric, Pair, Probe, Recorder, Rows, Site, Stream, Wiring};

use crate::Error;
use crate::baseline::Baseline;

/// Summed gradients at the readers of each layer, `[3 n_heads + 1, seq * d_model]` (queries, keys, values, the
/// MLP), and at the logits' input, `[1, seq * d_model]`.
pub(crate) struct ReaderGradients {
    layers: Vec<Tensor<2>>,
    logits: Tensor<2>,
}

/// The three reading sites of a layer and the projections that follow them.
fn reads(layer: usize) -> [(Heads, Heads); 3] {
    [
        (Heads::QueryIn(layer), Heads::Query(layer)),
        (Heads::KeyInUngrouped(layer), Heads::KeyUngrouped(layer)),
        (Heads::ValueInUngrouped(layer), Heads::ValueUngrouped(layer)),
    ]
}

impl ReaderGradients {
    /// One run on `rows` copies of the clean tokens under `change`, and its gradients, summed over rows.
    pub(crate) fn of_run(
        model: &dyn HookedModel,
        pair: &Pair,
        metric: Metric,
        baseline: &Baseline,
        rows: usize,
        change: &mut dyn Hook,
    ) -> Result<Self, Error> {
        let wiring = baseline.wiring;
        let cheap = has_pull_back(model, wiring);
        let head_site = |(read, projected): (Heads, Heads)| Site::from(if cheap { projected } else { read });
        let last = Stream::ResidPost(wiring.n_layers - 1);
        let watched = (0..wiring.n_layers)
            .flat_map(|l| reads(l).map(head_site).into_iter().chain([Stream::MlpIn(l).into()]))
            .chain([last.into()]);
        let probe = Probe::new(watched);
        let recorded = if cheap { wiring.n_layers } else { 0 };
        let seen = Recorder::new((0..recorded).map(|l| Stream::ResidPre(l).into()));
        let mut hook = (change, (seen, probe));

        let batch = Batch::new(&vec![pair.clean.clone(); rows])?.rows(Rows::Last);
        let logits = model.run(&batch, &mut hook);
        let targets = vec![&pair.target; rows];
        let [_, _, vocab] = logits.dims();
        let clean = baseline.clean_logits.clone().expand([rows, 1, vocab]);
        let mut grads = metric.values(logits, &targets, Some(&clean)).sum().backward();
        let (seen, probe) = hook.1;

        let zeros =
            |n: usize| Tensor::zeros([n, baseline.seq * wiring.d_model], &model.device().without_autodiff());
        let mut layers = Vec::with_capacity(wiring.n_layers);
        for layer in 0..wiring.n_layers {
            let mut readers = Vec::with_capacity(4);
            for (read, projected) in reads(layer) {
                let grad = if cheap {
                    probe.heads(projected, &mut grads).and_then(|(grad, _)| {
                        let resid = seen.stream(Stream::ResidPre(layer)).inner();
                        model.pull_back(projected, &resid, grad)
                    })
                } else {
                    probe.heads(read, &mut grads).map(|(grad, _)| grad)
                };
                readers.push(grad.map_or_else(|| zeros(wiring.n_heads), flat));
            }
            let mlp = probe.stream(Stream::MlpIn(layer), &mut grads);
            readers.push(mlp.map_or_else(|| zeros(1), |(grad, _)| flat(grad.unsqueeze_dim(1))));
            layers.push(Tensor::cat(readers, 0));
        }
        let logits =
            probe.stream(last, &mut grads).map_or_else(|| zeros(1), |(g, _)| flat(g.unsqueeze_dim(1)));
        Ok(Self { layers, logits })
    }

    /// Adds another run's gradients.
    pub(crate) fn add(&mut self, other: Self) {
        for (mine, theirs) in self.layers.iter_mut().zip(other.layers) {
            *mine = mine.clone() + theirs;
        }
        self.logits = self.logits.clone() + other.logits;
    }

    /// Scores of all edges, reader by reader, of the gradients times `factor`: one matrix product a layer.
    pub(crate) fn contract(self, baseline: &Baseline, factor: f64) -> Result<Vec<f32>, Error> {
        let wiring = baseline.wiring;
        let [n_writers, width] = baseline.differences.dims();
        let mut scores = Vec::with_capacity(wiring.n_edges());
        let mut product = |readers: Tensor<2>, n_before: usize| -> Result<(), Error> {
            let writers = baseline.differences.clone().slice([0..n_before, 0..width]);
            let values = (readers * factor).matmul(writers.transpose()).into_data().try_to_vec::<f32>();
            scores.extend(values.map_err(|e| Error::new(format!("scores: {e:?}")))?);
            Ok(())
        };
        for (layer, readers) in self.layers.into_iter().enumerate() {
            let heads = 3 * wiring.n_heads;
            let before_attention = 1 + layer * (wiring.n_heads + 1);
            product(readers.clone().slice([0..heads, 0..width]), before_attention)?;
            product(readers.slice([heads..heads + 1, 0..width]), before_attention + wiring.n_heads)?;
        }
        product(self.logits, n_writers)?;
        Ok(scores)
    }
}

/// `[rows, n, seq, d]` summed over rows, `[n, seq * d]`.
fn flat(grad: Tensor<4>) -> Tensor<2> {
    let [rows, n, seq, d] = grad.dims();
    if rows == 1 { grad.reshape([n, seq * d]) } else { grad.sum_dim(0).reshape([n, seq * d]) }
}

/// Whether the model offers the shortcut, asked with one position of zeros.
fn has_pull_back(model: &dyn HookedModel, wiring: Wiring) -> bool {
    let device = model.device().without_autodiff();
    let Some(d_head) = model.d_head() else { return false };
    let resid = Tensor::zeros([1, 1, wiring.d_model], &device);
    let grad = Tensor::zeros([1, wiring.n_heads, 1, d_head], &device);
    model.pull_back(Heads::Query(0), &resid, grad).is_some()
}
