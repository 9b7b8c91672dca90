//! Selection of edges by their scores: top N, greedy, threshold, per layer; of nodes: top N.
//!
//! Scores here are of the metric itself. EAP-IG and the paper select by the derivative of a loss; under
//! [`Rank::Signed`] give scores in that convention, see [`loss_scores`]. Ties go to the edge that comes
//! first in [`hooks::Wiring::edges`].

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use hooks::{EdgeMap, Metric, NodeMap, Reader, Writer};

use crate::circuit::owners;
use crate::{Circuit, Error};

/// The order of edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rank {
    /// A larger absolute score.
    #[default]
    Absolute,
    /// A larger score.
    Signed,
}

impl Rank {
    fn of(self, score: f32) -> f32 {
        match self {
            Rank::Absolute => score.abs(),
            // Adding zero makes −0 equal to 0, so that the two tie.
            Rank::Signed => score + 0.0,
        }
    }
}

/// The rule by which edges are selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    /// The `n` best edges.
    Top(usize),
    /// `n` edges from the logits up: always the best edge whose reader is already in.
    Greedy(usize),
    /// Every edge of at least this score.
    Threshold(f32),
    /// The `n` best edges into each layer (attention and MLP together); the logits are a layer of their own.
    PerLayer(usize),
}

/// Scores in EAP-IG's convention, where larger means that corrupting the edge hurts more: −score for
/// logit-diff and prob-diff, score for the others.
pub fn loss_scores(scores: &EdgeMap<f32>, metric: Metric) -> EdgeMap<f32> {
    let sign = metric.loss_sign() as f32;
    scores.map(|s| sign * s)
}

impl Circuit {
    /// Selects edges by `scores`; prunes nothing.
    ///
    /// # Errors
    /// More edges than there are, or a score that is not a number; the message names the edge.
    pub fn select(scores: &EdgeMap<f32>, how: Selection, rank: Rank) -> Result<Self, Error> {
        let wiring = scores.wiring();
        if scores.values().iter().any(|s| s.is_nan())
            && let Some((edge, score)) = scores.iter().find(|(_, s)| s.is_nan())
        {
            return Err(Error::input(format!("edge {edge}: score is {score}, expected a number")));
        }
        let (n_edges, mut kept) = (wiring.n_edges(), vec![false; wiring.n_edges()]);
        let keys: Vec<f32> = scores.values().iter().map(|&s| rank.of(s)).collect();
        if let Selection::Top(n) | Selection::Greedy(n) = how
            && n > n_edges
        {
            return Err(Error::input(format!("top {n}: the graph has {n_edges} edges")));
        }
        match how {
            Selection::Top(n) => best(&keys, 0..n_edges, n).for_each(|i| kept[i] = true),
            Selection::Threshold(t) => kept.iter_mut().zip(&keys).for_each(|(kept, &key)| *kept = key >= t),
            Selection::Greedy(n) => greedy(scores.wiring(), &keys, n, &mut kept),
            Selection::PerLayer(n) => {
                let mut start = 0;
                for layer in 0..=wiring.n_layers {
                    let end = match layer {
                        l if l < wiring.n_layers => {
                            wiring.offset(Reader::Mlp(l)) + wiring.n_writers_before(Reader::Mlp(l))
                        }
                        _ => n_edges,
                    };
                    best(&keys, start..end, n).for_each(|i| kept[i] = true);
                    start = end;
                }
            }
        }
        Ok(Self::new(EdgeMap::from_values(wiring, kept)))
    }

    /// The `n` edges of largest absolute score.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn top(scores: &EdgeMap<f32>, n: usize) -> Result<Self, Error> {
        Self::select(scores, Selection::Top(n), Rank::Absolute)
    }
}

impl Circuit {
    /// The `n` best nodes by `scores`, each with all its outgoing edges; the input counts as a node. Prune it:
    /// edges into nodes outside then go (EAP-IG's node level).
    ///
    /// # Errors
    /// More nodes than there are, or a score that is not a number; the message names the node.
    pub fn top_nodes(scores: &NodeMap<f32>, n: usize, rank: Rank) -> Result<Self, Error> {
        let (wiring, n_nodes) = (scores.wiring(), scores.values().len());
        if let Some((node, score)) = scores.iter().find(|(_, s)| s.is_nan()) {
            return Err(Error::input(format!("node {node}: score is {score}, expected a number")));
        }
        if n > n_nodes {
            return Err(Error::input(format!("top {n}: the graph has {n_nodes} nodes")));
        }
        let keys: Vec<f32> = scores.values().iter().map(|&s| rank.of(s)).collect();
        let mut inside = vec![false; n_nodes];
        best(&keys, 0..n_nodes, n).for_each(|i| inside[i] = true);
        let kept = wiring.edges().map(|edge| inside[wiring.writer_index(edge.from)]).collect();
        Ok(Self::new(EdgeMap::from_values(wiring, kept)))
    }
}

/// The `n` best of `range`, in no order.
fn best(keys: &[f32], range: std::ops::Range<usize>, n: usize) -> impl Iterator<Item = usize> {
    let mut order: Vec<usize> = range.collect();
    let n = n.min(order.len());
    if n > 0 && n < order.len() {
        order.select_nth_unstable_by(n - 1, |&a, &b| keys[b].total_cmp(&keys[a]).then(a.cmp(&b)));
    }
    order.truncate(n);
    order.into_iter()
}

/// An edge in the heap: the best key first, then the lowest index.
#[derive(PartialEq)]
struct Candidate {
    key: f32,
    index: usize,
    from: usize,
}

impl Eq for Candidate {}
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key).then(other.index.cmp(&self.index))
    }
}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn greedy(wiring: hooks::Wiring, keys: &[f32], n: usize, kept: &mut [bool]) {
    let mut readers_of: Vec<Vec<Reader>> = vec![Vec::new(); wiring.n_writers()];
    for reader in wiring.readers() {
        for writer in owners(wiring, reader) {
            readers_of[wiring.writer_index(writer)].push(reader);
        }
    }
    let mut heap = BinaryHeap::new();
    let mut opened = vec![false; wiring.n_readers()];
    let mut open = |heap: &mut BinaryHeap<Candidate>, reader: Reader| {
        // Under grouped key/value one input is shared by several heads; its edges come in once.
        if !std::mem::replace(&mut opened[wiring.reader_index(reader)], true) {
            let offset = wiring.offset(reader);
            heap.extend((0..wiring.n_writers_before(reader)).map(|from| Candidate {
                key: keys[offset + from],
                index: offset + from,
                from,
            }));
        }
    };
    open(&mut heap, Reader::Logits);
    let mut inside = vec![false; wiring.n_writers()];
    inside[wiring.writer_index(Writer::Input)] = true;
    for _ in 0..n {
        let Some(best) = heap.pop() else { return };
        kept[best.index] = true;
        if !std::mem::replace(&mut inside[best.from], true) {
            readers_of[best.from].iter().for_each(|&reader| open(&mut heap, reader));
        }
    }
}
