//! The hook that replaces or scales attention heads.
//!
//! A head is changed at [`Heads::Z`], its mixed values before the output projection: `z' = scale · fill(z)`,
//! at every position of every pass, in prefill and in decoding. Where a head's fill depends on the position
//! (positional mean, resample), positions count from the row's first real token.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::Tensor;
use hooks::{Batch, Head, Heads, Hook, HookedModel, Recorder, Site, Wiring};

use crate::{Error, HeadMeans, positions::Positions};

/// The replacement of a head's mixed values.
#[derive(Debug, Clone)]
pub enum Fill {
    /// Zero: the head writes nothing.
    Zero,
    /// The head's mean over tokens.
    Mean(Arc<HeadMeans>),
    /// The head's mean at that position; past the measured positions, its mean over tokens.
    MeanPositional(Arc<HeadMeans>),
    /// The head's values in another run, position by position.
    Resample(Arc<Resampled>),
}

/// The mixed values of every head in one run, to be put into another.
///
/// The row that comes from place `i` of a later run's list ([`Batch::origins`]) takes row `i mod n` of the
/// recorded ones; positions past the recorded text take its last one.
#[derive(Debug, Clone)]
pub struct Resampled {
    layers: Vec<Tensor<4>>,
    first: Vec<usize>,
    end: Vec<usize>,
}

impl Resampled {
    /// Runs `model` on `batch` and keeps z of every head.
    pub fn record(model: &dyn HookedModel, batch: &Batch) -> Self {
        let n = model.wiring().n_layers;
        let mut seen = Recorder::new((0..n).map(|l| Heads::Z(l).into()));
        let _ = model.run(&batch.clone().rows(hooks::Rows::Last), &mut seen);
        let layers = (0..n).map(|l| seen.heads(Heads::Z(l)).inner()).collect();
        Self { layers, first: batch.first().to_vec(), end: batch.end().to_vec() }
    }

    /// z of `head` at the positions of the current pass, `[batch, seq, d_head]`.
    fn at(&self, head: Head, batch: usize, seq: usize, positions: &Positions) -> Tensor<3> {
        let z = &self.layers[head.layer];
        let [rows, _, columns, d] = z.dims();
        let z = z.clone().slice([0..rows, head.head..head.head + 1, 0..columns, 0..d]);
        let z = z.reshape([rows * columns, d]);
        let index: Vec<i64> = (0..batch)
            .flat_map(|b| (0..seq).map(move |s| (b, s)))
            .map(|(b, s)| {
                let row = positions.origin(b) % rows;
                let column = (self.first[row] + positions.of(b, s)).min(self.end[row] - 1);
                (row * columns + column) as i64
            })
            .collect();
        let index = burn::tensor::TensorData::from(&index[..]);
        z.clone().select(0, Tensor::from_data(index, &z.device())).reshape([batch, seq, d])
    }
}

/// A hook that replaces or scales heads. A run under it is a run of the ablated model.
#[derive(Debug, Clone)]
pub struct Ablation {
    heads: BTreeMap<usize, Vec<usize>>,
    change: Change,
    positions: Positions,
}

#[derive(Debug, Clone)]
enum Change {
    Fill(Fill),
    Scale(f64),
}

impl Ablation {
    /// Replaces the mixed values of `heads` by `fill`.
    ///
    /// # Errors
    /// A head outside `wiring`; the message names it.
    pub fn heads(wiring: Wiring, heads: impl IntoIterator<Item = Head>, fill: Fill) -> Result<Self, Error> {
        Self::new(wiring, heads, Change::Fill(fill))
    }

    /// Multiplies the mixed values of `heads` by `factor`: 0 removes, 1 changes nothing, above 1 amplifies.
    ///
    /// # Errors
    /// A head outside `wiring`, or a factor that is not a finite number.
    pub fn scale(wiring: Wiring, heads: impl IntoIterator<Item = Head>, factor: f64) -> Result<Self, Error> {
        if !factor.is_finite() {
            return Err(Error::input(format!("scale: {factor}, expected a finite number")));
        }
        Self::new(wiring, heads, Change::Scale(factor))
    }

    fn new(wiring: Wiring, heads: impl IntoIterator<Item = Head>, change: Change) -> Result<Self, Error> {
        let mut chosen: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for head in heads {
            if head.layer >= wiring.n_layers || head.head >= wiring.n_heads {
                return Err(Error::input(format!(
                    "head {head}: outside the model, expected L0H0 to L{}H{}",
                    wiring.n_layers - 1,
                    wiring.n_heads - 1
                )));
            }
            let layer = chosen.entry(head.layer).or_default();
            if !layer.contains(&head.head) {
                layer.push(head.head);
            }
        }
        Ok(Self { heads: chosen, change, positions: Positions::default() })
    }

    /// The first layer that is changed; 0 where none is.
    pub(crate) fn first_layer(&self) -> usize {
        self.heads.keys().next().copied().unwrap_or(0)
    }

    /// The replacement of `z` `[batch, 1, seq, d_head]` of `head`.
    fn changed(&self, head: Head, z: Tensor<4>) -> Tensor<4> {
        let [batch, _, seq, d] = z.dims();
        let spread = |mean: Tensor<2>| mean.cast(z.dtype()).reshape([1, 1, 1, d]).expand([batch, 1, seq, d]);
        match &self.change {
            Change::Scale(factor) => z * *factor,
            Change::Fill(Fill::Zero) => z.zeros_like(),
            Change::Fill(Fill::Mean(means)) => spread(means.overall(head)),
            Change::Fill(Fill::MeanPositional(means)) => {
                // One more row, the mean over tokens, serves every position past the measured ones.
                let table = Tensor::cat(vec![means.positional(head), means.overall(head)], 0);
                let index = self.positions.indices(batch, seq, means.n_positions(), &table.device());
                table.select(0, index).cast(z.dtype()).reshape([batch, 1, seq, d])
            }
            Change::Fill(Fill::Resample(run)) => {
                run.at(head, batch, seq, &self.positions).cast(z.dtype()).unsqueeze_dim(1)
            }
        }
    }
}

impl Hook for Ablation {
    fn wants(&self, site: Site) -> bool {
        matches!(site, Site::Heads(Heads::Z(layer)) if self.heads.contains_key(&layer))
    }

    fn begin(&mut self, batch: &Batch, offset: usize) {
        self.positions.begin(batch, offset);
    }

    fn on_heads(&mut self, site: Heads, mut z: Tensor<4>) -> Tensor<4> {
        let Heads::Z(layer) = site else { return z };
        let [batch, _, seq, d] = z.dims();
        for &head in self.heads.get(&layer).into_iter().flatten() {
            let place = [0..batch, head..head + 1, 0..seq, 0..d];
            let changed = self.changed(Head { layer, head }, z.clone().slice(place.clone()));
            z = z.slice_assign(place, changed);
        }
        z
    }

    fn fork(&self) -> Option<Box<dyn Hook + Send>> {
        Some(Box::new(self.clone()))
    }
}
