//! Scores of one pair, and their mean over pairs.

use hooks::{EdgeMap, KeyValue, Metric, Pair, Port, Reader, Task, Warning, Wiring, Writer};
use ndarray::Array2;

use crate::pair_runs::PairRuns;
use crate::{Error, Method, exact, points};

/// Options of edge attribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// How key and value inputs are counted under grouped-query attention.
    pub key_value: KeyValue,
    /// Set the score of every edge into a head to zero, as TransformerLens does with `use_split_qkv_input` off: heads
    /// are then sources only (the convention that the paper's authors' earlier code suggests).
    pub source_only: bool,
    /// Keep each pair's scores, for intervals and noise floors.
    pub per_pair: bool,
    /// Run each block again in the backward pass instead of storing its activations: 1.5 times the time, and the
    /// memory of one block's activations instead of all. For long prompts and large models.
    pub recompute: bool,
}

/// One pair's scores.
#[derive(Debug, Clone, PartialEq)]
pub struct PairScores {
    /// The pair's name.
    pub id: String,
    /// Its scores.
    pub scores: EdgeMap<f32>,
    /// The metric of the clean run.
    pub clean: f64,
    /// The metric of the corrupt run.
    pub corrupt: f64,
    /// The sum of the scores of the input's edges: for a path over inputs it tends to `corrupt - clean`.
    pub input_sum: f64,
}

/// Scores of a set of pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The mean score of each edge over pairs.
    pub mean: EdgeMap<f32>,
    /// Each pair's clean and corrupt metric and input sum; its scores are kept where asked for.
    pub pairs: Vec<PairSummary>,
    /// The scores of each pair, `[pair, edge]`, where asked for: rows in the order of `pairs`, columns in that of
    /// [`Wiring::edges`].
    pub per_pair: Option<Array2<f32>>,
    /// What a reader of these scores should know.
    pub warnings: Vec<Warning>,
}

/// One pair's metrics and the sum over its input edges.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairSummary {
    /// The pair's name.
    pub id: String,
    /// The metric of the clean run.
    pub clean: f64,
    /// The metric of the corrupt run.
    pub corrupt: f64,
    /// The sum of the scores of the input's edges.
    pub input_sum: f64,
}

impl Scores {
    /// How far integrated gradients are from completeness: the mean over pairs of
    /// `|input_sum - (corrupt - clean)|`, over the mean of `|corrupt - clean|`. Zero for a perfect integral
    /// over inputs; for the other methods it measures how far from linear the model is on these pairs.
    pub fn completeness_error(&self) -> f64 {
        let error: f64 = self.pairs.iter().map(|p| (p.input_sum - (p.corrupt - p.clean)).abs()).sum();
        let effect: f64 = self.pairs.iter().map(|p| (p.corrupt - p.clean).abs()).sum();
        error / effect.max(f64::MIN_POSITIVE)
    }
}

/// Scores every edge on one pair, which need not be among the task's pairs.
///
/// # Errors
/// A pair without the answers that the metric needs, a metric that is NaN or infinite, zero steps.
pub fn score_pair(
    task: &Task<'_>,
    pair: &Pair,
    method: Method,
    options: Options,
) -> Result<PairScores, Error> {
    method.check()?;
    let keep_outputs = matches!(method, Method::EapIgActivations { .. });
    let runs = PairRuns::new(task, pair, keep_outputs)?;
    let inputs = |points: &[f64]| points::inputs(&runs, points, options.recompute);
    let values = match method {
        _ if zero_gradient(method, &task.metric).is_some() => Ok(vec![0.0; runs.wiring.n_edges()]),
        Method::Eap => inputs(&[1.0]),
        Method::CleanCorrupt => inputs(&[0.0, 1.0]),
        Method::EapIgInputs { steps, endpoint } => inputs(&endpoint.points(steps)),
        Method::EapIgActivations { steps, endpoint } => {
            points::activations(&runs, &endpoint.points(steps), options.recompute)
        }
        Method::Exact => exact::exact(&runs),
    }?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let edge = runs.wiring.edges().nth(at).map(|e| e.to_string()).unwrap_or_default();
        return Err(Error::input(format!(
            "pair {}: the score of {edge} is {}, expected a finite number",
            pair.id, values[at]
        )));
    }
    let wiring = runs.wiring;
    let input_sum: f64 = EdgeMap::from_values(wiring, values.clone())
        .iter()
        .filter(|(edge, _)| edge.from == Writer::Input)
        .map(|(_, &v)| f64::from(v))
        .sum();
    let mut scores = EdgeMap::from_values(wiring, values);
    if options.source_only {
        for (edge, score) in wiring.edges().zip(scores.values_mut()) {
            if matches!(edge.to, Reader::Head(..)) {
                *score = 0.0;
            }
        }
    }
    if options.key_value == KeyValue::Grouped {
        scores = grouped(&scores);
    }
    Ok(PairScores {
        id: pair.id.clone(),
        scores,
        clean: runs.clean_metric,
        corrupt: runs.corrupt_metric,
        input_sum,
    })
}

/// A grouped key or value edge is the sum of its query heads' edges: exact for gradient methods, which are
/// linear in the reader; a first-order approximation for exact patching.
fn grouped(scores: &EdgeMap<f32>) -> EdgeMap<f32> {
    let wiring: Wiring = scores.wiring().with(KeyValue::Grouped);
    let mut sums = EdgeMap::filled(wiring, 0f64);
    for (mut edge, &score) in scores.iter() {
        if let Reader::Head(head, Port::K | Port::V) = &mut edge.to {
            head.head = wiring.kv_head(head.head);
        }
        if let Some(sum) = sums.get_mut(edge) {
            *sum += f64::from(score);
        }
    }
    sums.map(|&s| s as f32)
}

/// Scores every edge on every pair: [`score_pair`] of each ([`Task::each`]), and the mean.
///
/// # Errors
/// As [`score_pair`], and no pairs.
pub fn attribute(task: &Task<'_>, method: Method, options: Options) -> Result<Scores, Error> {
    let scored = task.each(task.pairs.as_slice(), |pair| score_pair(task, pair, method, options));
    let mut scores = Scores::collect(scored, options)?;
    let by_theory = zero_gradient(method, &task.metric);
    if by_theory.is_some() {
        scores.warnings.clear();
    }
    scores.warnings.extend(task.pairs.warnings_for(&task.metric));
    scores.warnings.extend(by_theory);
    Ok(scores)
}

/// A warning if the gradient of `metric` is 0 by definition wherever `method` takes it: KL divergence from the clean
/// run has its minimum at the clean run. Scores are then exact zeros, in place of the rounding that a gradient gives.
pub fn zero_gradient(method: Method, metric: &Metric) -> Option<Warning> {
    (method.is_clean_only() && *metric == Metric::Kl)
        .then(|| Warning::ZeroGradient { method: method.to_string(), metric: metric.to_string() })
}

impl Scores {
    /// The mean of pairs' scores as they come, so that a caller can show progress or stop. It does not know the task:
    /// [`warnings`](Self::warnings) names pairs whose scores are all 0, and no more than that; see
    /// [`Pairs::warnings`](hooks::Pairs::warnings) and [`zero_gradient`].
    ///
    /// # Errors
    /// The first error among them, and no pairs.
    pub fn collect(
        pairs: impl Iterator<Item = Result<PairScores, Error>>,
        options: Options,
    ) -> Result<Self, Error> {
        let mut sum: Option<EdgeMap<f64>> = None;
        let (mut summaries, mut zero) = (Vec::new(), Vec::new());
        let mut rows = options.per_pair.then(Vec::new);
        for pair in pairs {
            let PairScores { id, scores, clean, corrupt, input_sum } = pair?;
            match &mut sum {
                None => sum = Some(scores.map(|&v| f64::from(v))),
                Some(sum) => {
                    for (sum, &v) in sum.values_mut().iter_mut().zip(scores.values()) {
                        *sum += f64::from(v);
                    }
                }
            }
            if scores.values().iter().all(|&v| v == 0.0) {
                zero.push(id.clone());
            }
            summaries.push(PairSummary { id, clean, corrupt, input_sum });
            if let Some(rows) = &mut rows {
                rows.extend_from_slice(scores.values());
            }
        }
        let n = summaries.len() as f64;
        let sum = sum.ok_or_else(|| Error::input("pairs: none given, expected at least one"))?;
        let mean = sum.map(|&s| (s / n) as f32);
        let warnings = if zero.is_empty() { Vec::new() } else { vec![Warning::ZeroScores { pairs: zero }] };
        let shape = (summaries.len(), mean.values().len());
        let per_pair = rows.map(|rows| Array2::from_shape_vec(shape, rows).map_err(Error::internal));
        Ok(Self { mean, pairs: summaries, per_pair: per_pair.transpose()?, warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, attribute_nodes};
    use burn::tensor::Device;
    use hooks::{Pairs, Target};
    use test_models::Toy;

    fn pairs() -> Pairs {
        let target = || Target { answers: vec![5], distractors: vec![7] };
        let pair = |id: &str, corrupt: u32| Pair::new(id, [1, 2, 3], [1, corrupt, 3], target());
        Pairs::new(vec![pair("a", 4), pair("b", 2)]).unwrap()
    }

    #[test]
    fn gradients_that_are_zero_by_theory_are_exact_zeros_with_a_warning() {
        let (model, pairs) = (Toy::random(3, Default::default(), &Device::default()), pairs());
        let task = Task::new(&model, &pairs, Metric::Kl);
        for method in [Method::Eap, Method::EapIgInputs { steps: 1, endpoint: Endpoint::Right }] {
            let scores = attribute(&task, method, Options::default()).unwrap();
            let nodes = attribute_nodes(&task, method).unwrap();
            assert!(scores.mean.values().iter().chain(nodes.mean.values()).all(|&s| s == 0.0));
            let expected = [
                Warning::EqualPrompts { pairs: vec!["b".into()] },
                Warning::ZeroGradient { method: method.to_string(), metric: "kl".into() },
            ];
            assert_eq!((&scores.warnings[..], &nodes.warnings[..]), (&expected[..], &expected[..]));
        }
        // Elsewhere on the line the gradient is not 0.
        let method = Method::EapIgInputs { steps: 2, endpoint: Endpoint::Right };
        let scores = attribute(&task, method, Options::default()).unwrap();
        assert!(scores.mean.values().iter().any(|s| s.abs() > 1e-4));
        // Only the pair of equal prompts has zeros: by its prompts, and so by its scores.
        let b = || vec!["b".into()];
        assert_eq!(
            scores.warnings,
            [Warning::ZeroScores { pairs: b() }, Warning::EqualPrompts { pairs: b() }]
        );
    }

    #[test]
    fn a_custom_metric_gives_the_scores_of_the_one_that_it_copies() {
        let (model, pairs) = (Toy::random(3, Default::default(), &Device::default()), pairs());
        let copy = Metric::custom("copy", |logits, pair| {
            let logit = |ids: &[u32]| logits.clone().narrow(1, ids[0] as usize, 1).sum();
            logit(&pair.target.answers) - logit(&pair.target.distractors)
        });
        let options = Options { per_pair: true, ..Options::default() };
        let of = |metric| attribute(&Task::new(&model, &pairs, metric), Method::Eap, options).unwrap();
        let (ours, theirs) = (of(Metric::LogitDiff), of(copy));
        assert_eq!(ours.mean, theirs.mean);
        let rows = ours.per_pair.unwrap();
        assert_eq!(rows.dim(), (2, ours.mean.values().len()));
        assert!(rows.row(1).iter().all(|&s| s == 0.0), "equal prompts differ in nothing");
        let mean = (rows[[0, 0]] + rows[[1, 0]]) / 2.0;
        assert!((mean - ours.mean.values()[0]).abs() < 1e-7);
    }
}
