//! Null circuits: random circuits to compare a found one with; random, layer-matched and degree-matched.

use hooks::{EdgeMap, Wiring};
use rand::seq::{SliceRandom, index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Circuit;

/// What a null circuit has in common with the circuit that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    /// The number of edges.
    Random,
    /// The number of edges between every two layers and kinds of node: the multiset of (source layer and
    /// kind, destination layer and port).
    LayerMatched,
    /// The number of edges at every node and port: edges swap ends until the graph is shuffled.
    DegreeMatched,
}

/// Random scores: every order of the edges is equally likely. MIB's Random baseline.
pub fn random_scores(wiring: Wiring, seed: u64) -> EdgeMap<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values: Vec<f32> = (1..=wiring.n_edges()).map(|i| i as f32).collect();
    values.shuffle(&mut rng);
    EdgeMap::from_values(wiring, values)
}

impl Circuit {
    /// A random circuit with what `null` keeps of this one. The same seed gives the same circuit.
    #[must_use]
    pub fn null(&self, null: Null, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (wiring, kept) = (self.wiring(), self.selection().values());
        let mut drawn = vec![false; kept.len()];
        match null {
            Null::Random => {
                let chosen = index::sample(&mut rng, kept.len(), self.n_edges());
                chosen.into_iter().for_each(|i| drawn[i] = true);
            }
            Null::LayerMatched => {
                let mut classes: std::collections::BTreeMap<_, (Vec<usize>, usize)> = Default::default();
                for (i, edge) in wiring.edges().enumerate() {
                    let (members, n) = classes.entry(class(wiring, edge)).or_default();
                    members.push(i);
                    *n += usize::from(kept[i]);
                }
                for (members, n) in classes.into_values() {
                    index::sample(&mut rng, members.len(), n)
                        .into_iter()
                        .for_each(|i| drawn[members[i]] = true);
                }
            }
            Null::DegreeMatched => drawn = swapped(wiring, kept, &mut rng),
        }
        Self::new(EdgeMap::from_values(wiring, drawn))
    }
}

/// Layer and kind of both ends.
fn class(wiring: Wiring, edge: hooks::Edge) -> (usize, usize) {
    use hooks::{Port, Reader, Writer};
    let from = match edge.from {
        Writer::Input => 0,
        Writer::Head(h) => 1 + 2 * h.layer,
        Writer::Mlp(l) => 2 + 2 * l,
    };
    let to = match edge.to {
        Reader::Head(h, port) => {
            4 * h.layer + [Port::Q, Port::K, Port::V].iter().position(|p| *p == port).unwrap_or(0)
        }
        Reader::Mlp(l) => 4 * l + 3,
        Reader::Logits => 4 * wiring.n_layers,
    };
    (from, to)
}

/// Switching chain: edges u→v and s→t become u→t and s→v where both are edges of the graph that are not in.
fn swapped(wiring: Wiring, kept: &[bool], rng: &mut ChaCha8Rng) -> Vec<bool> {
    let mut drawn = kept.to_vec();
    let mut edges: Vec<hooks::Edge> = wiring.edges().zip(kept).filter(|(_, k)| **k).map(|(e, _)| e).collect();
    if edges.len() < 2 {
        return drawn;
    }
    edges.shuffle(rng);
    for _ in 0..20 * edges.len() {
        let (a, b) = (rng.random_range(0..edges.len()), rng.random_range(0..edges.len()));
        let crossed = [(a, b), (b, a)].map(|(x, y)| hooks::Edge { from: edges[x].from, to: edges[y].to });
        let [Some(i), Some(j)] = crossed.map(|e| wiring.edge_index(e)) else { continue };
        if drawn[i] || drawn[j] {
            continue;
        }
        for (slot, edge) in [a, b].into_iter().zip(crossed) {
            if let Some(old) = wiring.edge_index(edges[slot]) {
                drawn[old] = false;
            }
            edges[slot] = edge;
        }
        (drawn[i], drawn[j]) = (true, true);
    }
    drawn
}
