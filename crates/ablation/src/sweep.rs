//! What heads are worth: the metric with each head, or each set of heads, changed in turn, against the metric
//! of the clean run.

use hooks::{Batch, Head, HeadMap, HookedModel, Metric, Pair, Pairs, Recorder, Stream, Wiring};

use crate::{Ablation, Error, Fill};

/// The mean over pairs of a metric, with and without one head or set of heads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadEffect {
    /// The metric of the clean prompt.
    pub clean: f32,
    /// The metric with the heads changed.
    pub ablated: f32,
}

impl HeadEffect {
    /// `ablated − clean`, in the metric's unit.
    pub fn change(self) -> f32 {
        self.ablated - self.clean
    }
}

/// Replaces every head in turn by `fill` and measures `metric` on the clean prompts of `pairs`: one run for
/// the model and one for each head, from its layer on, in batches of `batch_size` pairs.
///
/// # Errors
/// A batch size of 0, a pair without what the metric needs, or a metric that is not a number.
pub fn sweep_heads(
    model: &dyn HookedModel,
    pairs: &Pairs,
    metric: Metric,
    fill: &Fill,
    batch_size: usize,
) -> Result<HeadMap<HeadEffect>, Error> {
    let wiring = model.wiring();
    let alone: Vec<Vec<Head>> = wiring.heads().map(|head| vec![head]).collect();
    let hooks = replaced(wiring, &alone, fill)?;
    let found = sweep(model, pairs, metric, &hooks, batch_size)?;
    let mut effects = HeadMap::filled(wiring, HeadEffect { clean: 0.0, ablated: 0.0 });
    wiring.heads().zip(found).for_each(|(head, effect)| *effects.get_mut(head) = effect);
    Ok(effects)
}

/// One hook for each set of heads, which replaces them all by `fill`. A layer's heads together are a set.
///
/// # Errors
/// A head outside `wiring`; the message names it.
pub fn replaced(wiring: Wiring, sets: &[Vec<Head>], fill: &Fill) -> Result<Vec<Ablation>, Error> {
    sets.iter().map(|set| Ablation::heads(wiring, set.iter().copied(), fill.clone())).collect()
}

/// One hook for each set of heads, which multiplies what they mix by `factor`.
///
/// # Errors
/// A head outside `wiring`, or a factor that is not a finite number.
pub fn scaled(wiring: Wiring, sets: &[Vec<Head>], factor: f64) -> Result<Vec<Ablation>, Error> {
    sets.iter().map(|set| Ablation::scale(wiring, set.iter().copied(), factor)).collect()
}

/// Measures `metric` on the clean prompts of `pairs`, plainly and under each of `hooks`, in batches of
/// `batch_size` pairs.
///
/// # Errors
/// A batch size of 0, a pair without what the metric needs, or a metric that is not a number.
pub fn sweep(
    model: &dyn HookedModel,
    pairs: &Pairs,
    metric: Metric,
    hooks: &[Ablation],
    batch_size: usize,
) -> Result<Vec<HeadEffect>, Error> {
    if batch_size == 0 {
        return Err(Error::input("batch size: 0, expected at least 1"));
    }
    pairs.iter().try_for_each(|pair| metric.check_pair(pair))?;
    let (mut clean, mut ablated) = (0.0f64, vec![0.0f64; hooks.len()]);
    for places in pairs.batches(batch_size) {
        let chunk: Vec<&Pair> = places.iter().map(|&i| &pairs.as_slice()[i]).collect();
        let prompts: Vec<_> = chunk.iter().map(|pair| pair.clean.clone()).collect();
        let batch = Batch::new(&prompts)?.rows(chunk[0].rows()).with_origins(places);
        let mut before = Recorder::new((0..model.wiring().n_layers).map(|l| Stream::ResidPre(l).into()));
        let plain = model.run(&batch, &mut before).inner();
        let total = |logits| -> Result<f64, Error> {
            Ok(metric.read(logits, &chunk, Some(&plain))?.into_iter().map(f64::from).sum())
        };
        clean += total(plain.clone())?;
        for (sum, hook) in ablated.iter_mut().zip(hooks) {
            let first = hook.first_layer();
            let resid = before.stream(Stream::ResidPre(first)).inner();
            *sum += total(model.run_from(&batch, first, &resid, &mut hook.clone()))?;
        }
    }
    let n = pairs.len() as f64;
    Ok(ablated
        .into_iter()
        .map(|a| HeadEffect { clean: (clean / n) as f32, ablated: (a / n) as f32 })
        .collect())
}
