//! What every analysis of pairs needs: a model, pairs, a metric, a batch size.

use rayon::prelude::*;

use crate::{Error, HookedModel, Metric, Pair, Pairs, Wiring};

/// A model, the pairs that it is run on, and the metric that is read from its logits.
///
/// Attribution, activation patching, ablation sweeps and faithfulness all take a task, so that they are about the
/// same thing by construction. It is cheap to clone and to make again for another metric.
///
/// ```
/// use hooks::{Metric, Pair, Pairs, Target, Task};
///
/// # let model = test_models::Toy::random(0, Default::default(), &Default::default());
/// let target = Target { answers: vec![5], distractors: vec![7] };
/// let pairs = Pairs::new(vec![Pair::new("a", [1, 2, 3], [1, 4, 3], target)])?;
/// let task = Task::new(&model, &pairs, Metric::LogitDiff).batch_size(16);
/// assert_eq!(task.wiring().n_layers, 2);
/// # Ok::<(), hooks::Error>(())
/// ```
#[derive(Clone)]
pub struct Task<'a> {
    /// The model.
    pub model: &'a dyn HookedModel,
    /// The pairs.
    pub pairs: &'a Pairs,
    /// The metric.
    pub metric: Metric,
    /// Most rows in one run: pairs where each pair is one row (sweeps, faithfulness), patches of one pair in
    /// activation patching. Results do not depend on it beyond rounding. Attribution runs pair by pair.
    pub batch_size: usize,
}

impl<'a> Task<'a> {
    /// A task with eight rows a run.
    pub fn new(model: &'a dyn HookedModel, pairs: &'a Pairs, metric: Metric) -> Self {
        Self { model, pairs, metric, batch_size: 8 }
    }

    /// The same task with at most `rows` rows in one run.
    #[must_use]
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// The same task on other pairs.
    #[must_use]
    pub fn on<'b>(&self, pairs: &'b Pairs) -> Task<'b>
    where
        'a: 'b,
    {
        Task { model: self.model, pairs, metric: self.metric.clone(), batch_size: self.batch_size }
    }

    /// The model's sizes and connections.
    pub fn wiring(&self) -> Wiring {
        self.model.wiring()
    }

    /// Checks that the batch size is at least 1 and that every pair has what the metric reads.
    ///
    /// # Errors
    /// A batch size of 0, or what [`Metric::check_pair`] refuses.
    pub fn check(&self) -> Result<(), Error> {
        if self.batch_size == 0 {
            return Err(Error::input("batch size: 0, expected at least 1"));
        }
        self.pairs.iter().try_for_each(|pair| self.metric.check_pair(pair))
    }

    /// What `work` finds for each of `items`, in their order, as many at the same time as the model is run best
    /// ([`HookedModel::at_once`]).
    pub fn each<'b, T: Sync, R: Send>(
        &self,
        items: &'b [T],
        work: impl Fn(&'b T) -> R + Sync,
    ) -> impl Iterator<Item = R> {
        let n = self.model.at_once();
        // Few results wait for those before them.
        items.chunks(if n > 1 { 4 * n } else { 1 }).flat_map(move |some| match some {
            [one] => vec![work(one)],
            _ => some.par_iter().map(&work).collect(),
        })
    }

    /// The pairs in batches of like length, each with the places of its pairs in [`pairs`](Self::pairs).
    pub fn batches(&self) -> impl Iterator<Item = (Vec<usize>, Vec<&'a Pair>)> + use<'a> {
        let pairs = self.pairs.as_slice();
        self.pairs.batches(self.batch_size).into_iter().map(move |places| {
            let members = places.iter().map(|&i| &pairs[i]).collect();
            (places, members)
        })
    }
}

impl std::fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("wiring", &self.model.wiring())
            .field("pairs", &self.pairs.len())
            .field("metric", &self.metric)
            .field("batch_size", &self.batch_size)
            .finish()
    }
}
