//! EAP-IG's graph JSON, current and older: `cfg`, `nodes`, `edges`, and one more object, `sparks`.
//!
//! Edges are written in that package's own order: for each layer, for each source, for each head its query,
//! key and value; then the sources into the MLP; at the end those into the logits.

mod lenient;
mod read;
mod write;

use hooks::{Edge, Head, NodeMap, Port, Reader, Wiring, Writer};

use super::ScoreFile;
use crate::Error;

impl ScoreFile {
    /// Where each score of a pair in the JSON file stands in its row in memory.
    fn pair_order(&self) -> Vec<usize> {
        match &self.nodes {
            Some(nodes) => (0..nodes.values().len()).collect(),
            None => {
                let edges = package_order(self.wiring).into_iter();
                edges.filter_map(|edge| self.wiring.edge_index(edge)).collect()
            }
        }
    }
}

/// Scores of all nodes, or of none.
pub(super) fn scored(wiring: Wiring, scores: &[Option<f32>]) -> Result<Option<NodeMap<f32>>, Error> {
    if scores.iter().all(Option::is_none) {
        return Ok(None);
    }
    let value = |(node, score): (Writer, &Option<f32>)| match score {
        Some(score) if score.is_finite() => Ok(*score),
        _ => {
            Err(Error::input(format!("node {node}: no score, expected a number for every node or for none")))
        }
    };
    let values = wiring.writers().zip(scores).map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(NodeMap::from_values(wiring, values)))
}

/// All edges in the order of EAP-IG's dictionary.
pub(super) fn package_order(w: Wiring) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(w.n_edges());
    for layer in 0..w.n_layers {
        for from in w.writers().take(w.n_writers_before(Reader::Head(Head { layer, head: 0 }, Port::Q))) {
            for head in 0..w.n_heads {
                let ports = [(Port::Q, w.n_heads), (Port::K, w.n_kv_ports()), (Port::V, w.n_kv_ports())];
                let ports = ports.into_iter().filter(|(_, n)| head < *n);
                edges.extend(
                    ports.map(|(port, _)| Edge { from, to: Reader::Head(Head { layer, head }, port) }),
                );
            }
        }
        let mlp = Reader::Mlp(layer);
        edges.extend(w.writers().take(w.n_writers_before(mlp)).map(|from| Edge { from, to: mlp }));
    }
    edges.extend(w.writers().map(|from| Edge { from, to: Reader::Logits }));
    edges
}
