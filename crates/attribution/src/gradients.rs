//! Gradients of the metric at what every reader reads.
//!
//! There are two ways to the same numbers. The direct one watches the reading sites themselves, where the residual
//! stream has a copy for each head. The cheap one watches queries, keys and values, which are `d_head` wide, and
//! multiplies their gradients back through projection and norm ([`HookedModel::pull_back`]). It stores no copies of the
//! stream for the backward pass, which is most of the memory and time of other implementations.

use burn::tensor::{Gradients, Tensor};
use hooks::{Heads, Hook, HookedModel, Part, Probe, Recorder, Site, Stream, Wiring};

use crate::Error;
use crate::pair_runs::PairRuns;

/// Gradients at the readers of each layer, `[3 n_heads + 1, seq * d_model]` (queries, keys, values, the MLP),
/// and at the logits' input, `[1, seq * d_model]`: summed over rows and runs.
pub(crate) struct ReaderGradients {
    layers: Vec<Option<Tensor<2>>>,
    logits: Option<Tensor<2>>,
    cheap: bool,
    recompute: bool,
}

/// One layer of a run: the residual stream that it read, and the probe that watched it.
struct LayerRun<'a> {
    layer: usize,
    resid: Option<Tensor<3>>,
    probe: &'a Probe,
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
    /// No gradients yet. With `recompute` a backward pass keeps the residual stream between blocks and the
    /// inside of one block only.
    pub(crate) fn none(model: &dyn HookedModel, recompute: bool) -> Self {
        let wiring = model.wiring();
        let cheap = has_pull_back(model, wiring);
        Self { layers: vec![None; wiring.n_layers], logits: None, cheap, recompute }
    }

    /// The sites of a layer where gradients are watched.
    fn watched(&self, layer: usize) -> impl Iterator<Item = Site> + use<> {
        let cheap = self.cheap;
        let head_site = move |(read, projected): (Heads, Heads)| if cheap { projected } else { read };
        reads(layer).into_iter().map(move |r| head_site(r).into()).chain([Stream::MlpIn(layer).into()])
    }

    /// Adds the gradients of one run on `rows` copies of the clean tokens under `change`.
    pub(crate) fn add_run(
        &mut self,
        runs: &PairRuns<'_>,
        rows: usize,
        change: &mut dyn Hook,
    ) -> Result<(), Error> {
        if self.recompute {
            return self.add_run_by_blocks(runs, rows, change);
        }
        let n_layers = runs.wiring.n_layers;
        let last = Stream::ResidPost(n_layers - 1);
        let probe = Probe::new((0..n_layers).flat_map(|l| self.watched(l)).chain([last.into()]));
        let recorded = if self.cheap { n_layers } else { 0 };
        let seen = Recorder::new((0..recorded).map(|l| Stream::ResidPre(l).into()));
        let mut hook = (change, (seen, probe));
        let logits = runs.model.run(&runs.clean_batch(rows)?, &mut hook);
        let mut grads = runs.metric_of(logits).sum().backward();
        let (mut seen, probe) = hook.1;
        for layer in 0..n_layers {
            let resid = seen.take_stream(Stream::ResidPre(layer)).map(Tensor::inner);
            self.add_layer(runs, LayerRun { layer, resid, probe: &probe }, &mut grads);
        }
        if let Some((grad, _)) = probe.stream(last, &mut grads) {
            add(&mut self.logits, flat(grad.unsqueeze_dim(1)));
        }
        Ok(())
    }

    /// The same, block by block from the last: each is run again, alone, to be differentiated.
    fn add_run_by_blocks(
        &mut self,
        runs: &PairRuns<'_>,
        rows: usize,
        change: &mut dyn Hook,
    ) -> Result<(), Error> {
        let (model, n_layers) = (runs.model, runs.wiring.n_layers);
        let batch = runs.clean_batch(rows)?;
        let last = Stream::ResidPost(n_layers - 1);
        let sites = (0..n_layers).map(|l| Stream::ResidPre(l).into()).chain([Site::from(last)]);
        let mut hook = (change, Recorder::new(sites));
        let _ = model.run(&batch, &mut hook);
        let (change, mut seen) = hook;
        let part = |part: Part, resid: Tensor<3>, hook: &mut dyn Hook| {
            let parts = Error::input("this model cannot be run block by block, which recomputation needs");
            model.run_part(&batch, part, resid, hook).ok_or(parts)
        };
        let mut take = |site: Stream| -> Result<Tensor<3>, Error> {
            let value = seen.take_stream(site).map(Tensor::inner);
            value.ok_or_else(|| Error::input(format!("the model does not show {}", Site::from(site))))
        };

        let leaf = take(last)?.autodiff().require_grad();
        let logits = part(Part::ReadOut, leaf.clone(), &mut ())?;
        let mut grads = runs.metric_of(logits).sum().backward();
        let mut grad = leaf.grad_remove(&mut grads);
        if let Some(grad) = &grad {
            add(&mut self.logits, flat(grad.clone().unsqueeze_dim(1)));
        }
        for layer in (0..n_layers).rev() {
            let Some(after) = grad else { break };
            let resid = take(Stream::ResidPre(layer))?;
            let leaf = resid.clone().autodiff().require_grad();
            let mut hook = (&mut *change, Probe::new(self.watched(layer)));
            let out = part(Part::Blocks(layer..layer + 1), leaf.clone(), &mut hook)?;
            let mut grads = (out * after.autodiff()).sum().backward();
            self.add_layer(runs, LayerRun { layer, resid: Some(resid), probe: &hook.1 }, &mut grads);
            grad = leaf.grad_remove(&mut grads);
        }
        Ok(())
    }

    /// Adds the gradients that were seen at one layer.
    fn add_layer(&mut self, runs: &PairRuns<'_>, seen: LayerRun<'_>, grads: &mut Gradients) {
        let LayerRun { layer, resid, probe } = seen;
        let PairRuns { model, wiring, seq, .. } = *runs;
        let zeros = |n: usize| Tensor::zeros([n, seq * wiring.d_model], &model.device().without_autodiff());
        let mut readers = Vec::with_capacity(4);
        for (read, projected) in reads(layer) {
            let grad = match (&resid, self.cheap) {
                (Some(resid), true) => probe
                    .heads(projected, grads)
                    .and_then(|(grad, _)| model.pull_back(projected, resid, grad)),
                _ => probe.heads(read, grads).map(|(grad, _)| grad),
            };
            readers.push(grad.map_or_else(|| zeros(wiring.n_heads), flat));
        }
        let mlp = probe.stream(Stream::MlpIn(layer), grads);
        readers.push(mlp.map_or_else(|| zeros(1), |(grad, _)| flat(grad.unsqueeze_dim(1))));
        add(&mut self.layers[layer], Tensor::cat(readers, 0));
    }

    /// Scores of all edges, reader by reader, of the gradients times `factor`: one matrix product a layer.
    pub(crate) fn contract(self, runs: &PairRuns<'_>, factor: f64) -> Result<Vec<f32>, Error> {
        let wiring = runs.wiring;
        let [n_writers, width] = runs.differences.dims();
        let mut scores = Vec::new();
        let mut product = |readers: Tensor<2>, n_writers_before: usize| {
            let n = readers.dims()[0] * n_writers_before;
            let writers = runs.differences.clone().slice([0..n_writers_before, 0..width]);
            let values = hooks::matmul_f32(readers * factor, writers.transpose());
            scores.push(values.reshape([n]));
        };
        let zeros = |n: usize| Tensor::zeros([n, width], &runs.differences.device());
        for (layer, readers) in self.layers.into_iter().enumerate() {
            let readers = readers.unwrap_or_else(|| zeros(3 * wiring.n_heads + 1));
            let heads = 3 * wiring.n_heads;
            let before_attention = 1 + layer * (wiring.n_heads + 1);
            product(readers.clone().slice([0..heads, 0..width]), before_attention);
            product(readers.slice([heads..heads + 1, 0..width]), before_attention + wiring.n_heads);
        }
        product(self.logits.unwrap_or_else(|| zeros(1)), n_writers);
        // One transfer from the device for all layers.
        let scores = Tensor::cat(scores, 0).into_data().try_to_vec::<f32>();
        scores.map_err(|e| Error::input(format!("scores: {e:?}")))
    }
}

fn add(sum: &mut Option<Tensor<2>>, more: Tensor<2>) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + more,
        None => more,
    });
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
