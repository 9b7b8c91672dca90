//! Activation patching: replace one activation of a run by that of another run, place by place, and measure the
//! metric.
//!
//! *Denoising* runs the corrupt prompt and puts in what the clean run had: it finds what suffices to restore
//! the answer. *Noising* runs the clean prompt and puts in what the corrupt run had: it finds what the
//! answer needs (Heimersheim & Nanda 2024). Denoising is what `transformer_lens.patching` does.
//!
//! One pair at a time; the patches of a layer share runs, one patch a row, so that the batch changes nothing
//! but rounding, and what comes before the layer is not run again.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use hooks::{Batch, Heads, Hook, Pair, Recorder, Site, Stream, Task, Wiring};
use ndarray::Array3;

use crate::Error;

/// A place of `[batch, seq, d_model]` in every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPlace {
    /// The residual stream before the block.
    ResidPre,
    /// The residual stream between attention and MLP.
    ResidMid,
    /// What attention adds.
    AttnOut,
    /// What the MLP adds.
    MlpOut,
}

/// A place of `[batch, heads, seq, _]` in every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadPlace {
    /// Mixed values, before the output projection.
    Z,
    /// Queries, before rotary.
    Query,
    /// Keys, before rotary; one for each key/value head.
    Key,
    /// Values; one for each key/value head.
    Value,
    /// Attention probabilities. A position is that of the query.
    Pattern,
}

/// What is patched, one cell of the grid at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grid {
    /// A stream at each layer and position: values `[layer, 1, position]`.
    Positions(StreamPlace),
    /// A head at all positions: values `[layer, head, 1]`.
    Heads(HeadPlace),
    /// A head at each position: values `[layer, head, position]`.
    HeadPositions(HeadPlace),
}

/// Which run is patched and which one is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Clean activations into the corrupt run.
    Denoise,
    /// Corrupt activations into the clean run.
    Noise,
}

/// The metric of one pair under each patch.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchGrid {
    /// The pair's name.
    pub id: String,
    /// The metric of the clean run.
    pub clean: f32,
    /// The metric of the corrupt run.
    pub corrupt: f32,
    /// The metric under each patch, `[layer, head, position]`; an axis that the [`Grid`] does not have is 1 long.
    pub patched: Array3<f32>,
}

impl PatchGrid {
    /// How far each patch moves the metric on the way from the patched run (0) to the other run (1), `[layer, head,
    /// position]`. NaN or infinite where the metrics of the two runs are equal.
    pub fn share(&self, direction: Direction) -> Array3<f32> {
        let (from, to) = match direction {
            Direction::Denoise => (self.corrupt, self.clean),
            Direction::Noise => (self.clean, self.corrupt),
        };
        self.patched.map(|v| (v - from) / (to - from))
    }
}

/// Activation patching: patches every cell of `grid` on each pair and measures the metric, with at most
/// [`Task::batch_size`] patches in a run. One grid for each pair, in their order.
///
/// Costs two runs a pair and one row of a run for each cell, from the cell's layer on.
///
/// # Errors
/// A batch size of 0, a pair without what the metric needs, or a metric that is NaN or infinite.
pub fn patch_grid(task: &Task<'_>, grid: Grid, direction: Direction) -> Result<Vec<PatchGrid>, Error> {
    task.check()?;
    task.pairs.iter().map(|pair| patch_pair(task, pair, grid, direction)).collect()
}

fn patch_pair(task: &Task<'_>, pair: &Pair, grid: Grid, direction: Direction) -> Result<PatchGrid, Error> {
    let (model, metric, wiring) = (task.model, &task.metric, task.wiring());
    let layers = 0..wiring.n_layers;
    let sites: Vec<Site> = layers.flat_map(|l| [grid.site(l), Stream::ResidPre(l).into()]).collect();
    let batch =
        |ids: &Vec<u32>, n: usize| Ok::<_, Error>(Batch::new(&vec![ids.clone(); n])?.rows(pair.rows()));
    let run = |ids: &Vec<u32>| {
        let mut seen = Recorder::new(sites.iter().copied());
        let logits = model.run(&batch(ids, 1)?, &mut seen).inner();
        Ok::<_, Error>((logits, seen))
    };
    let ((clean, from_clean), (corrupt, from_corrupt)) = (run(&pair.clean)?, run(&pair.corrupt)?);
    let measure = |logits: Tensor<3>| {
        let n = logits.dims()[0];
        metric.read(logits, &vec![pair; n], Some(&clean.clone().repeat_dim(0, n)))
    };
    let (into, before, source) = match direction {
        Direction::Denoise => (&pair.corrupt, &from_corrupt, &from_clean),
        Direction::Noise => (&pair.clean, &from_clean, &from_corrupt),
    };
    let [heads, positions] = grid.sizes(wiring, pair.clean.len());
    let cells: Vec<Cell> = (0..wiring.n_layers)
        .flat_map(|layer| (0..heads).map(move |head| (layer, head)))
        .flat_map(|(layer, head)| (0..positions).map(move |position| Cell { layer, head, position }))
        .collect();
    let mut values = Vec::with_capacity(cells.len());
    for layer in cells.chunk_by(|a, b| a.layer == b.layer) {
        let first = layer[0].layer;
        let resid = before.stream(Stream::ResidPre(first)).inner();
        for cells in layer.chunks(task.batch_size) {
            let mut patch = Patch { grid, cells, source };
            let logits = model.run_from(&batch(into, cells.len())?, first, &resid, &mut patch);
            values.extend(measure(logits)?);
        }
    }
    let shape = (wiring.n_layers, heads, positions);
    let patched = Array3::from_shape_vec(shape, values).map_err(Error::internal)?;
    Ok(PatchGrid {
        id: pair.id.clone(),
        clean: measure(clean.clone())?[0],
        corrupt: measure(corrupt)?[0],
        patched,
    })
}

impl Grid {
    fn site(self, l: usize) -> Site {
        match self {
            Grid::Positions(StreamPlace::ResidPre) => Stream::ResidPre(l).into(),
            Grid::Positions(StreamPlace::ResidMid) => Stream::ResidMid(l).into(),
            Grid::Positions(StreamPlace::AttnOut) => Stream::AttnOut(l).into(),
            Grid::Positions(StreamPlace::MlpOut) => Stream::MlpOut(l).into(),
            Grid::Heads(place) | Grid::HeadPositions(place) => match place {
                HeadPlace::Z => Heads::Z(l),
                HeadPlace::Query => Heads::Query(l),
                HeadPlace::Key => Heads::Key(l),
                HeadPlace::Value => Heads::Value(l),
                HeadPlace::Pattern => Heads::Pattern(l),
            }
            .into(),
        }
    }

    /// How many heads and positions a layer's cells have.
    fn sizes(self, wiring: Wiring, seq: usize) -> [usize; 2] {
        let heads = match self {
            Grid::Positions(_) => 1,
            Grid::Heads(HeadPlace::Key | HeadPlace::Value)
            | Grid::HeadPositions(HeadPlace::Key | HeadPlace::Value) => wiring.n_kv_heads,
            Grid::Heads(_) | Grid::HeadPositions(_) => wiring.n_heads,
        };
        [heads, if matches!(self, Grid::Heads(_)) { 1 } else { seq }]
    }
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    layer: usize,
    head: usize,
    position: usize,
}

/// Row `i` of the run takes cell `i` from the source.
struct Patch<'a> {
    grid: Grid,
    cells: &'a [Cell],
    source: &'a Recorder,
}

impl Patch<'_> {
    /// Which of `[rows, heads, seq]` come from the source; `None` where no row is patched in this layer.
    fn mask(&self, layer: usize, heads: usize, seq: usize, device: &Device) -> Option<Tensor<3, Bool>> {
        let mut mask = vec![false; self.cells.len() * heads * seq];
        for (row, cell) in self.cells.iter().enumerate().filter(|(_, cell)| cell.layer == layer) {
            let start = (row * heads + cell.head) * seq;
            match self.grid {
                Grid::Heads(_) => mask[start..start + seq].fill(true),
                _ => mask[start + cell.position] = true,
            }
        }
        let shape = [self.cells.len(), heads, seq];
        mask.contains(&true).then(|| Tensor::from_data(TensorData::new(mask, shape), device))
    }
}

impl Hook for Patch<'_> {
    fn wants(&self, site: Site) -> bool {
        self.cells.iter().any(|cell| self.grid.site(cell.layer) == site)
    }

    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let Some(layer) = Site::from(site).layer() else { return x };
        let [rows, seq, width] = x.dims();
        let Some(mask) = self.mask(layer, 1, seq, &x.device()) else { return x };
        let mask = mask.reshape([rows, seq, 1]).expand([rows, seq, width]);
        x.mask_where(mask, self.source.stream(site).inner().expand([rows, seq, width]))
    }

    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        let Some(layer) = Site::from(site).layer() else { return x };
        let [rows, heads, seq, width] = x.dims();
        let Some(mask) = self.mask(layer, heads, seq, &x.device()) else { return x };
        let mask = mask.reshape([rows, heads, seq, 1]).expand([rows, heads, seq, width]);
        x.mask_where(mask, self.source.heads(site).inner().expand([rows, heads, seq, width]))
    }
}
