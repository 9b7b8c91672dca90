//! Ablate each head, or each set of heads, in turn and measure the effect on the metric of the clean prompts.

use hooks::{Batch, Head, HeadMap, Recorder, Stream, Task, Wiring};

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

/// Replaces every head in turn by `fill` and measures the metric on the clean prompts: one run for the model and
/// one for each head, from its layer on. Returns an effect for each `[layer, head]`.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_heads(task: &Task<'_>, fill: &Fill) -> Result<HeadMap<HeadEffect>, Error> {
    let wiring = task.wiring();
    let alone: Vec<Vec<Head>> = wiring.heads().map(|head| vec![head]).collect();
    let hooks = replaced(wiring, &alone, fill)?;
    let found = sweep(task, &hooks)?;
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

/// One hook for each set of heads, which multiplies their mixed values by `factor`.
///
/// # Errors
/// A head outside `wiring`, or a factor that is not a finite number.
pub fn scaled(wiring: Wiring, sets: &[Vec<Head>], factor: f64) -> Result<Vec<Ablation>, Error> {
    sets.iter().map(|set| Ablation::scale(wiring, set.iter().copied(), factor)).collect()
}

/// Measures the metric on the clean prompts, without a change and under each of `hooks`; the effects are in the order
/// of `hooks`.
///
/// # Errors
/// A batch size of 0, a pair without what the metric needs, or a metric that is NaN or infinite.
pub fn sweep(task: &Task<'_>, hooks: &[Ablation]) -> Result<Vec<HeadEffect>, Error> {
    task.check()?;
    let model = task.model;
    let (mut clean, mut ablated) = (0.0f64, vec![0.0f64; hooks.len()]);
    for (places, chunk) in task.batches() {
        let prompts: Vec<_> = chunk.iter().map(|pair| pair.clean.clone()).collect();
        let batch = Batch::new(&prompts)?.rows(chunk[0].rows()).with_origins(places);
        let mut before = Recorder::new((0..model.wiring().n_layers).map(|l| Stream::ResidPre(l).into()));
        let plain = model.run(&batch, &mut before).inner();
        let total = |logits| -> Result<f64, Error> {
            Ok(task.metric.read(logits, &chunk, Some(&plain))?.into_iter().map(f64::from).sum())
        };
        clean += total(plain.clone())?;
        for (sum, hook) in ablated.iter_mut().zip(hooks) {
            let first = hook.first_layer();
            let resid = before.stream(Stream::ResidPre(first)).inner();
            *sum += total(model.run_from(&batch, first, &resid, &mut hook.clone()))?;
        }
    }
    let n = task.pairs.len() as f64;
    Ok(ablated
        .into_iter()
        .map(|a| HeadEffect { clean: (clean / n) as f32, ablated: (a / n) as f32 })
        .collect())
}
