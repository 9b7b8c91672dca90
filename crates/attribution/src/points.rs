//! The gradient methods: at which points of which path the gradient is taken.

use burn::tensor::{Tensor, TensorData};
use hooks::{Hook, Site, Stream};

use crate::Error;
use crate::gradients::ReaderGradients;
use crate::pair_runs::PairRuns;

/// Tokens in one run, about: several points of a short prompt share a run, since small matrix products waste
/// time; a long prompt has one point a run, since activations take memory.
const RUN_TOKENS: usize = 256;

/// Points in one run: equal parts of all of them.
pub(crate) fn per_run(points: usize, seq: usize) -> usize {
    let runs = (points * seq).div_ceil(RUN_TOKENS).clamp(1, points.max(1));
    points.div_ceil(runs).max(1)
}

/// Puts values between corrupt and clean at one site: row `k` of the run gets fraction `points[k]` of clean.
pub(crate) struct Interpolate {
    site: Stream,
    values: Tensor<3>,
}

impl Interpolate {
    /// `both` `[2, seq, d_model]` holds the clean and the corrupt activation.
    pub(crate) fn new(site: Stream, both: &Tensor<3>, points: &[f64]) -> Self {
        let [_, seq, d] = both.dims();
        let clean = both.clone().slice([0..1, 0..seq, 0..d]);
        let corrupt = both.clone().slice([1..2, 0..seq, 0..d]);
        let points: Vec<f32> = points.iter().map(|&p| p as f32).collect();
        let n = points.len();
        let points: Tensor<3> = Tensor::from_data(TensorData::new(points, [n, 1, 1]), &both.device());
        // Exact at both ends.
        let values = clean * points.clone() + corrupt * (-points + 1.0);
        Self { site, values }
    }
}

impl Hook for Interpolate {
    fn wants(&self, site: Site) -> bool {
        site == Site::Stream(self.site)
    }
    fn on_stream(&mut self, _: Stream, _: Tensor<3>) -> Tensor<3> {
        self.values.clone()
    }
}

/// A path that the gradient is averaged along: a site, and its clean and corrupt values.
pub(crate) type Path<'a> = (Stream, &'a Tensor<3>);

/// Scores from gradients averaged over `points` on each of `paths`.
fn along(
    runs: &PairRuns<'_>,
    paths: &[Path<'_>],
    points: &[f64],
    recompute: bool,
) -> Result<Vec<f32>, Error> {
    let mut sum = ReaderGradients::none(runs.model, recompute);
    for (site, both) in paths {
        for points in points.chunks(per_run(points.len(), runs.seq)) {
            sum.add_run(runs, points.len(), &mut Interpolate::new(*site, both, points))?;
        }
    }
    sum.contract(runs, 1.0 / (paths.len() * points.len()) as f64)
}

/// Gradients on the line between the embeddings of the two prompts.
pub(crate) fn inputs(runs: &PairRuns<'_>, points: &[f64], recompute: bool) -> Result<Vec<f32>, Error> {
    along(runs, &[(Stream::Embed, &runs.embed)], points, recompute)
}

/// The input, each layer's attention and each MLP, with their two outputs.
pub(crate) fn activation_paths<'a>(runs: &'a PairRuns<'_>) -> Vec<Path<'a>> {
    let mut paths = vec![(Stream::Embed, &runs.embed)];
    for (layer, [attention, mlp]) in runs.outputs.iter().flatten().enumerate() {
        paths.push((Stream::AttnOut(layer), attention));
        paths.push((Stream::MlpOut(layer), mlp));
    }
    paths
}

/// Gradients with the input, each layer's attention and each MLP in turn on the line between its two outputs,
/// the rest of the run being clean.
pub(crate) fn activations(runs: &PairRuns<'_>, points: &[f64], recompute: bool) -> Result<Vec<f32>, Error> {
    along(runs, &activation_paths(runs), points, recompute)
}
