//! Degrees of heads in a circuit, and the paths from the input through a head to the logits.
//!
//! A path is a chain of the circuit's edges from `input` to `logits`; edges into the query, the key and the
//! value of a head are different edges, so paths through them are different paths. With |s| the weight of an
//! edge (1 to count) and node w in the order of the computation,
//!
//! ```text
//! P(input) = 1,   P(w) = Σ_{u → w} |s(u → w)| P(u)         paths from the input to w
//! B(logits) = 1,  B(u) = Σ_{u → w} |s(u → w)| B(w)         paths from u to the logits
//! paths through w = P(w) B(w),   paths of the circuit = P(logits)
//! ```
//!
//! Under grouped key/value an edge into a key or value belongs to every query head of the group. Numbers are
//! f64: the full graph of a 28-layer model of 28 heads has some 1e60 paths.

use hooks::{EdgeMap, Head, HeadMap, Port, Reader, Writer};
use serde::Serialize;

use crate::circuit::owners;
use crate::{Circuit, Error};

/// Degrees of a head in a circuit, and paths through it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HeadPaths {
    /// Edges into its query.
    pub into_query: usize,
    /// Edges into its key.
    pub into_key: usize,
    /// Edges into its value.
    pub into_value: usize,
    /// Edges out of it.
    pub out: usize,
    /// Paths from the input through it to the logits.
    pub paths: f64,
    /// The sum over those paths of the product of |score| along each.
    pub weight: f64,
}

/// Degrees and paths of every head, and the paths of the whole circuit.
#[derive(Debug, Clone, PartialEq)]
pub struct Paths {
    /// Each head.
    pub heads: HeadMap<HeadPaths>,
    /// Paths from the input to the logits.
    pub paths: f64,
    /// The sum over them of the product of |score| along each.
    pub weight: f64,
}

/// Counts degrees and paths of `circuit`, weighted by `scores`. Costs three passes over the graph's edges.
///
/// # Errors
/// Scores over another graph.
pub fn paths(circuit: &Circuit, scores: &EdgeMap<f32>) -> Result<Paths, Error> {
    let wiring = circuit.wiring();
    if scores.wiring() != wiring {
        return Err(Error::input("scores: over another graph than the circuit, expected the same sizes"));
    }
    let counted = Flow::of(circuit, |_| 1.0);
    let weighted = Flow::of(circuit, |e| f64::from(*scores.get(e).unwrap_or(&0.0)).abs());
    let mut heads = HeadMap::filled(wiring, HeadPaths::default());
    for edge in circuit.edges() {
        if let Writer::Head(from) = edge.from {
            heads.get_mut(from).out += 1;
        }
        let Reader::Head(_, port) = edge.to else { continue };
        for owner in owners(wiring, edge.to) {
            let Writer::Head(head) = owner else { continue };
            let head = heads.get_mut(head);
            match port {
                Port::Q => head.into_query += 1,
                Port::K => head.into_key += 1,
                Port::V => head.into_value += 1,
            }
        }
    }
    for head in wiring.heads().collect::<Vec<Head>>() {
        let w = wiring.writer_index(Writer::Head(head));
        let place = heads.get_mut(head);
        place.paths = counted.from_input[w] * counted.to_logits[w];
        place.weight = weighted.from_input[w] * weighted.to_logits[w];
    }
    Ok(Paths { heads, paths: counted.all, weight: weighted.all })
}

/// P and B of every writer, and P of the logits.
struct Flow {
    from_input: Vec<f64>,
    to_logits: Vec<f64>,
    all: f64,
}

impl Flow {
    fn of(circuit: &Circuit, weight: impl Fn(hooks::Edge) -> f64) -> Self {
        let wiring = circuit.wiring();
        // Edges come reader by reader, and readers in the order of the computation: by the time an edge out
        // of u is reached, all edges into u have been.
        let edges: Vec<(usize, Option<Vec<usize>>, f64)> = circuit
            .edges()
            .map(|e| {
                let to = (e.to != Reader::Logits)
                    .then(|| owners(wiring, e.to).into_iter().map(|w| wiring.writer_index(w)).collect());
                (wiring.writer_index(e.from), to, weight(e))
            })
            .collect();
        let (mut from_input, mut to_logits) = (vec![0.0; wiring.n_writers()], vec![0.0; wiring.n_writers()]);
        let mut all = 0.0;
        from_input[0] = 1.0;
        for (from, to, weight) in &edges {
            let flow = weight * from_input[*from];
            match to {
                None => all += flow,
                Some(to) => to.iter().for_each(|&w| from_input[w] += flow),
            }
        }
        for (from, to, weight) in edges.iter().rev() {
            to_logits[*from] += weight
                * match to {
                    None => 1.0,
                    Some(to) => to.iter().map(|&w| to_logits[w]).sum(),
                };
        }
        Self { from_input, to_logits, all }
    }
}
