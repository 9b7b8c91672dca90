//! What each head is worth: the metric with that head alone replaced, against the metric of the clean run.

use hooks::{Batch, Head, HeadMap, HookedModel, Metric, Pair, Pairs};

use crate::{Ablation, Error, Fill};

/// The mean over pairs of a metric, with and without one head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadEffect {
    /// The metric of the clean prompt.
    pub clean: f32,
    /// The metric with the head replaced.
    pub ablated: f32,
}

impl HeadEffect {
    /// `ablated − clean`, in the metric's unit.
    pub fn change(self) -> f32 {
        self.ablated - self.clean
    }
}

/// Replaces every head in turn by `fill` and measures `metric` on the clean prompts of `pairs`: one run for
/// the model and one for each head, in batches of `batch_size` pairs.
///
/// # Errors
/// A batch size of 0, or a pair without what the metric needs.
pub fn sweep_heads(
    model: &dyn HookedModel,
    pairs: &Pairs,
    metric: Metric,
    fill: &Fill,
    batch_size: usize,
) -> Result<HeadMap<HeadEffect>, Error> {
    if batch_size == 0 {
        return Err(Error::new("batch size: 0, expected at least 1"));
    }
    pairs.iter().try_for_each(|pair| metric.check_pair(pair))?;
    let wiring = model.wiring();
    let mut sums = HeadMap::filled(wiring, (0.0f64, 0.0f64));
    for chunk in pairs.batches(batch_size) {
        let chunk: Vec<&Pair> = chunk.into_iter().map(|i| &pairs.as_slice()[i]).collect();
        let prompts: Vec<_> = chunk.iter().map(|pair| pair.clean.clone()).collect();
        let batch = Batch::new(&prompts)?.rows(chunk[0].rows());
        let clean = model.run(&batch, &mut ()).inner();
        let total =
            |logits| f64::from(metric.of_pairs(logits, &chunk, Some(&clean)).sum().into_scalar::<f32>());
        let untouched = total(clean.clone());
        for head in wiring.heads().collect::<Vec<Head>>() {
            let mut hook = Ablation::heads(wiring, [head], fill.clone())?;
            let sum = sums.get_mut(head);
            sum.0 += untouched;
            sum.1 += total(model.run(&batch, &mut hook).inner());
        }
    }
    let n = pairs.len() as f64;
    let mut effects = HeadMap::filled(wiring, HeadEffect { clean: 0.0, ablated: 0.0 });
    for (head, &(clean, ablated)) in sums.iter() {
        *effects.get_mut(head) = HeadEffect { clean: (clean / n) as f32, ablated: (ablated / n) as f32 };
    }
    Ok(effects)
}
