//! Exact patching: the metric with one edge corrupt, minus the clean metric.
//!
//! Many edges share a run, one in each row. Where the model can be run in parts, the blocks before the edge's reader are
//! not run again.

use burn::tensor::Tensor;
use hooks::{Heads, Hook, Port, Reader, Recorder, Site, Stream, Wiring};

use crate::Error;
use crate::pair_runs::PairRuns;

/// Tokens in one run at most.
const RUN_TOKENS: usize = 1024;

/// One edge: which writer's difference reaches which reader.
#[derive(Clone, Copy)]
struct Patch {
    writer: usize,
    reader: Reader,
}

/// Adds, in each row, one writer's difference to what one reader reads.
struct PatchRows<'a> {
    wiring: Wiring,
    runs: &'a PairRuns<'a>,
    rows: &'a [Patch],
}

impl PatchRows<'_> {
    /// The difference of one writer, `[1, seq, d_model]`.
    fn difference(&self, writer: usize) -> Tensor<3> {
        let (seq, d_model) = (self.runs.seq, self.wiring.d_model);
        let row = self.runs.differences.clone().slice([writer..writer + 1, 0..seq * d_model]);
        row.reshape([1, seq, d_model])
    }

    /// Rows that patch a reader for which `is` gives its index at the site, with what they add.
    fn at(&self, is: impl Fn(Reader) -> Option<usize>) -> Vec<(usize, usize, Tensor<3>)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(row, p)| Some((row, is(p.reader)?, self.difference(p.writer)))).collect()
    }
}

fn port_of(site: Heads) -> Option<(usize, Port)> {
    match site {
        Heads::QueryIn(l) => Some((l, Port::Q)),
        Heads::KeyInUngrouped(l) => Some((l, Port::K)),
        Heads::ValueInUngrouped(l) => Some((l, Port::V)),
        _ => None,
    }
}

impl Hook for PatchRows<'_> {
    fn wants(&self, site: Site) -> bool {
        self.rows.iter().any(|p| match (site, p.reader) {
            (Site::Heads(site), Reader::Head(head, _)) => port_of(site).is_some_and(|(l, _)| l == head.layer),
            (Site::Stream(Stream::MlpIn(l)), Reader::Mlp(layer)) => l == layer,
            (Site::Stream(Stream::ResidPost(l)), Reader::Logits) => l + 1 == self.wiring.n_layers,
            _ => false,
        })
    }

    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let [_, seq, d] = x.dims();
        let patches = self.at(|reader| match (reader, site) {
            (Reader::Mlp(layer), Stream::MlpIn(l)) if l == layer => Some(0),
            (Reader::Logits, Stream::ResidPost(_)) => Some(0),
            _ => None,
        });
        patches.into_iter().fold(x, |x, (row, _, add)| {
            let span = [row..row + 1, 0..seq, 0..d];
            let patched = x.clone().slice(span.clone()) + add;
            x.slice_assign(span, patched)
        })
    }

    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        let [_, _, seq, d] = x.dims();
        let patches = self.at(|reader| match (reader, port_of(site)) {
            (Reader::Head(head, port), Some((l, p))) if l == head.layer && p == port => Some(head.head),
            _ => None,
        });
        if patches.is_empty() {
            return x;
        }
        patches.into_iter().fold(x, |x, (row, head, add)| {
            let span = [row..row + 1, head..head + 1, 0..seq, 0..d];
            let patched = x.clone().slice(span.clone()) + add.unsqueeze_dim(1);
            x.slice_assign(span, patched)
        })
    }
}

/// The block that an edge's end is in; the logits are read after the last.
fn block(reader: Reader, n_layers: usize) -> usize {
    match reader {
        Reader::Head(head, _) => head.layer,
        Reader::Mlp(layer) => layer,
        Reader::Logits => n_layers,
    }
}

/// Exact effects of all edges, in the order of the graph with ungrouped key and value inputs.
pub(crate) fn exact(runs: &PairRuns<'_>) -> Result<Vec<f32>, Error> {
    let wiring = runs.wiring;
    let edges: Vec<Patch> = wiring
        .edges()
        .map(|edge| Patch { writer: wiring.writer_index(edge.from), reader: edge.to })
        .collect();
    let mut before = Recorder::new((0..wiring.n_layers).map(|l| Stream::ResidPre(l).into()));
    let _ = runs.model.run(&runs.clean_batch(1)?, &mut before);
    let per_run = (RUN_TOKENS / runs.seq).max(1);
    let mut effects = Vec::with_capacity(edges.len());
    // The graph's order goes from block to block.
    for edges in edges.chunk_by(|a, b| block(a.reader, wiring.n_layers) == block(b.reader, wiring.n_layers)) {
        let first = block(edges[0].reader, wiring.n_layers).min(wiring.n_layers - 1);
        let clean = before.stream(Stream::ResidPre(first)).inner();
        for rows in edges.chunks(per_run) {
            let logits = patched(runs, rows, first, &clean)?;
            let values: Vec<f32> = runs
                .metric_of(logits)
                .into_data()
                .try_to_vec()
                .map_err(|e| Error::input(format!("metric: {e:?}")))?;
            effects.extend(values.into_iter().map(|v| (f64::from(v) - runs.clean_metric) as f32));
        }
    }
    Ok(effects)
}

/// Logits of a run with one patch a row, all of them in block `first` or after the last one; `clean` is the
/// residual stream before that block, `[1, seq, d_model]`.
fn patched(runs: &PairRuns<'_>, rows: &[Patch], first: usize, clean: &Tensor<3>) -> Result<Tensor<3>, Error> {
    let (model, wiring) = (runs.model, runs.wiring);
    let batch = runs.clean_batch(rows.len())?;
    let mut hook = PatchRows { wiring, runs, rows };
    Ok(model.run_from(&batch, first, clean, &mut hook).inner())
}
