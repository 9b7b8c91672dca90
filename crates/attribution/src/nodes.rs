//! Scores of nodes: the effect on the metric of giving every reader the corrupt output of one writer.
//!
//! ```text
//! score(u) = sum over positions of (u_corrupt - u_clean) · mean_k ∂metric/∂output_u (x_k)
//! ```
//!
//! The gradient is taken at the writer's *output*, at the points of the [`Method`] (Nanda 2023; Hanna et al. 2024, node
//! level). Heads of a layer write into one sum, so that they share its gradient. The sum of a writer's edge scores is
//! the same number ([`crate::score_pair`]); this way costs one row of gradients for each layer instead of one for each
//! reader. EAP-IG's package takes an MLP's gradient at its input instead.

use burn::tensor::Tensor;
use hooks::{Hook, NodeMap, Pair, Probe, Site, Stream, Task, Warning, Writer};
use ndarray::Array2;

use crate::pair_runs::PairRuns;
use crate::points::{Interpolate, Path, activation_paths, per_run};
use crate::{Error, Method, PairSummary, zero_gradient};

/// One pair's scores of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct PairNodeScores {
    /// The pair's name and metrics; `input_sum` is the score of the input.
    pub summary: PairSummary,
    /// A score for each writer.
    pub scores: NodeMap<f32>,
}

/// Scores of nodes over a set of pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeScores {
    /// The mean score of each writer over pairs.
    pub mean: NodeMap<f32>,
    /// Each pair's clean and corrupt metric.
    pub pairs: Vec<PairSummary>,
    /// The scores of each pair, `[pair, writer]`: rows in the order of `pairs`, columns in that of
    /// [`hooks::Wiring::writers`].
    pub per_pair: Array2<f32>,
    /// What a reader of these scores should know.
    pub warnings: Vec<Warning>,
}

/// The site of a writer's output: of a head, the sum over its layer's heads.
fn output(writer: Writer) -> Stream {
    match writer {
        Writer::Input => Stream::Embed,
        Writer::Head(h) => Stream::AttnOut(h.layer),
        Writer::Mlp(l) => Stream::MlpOut(l),
    }
}

/// Scores every writer on one pair. [`Method::Exact`] runs the model with that writer's whole output corrupt.
///
/// # Errors
/// As [`crate::score_pair`].
pub fn score_nodes(task: &Task<'_>, pair: &Pair, method: Method) -> Result<PairNodeScores, Error> {
    method.check()?;
    let keep_outputs = matches!(method, Method::EapIgActivations { .. });
    let runs = PairRuns::new(task, pair, keep_outputs)?;
    let inputs = |points: &[f64]| along(&runs, &[(Stream::Embed, &runs.embed)], points);
    let values = match method {
        _ if zero_gradient(method, &task.metric).is_some() => Ok(vec![0.0; runs.wiring.n_writers()]),
        Method::Eap => inputs(&[1.0]),
        Method::CleanCorrupt => inputs(&[0.0, 1.0]),
        Method::EapIgInputs { steps, endpoint } => inputs(&endpoint.points(steps)),
        Method::EapIgActivations { steps, endpoint } => {
            along(&runs, &activation_paths(&runs), &endpoint.points(steps))
        }
        Method::Exact => exact(&runs),
    }?;
    let wiring = runs.wiring;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let node = wiring.writer(at);
        return Err(Error::input(format!(
            "pair {}: the score of {node} is {}, expected a number",
            pair.id, values[at]
        )));
    }
    let summary = PairSummary {
        id: pair.id.clone(),
        clean: runs.clean_metric,
        corrupt: runs.corrupt_metric,
        input_sum: f64::from(values[0]),
    };
    Ok(PairNodeScores { summary, scores: NodeMap::from_values(wiring, values) })
}

/// Scores every writer on every pair: [`score_nodes`] in a loop, and the mean.
///
/// # Errors
/// As [`score_nodes`], and no pairs.
pub fn attribute_nodes(task: &Task<'_>, method: Method) -> Result<NodeScores, Error> {
    let mut scores = NodeScores::collect(task.pairs.iter().map(|pair| score_nodes(task, pair, method)))?;
    scores.warnings.extend(task.pairs.warnings_for(&task.metric));
    scores.warnings.extend(zero_gradient(method, &task.metric));
    Ok(scores)
}

impl NodeScores {
    /// The mean of pairs' scores as they come, so that a caller can show progress or stop. It does not know the
    /// task, and so leaves [`warnings`](Self::warnings) empty.
    ///
    /// # Errors
    /// The first error among them, and no pairs.
    pub fn collect(scored: impl Iterator<Item = Result<PairNodeScores, Error>>) -> Result<Self, Error> {
        let mut sum: Option<NodeMap<f64>> = None;
        let (mut pairs, mut rows) = (Vec::new(), Vec::new());
        for one in scored {
            let PairNodeScores { summary, scores } = one?;
            let wiring = scores.wiring();
            let sum = sum.get_or_insert_with(|| NodeMap::filled(wiring, 0.0));
            sum.values_mut().iter_mut().zip(scores.values()).for_each(|(sum, &v)| *sum += f64::from(v));
            pairs.push(summary);
            rows.extend_from_slice(scores.values());
        }
        let n = pairs.len() as f64;
        let sum = sum.ok_or_else(|| Error::input("pairs: none given, expected at least one"))?;
        let mean = sum.map(|&s| (s / n) as f32);
        let shape = (pairs.len(), mean.values().len());
        let per_pair = Array2::from_shape_vec(shape, rows).map_err(Error::internal)?;
        Ok(Self { mean, pairs, per_pair, warnings: Vec::new() })
    }
}

/// The metric of `rows` copies of the clean prompt under `hook`.
fn metrics(runs: &PairRuns<'_>, rows: usize, hook: &mut dyn Hook) -> Result<Tensor<1>, Error> {
    Ok(runs.metric_of(runs.model.run(&runs.clean_batch(rows)?, hook)))
}

/// Scores from gradients averaged over `points` on each of `paths`.
fn along(runs: &PairRuns<'_>, paths: &[Path<'_>], points: &[f64]) -> Result<Vec<f32>, Error> {
    let PairRuns { wiring, seq, differences, .. } = runs;
    let sites: Vec<Stream> = wiring.writers().map(output).fold(Vec::new(), |mut sites, site| {
        if sites.last() != Some(&site) {
            sites.push(site);
        }
        sites
    });
    let width = seq * wiring.d_model;
    let mut sums: Vec<Option<Tensor<2>>> = vec![None; sites.len()];
    for (site, both) in paths {
        for points in points.chunks(per_run(points.len(), *seq)) {
            // The probe sees what the interpolation gave back: the output that goes on.
            let change = Interpolate::new(*site, both, points);
            let mut hook = (change, Probe::new(sites.iter().map(|&s| Site::from(s))));
            let mut grads = metrics(runs, points.len(), &mut hook)?.sum().backward();
            for (sum, &site) in sums.iter_mut().zip(&sites) {
                if let Some((grad, _)) = hook.1.stream(site, &mut grads) {
                    let grad = grad.sum_dim(0).reshape([width, 1]);
                    *sum = Some(sum.take().map_or(grad.clone(), |sum| sum + grad));
                }
            }
        }
    }
    let factor = 1.0 / (paths.len() * points.len()) as f64;
    let mut scores = Vec::with_capacity(wiring.n_writers());
    for (sum, site) in sums.into_iter().zip(sites) {
        let n = if matches!(site, Stream::AttnOut(_)) { wiring.n_heads } else { 1 };
        let first = scores.len();
        let Some(sum) = sum else {
            scores.extend(std::iter::repeat_n(0.0, n));
            continue;
        };
        let rows = differences.clone().slice([first..first + n, 0..width]);
        let values = hooks::matmul_f32(rows, sum * factor).into_data().try_to_vec::<f32>();
        scores.extend(values.map_err(|e| Error::input(format!("scores: {e:?}")))?);
    }
    Ok(scores)
}

/// The metric with one writer corrupt, minus the clean metric; many writers share a run, one a row.
fn exact(runs: &PairRuns<'_>) -> Result<Vec<f32>, Error> {
    let n_writers = runs.wiring.n_writers();
    let per_run = (1024 / runs.seq).max(1);
    let mut effects = Vec::with_capacity(n_writers);
    while effects.len() < n_writers {
        let (first, n) = (effects.len(), per_run.min(n_writers - effects.len()));
        let mut corrupt = CorruptWriters { runs, first, n };
        let values = metrics(runs, n, &mut corrupt)?.inner().into_data().try_to_vec::<f32>();
        let values = values.map_err(|e| Error::input(format!("metric: {e:?}")))?;
        effects.extend(values.iter().map(|&v| (f64::from(v) - runs.clean_metric) as f32));
    }
    Ok(effects)
}

/// Gives row `i` the corrupt output of writer `first + i`.
struct CorruptWriters<'a> {
    runs: &'a PairRuns<'a>,
    first: usize,
    n: usize,
}

impl CorruptWriters<'_> {
    /// The rows whose writer is seen at `site`.
    fn rows(&self, site: Stream) -> impl Iterator<Item = usize> + '_ {
        (0..self.n).filter(move |row| output(self.runs.wiring.writer(self.first + row)) == site)
    }
}

impl Hook for CorruptWriters<'_> {
    fn wants(&self, site: Site) -> bool {
        matches!(site, Site::Stream(site) if self.rows(site).next().is_some())
    }

    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let [_, seq, d] = x.dims();
        self.rows(site).fold(x, |x, row| {
            let writer = self.first + row;
            let add = self.runs.differences.clone().slice([writer..writer + 1, 0..seq * d]);
            let span = [row..row + 1, 0..seq, 0..d];
            let patched = x.clone().slice(span.clone()) + add.reshape([1, seq, d]);
            x.slice_assign(span, patched)
        })
    }
}
