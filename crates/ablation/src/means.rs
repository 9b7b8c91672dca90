//! Mean activations over real tokens, overall and for each position.
//!
//! A mean is over tokens, not over padding and not over nodes (EAP-IG's `compute_mean_activations` drops the
//! last token only and then averages the nodes together; `docs/METHODS.md`). A position counts from the row's
//! first real token; the mean at a position is over the rows that reach it.

use burn::tensor::{DType, Int, Tensor, TensorData};
use hooks::{Batch, Head, Heads, HookedModel, Recorder, Site, Stream, Wiring, Writer};

use crate::{Error, positions::real};

/// Sums by position, from which both means come.
#[derive(Debug, Clone)]
struct Sums {
    /// `[heads, position, width]`, one entry a site.
    sums: Vec<Option<Tensor<3>>>,
    /// How many rows reach each position.
    counts: Vec<f64>,
}

impl Sums {
    fn new(n_sites: usize) -> Self {
        Self { sums: vec![None; n_sites], counts: Vec::new() }
    }

    fn count(&mut self, batch: &Batch) {
        for (first, end) in batch.first().iter().zip(batch.end()) {
            self.counts.resize(self.counts.len().max(end - first), 0.0);
            self.counts[..end - first].iter_mut().for_each(|n| *n += 1.0);
        }
    }

    /// Adds `x` `[batch, heads, seq, width]`: each row is moved so that its text starts at 0.
    fn add(&mut self, site: usize, batch: &Batch, x: Tensor<4>) {
        let x = x.inner().cast(DType::F32);
        let [rows, heads, seq, width] = x.dims();
        let ones = real(batch, &x.device()).reshape([rows, 1, seq, 1]);
        let x = x * ones;
        let x = if batch.is_left_padded() {
            let index = |&first: &usize| (first..seq).chain(0..first).map(|i| i as i64).collect::<Vec<_>>();
            let moved = batch.first().iter().enumerate().map(|(row, first)| {
                let index = Tensor::<1, Int>::from_data(TensorData::from(&index(first)[..]), &x.device());
                x.clone().slice([row..row + 1, 0..heads, 0..seq, 0..width]).select(2, index)
            });
            Tensor::cat(moved.collect(), 0)
        } else {
            x
        };
        let sum = x.sum_dim(0).squeeze_dim::<3>(0);
        self.sums[site] = Some(match self.sums[site].take() {
            None => sum,
            Some(before) => {
                let n = before.dims()[1].max(seq);
                lengthen(before, n) + lengthen(sum, n)
            }
        });
    }

    /// `[heads, 1, width]` and `[heads, n_positions, width]`.
    fn means(self) -> Result<(Vec<Tensor<3>>, Vec<Tensor<3>>, usize), Error> {
        let (n, total) = (self.counts.len(), self.counts.iter().sum::<f64>());
        let inverse: Vec<f32> = self.counts.iter().map(|&c| (1.0 / c.max(1.0)) as f32).collect();
        let (mut overall, mut positional) = (Vec::new(), Vec::new());
        for sum in self.sums {
            let sum = sum.ok_or_else(|| Error::input("means: no batches given, expected at least one"))?;
            let [heads, _, width] = sum.dims();
            let sum = lengthen(sum, n).slice([0..heads, 0..n, 0..width]);
            let inverse = Tensor::<3>::from_data(TensorData::new(inverse.clone(), [1, n, 1]), &sum.device());
            overall.push(sum.clone().sum_dim(1) / total);
            positional.push(sum * inverse);
        }
        Ok((overall, positional, n))
    }
}

/// `x` `[heads, seq, width]` with zeros up to `n` positions.
fn lengthen(x: Tensor<3>, n: usize) -> Tensor<3> {
    let [heads, seq, width] = x.dims();
    if seq >= n {
        return x;
    }
    let zeros = Tensor::zeros([heads, n - seq, width], &x.device());
    Tensor::cat(vec![x, zeros], 1)
}

/// The mean of each head's mixed values (z, before the output projection).
#[derive(Debug, Clone)]
pub struct HeadMeans {
    overall: Vec<Tensor<3>>,
    positional: Vec<Tensor<3>>,
    n_positions: usize,
}

impl HeadMeans {
    /// Measures the means of `model` over the real tokens of `batches`.
    ///
    /// # Errors
    /// No batches.
    pub fn measure(model: &dyn HookedModel, batches: &[Batch]) -> Result<Self, Error> {
        let n_layers = model.wiring().n_layers;
        let mut sums = Sums::new(n_layers);
        for batch in batches {
            let mut seen = Recorder::new((0..n_layers).map(|l| Heads::Z(l).into()));
            let _ = model.run(&batch.clone().rows(hooks::Rows::Last), &mut seen);
            sums.count(batch);
            (0..n_layers).for_each(|l| sums.add(l, batch, seen.heads(Heads::Z(l))));
        }
        let (overall, positional, n_positions) = sums.means()?;
        Ok(Self { overall, positional, n_positions })
    }

    /// How many positions the positional means cover.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// The mean of `head` over all tokens, `[1, d_head]`.
    ///
    /// # Panics
    /// If the model has no such head.
    pub fn overall(&self, head: Head) -> Tensor<2> {
        row(&self.overall[head.layer], head.head)
    }

    /// The mean of `head` at each position, `[n_positions, d_head]`.
    ///
    /// # Panics
    /// If the model has no such head.
    pub fn positional(&self, head: Head) -> Tensor<2> {
        row(&self.positional[head.layer], head.head)
    }
}

/// The mean of each writer's output.
#[derive(Debug, Clone)]
pub struct WriterMeans {
    wiring: Wiring,
    overall: Vec<Tensor<3>>,
    positional: Vec<Tensor<3>>,
    n_positions: usize,
}

impl WriterMeans {
    /// Measures the means of `model` over the real tokens of `batches`.
    ///
    /// # Errors
    /// No batches.
    pub fn measure(model: &dyn HookedModel, batches: &[Batch]) -> Result<Self, Error> {
        let wiring = model.wiring();
        let n = wiring.n_layers;
        let mut sums = Sums::new(1 + 2 * n);
        for batch in batches {
            let sites = (0..n).flat_map(|l| [Site::from(Heads::Write(l)), Stream::MlpOut(l).into()]);
            let mut seen = Recorder::new(sites.chain([Stream::Embed.into()]));
            let _ = model.run(&batch.clone().rows(hooks::Rows::Last), &mut seen);
            sums.count(batch);
            sums.add(0, batch, seen.stream(Stream::Embed).unsqueeze_dim(1));
            for l in 0..n {
                sums.add(1 + 2 * l, batch, seen.heads(Heads::Write(l)));
                sums.add(2 + 2 * l, batch, seen.stream(Stream::MlpOut(l)).unsqueeze_dim(1));
            }
        }
        let (overall, positional, n_positions) = sums.means()?;
        Ok(Self { wiring, overall, positional, n_positions })
    }

    /// How many positions the positional means cover.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// The mean of `writer` over all tokens, `[1, d_model]`.
    pub fn overall(&self, writer: Writer) -> Tensor<2> {
        Self::pick(&self.overall, writer)
    }

    /// The mean of `writer` at each position, `[n_positions, d_model]`.
    pub fn positional(&self, writer: Writer) -> Tensor<2> {
        Self::pick(&self.positional, writer)
    }

    /// The model that was measured.
    pub fn wiring(&self) -> Wiring {
        self.wiring
    }

    fn pick(values: &[Tensor<3>], writer: Writer) -> Tensor<2> {
        match writer {
            Writer::Input => row(&values[0], 0),
            Writer::Head(h) => row(&values[1 + 2 * h.layer], h.head),
            Writer::Mlp(l) => row(&values[2 + 2 * l], 0),
        }
    }
}

fn row(x: &Tensor<3>, head: usize) -> Tensor<2> {
    let [_, n, width] = x.dims();
    x.clone().slice([head..head + 1, 0..n, 0..width]).squeeze_dim(0)
}
