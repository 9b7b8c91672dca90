//! [`Circuit`]: a selection of edges, its nodes and heads. Selection by scores is in `select.rs`, pruning in
//! `prune.rs`.

use std::collections::BTreeSet;

use hooks::{Edge, EdgeMap, Head, KeyValue, Reader, Wiring, Writer};

use crate::Error;

/// A subgraph: for each edge of a graph, whether it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Circuit {
    pub(crate) edges: EdgeMap<bool>,
}

impl Circuit {
    /// The circuit of the edges that are `true`.
    pub fn new(edges: EdgeMap<bool>) -> Self {
        Self { edges }
    }

    /// Every edge.
    pub fn full(wiring: Wiring) -> Self {
        Self { edges: EdgeMap::filled(wiring, true) }
    }

    /// No edge.
    pub fn empty(wiring: Wiring) -> Self {
        Self { edges: EdgeMap::filled(wiring, false) }
    }

    /// The circuit of the edges listed.
    ///
    /// # Errors
    /// An edge that the graph does not have; the message names it.
    pub fn of(wiring: Wiring, edges: impl IntoIterator<Item = Edge>) -> Result<Self, Error> {
        let mut circuit = Self::empty(wiring);
        for edge in edges {
            let place = circuit.edges.get_mut(edge);
            *place.ok_or_else(|| Error::input(format!("edge {edge}: the graph has no such edge")))? = true;
        }
        Ok(circuit)
    }

    /// The graph that this is a part of.
    pub fn wiring(&self) -> Wiring {
        self.edges.wiring()
    }

    /// Which edges are in, in the order of [`Wiring::edges`].
    pub fn selection(&self) -> &EdgeMap<bool> {
        &self.edges
    }

    /// Whether `edge` is in.
    pub fn contains(&self, edge: Edge) -> bool {
        self.edges.get(edge).is_some_and(|&kept| kept)
    }

    /// The edges that are in.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        self.places().map(|(_, edge)| edge)
    }

    /// The edges that are in, each with its place among all: names are made of these alone.
    pub(crate) fn places(&self) -> impl Iterator<Item = (usize, Edge)> + '_ {
        let (wiring, kept) = (self.wiring(), self.edges.values());
        wiring.readers().flat_map(move |to| {
            let start = wiring.offset(to);
            let inside = (0..wiring.n_writers_before(to)).filter(move |from| kept[start + from]);
            inside.map(move |from| (start + from, Edge { from: wiring.writer(from), to }))
        })
    }

    /// How many edges are in.
    pub fn n_edges(&self) -> usize {
        self.edges.values().iter().filter(|&&kept| kept).count()
    }

    /// The writers at either end of an edge that is in (the logits, which write nothing, are not counted).
    /// Under grouped key/value a key or value input belongs to every query head of its group.
    pub fn nodes(&self) -> BTreeSet<Writer> {
        let wiring = self.wiring();
        self.edges().flat_map(|edge| std::iter::once(edge.from).chain(owners(wiring, edge.to))).collect()
    }

    /// The attention heads among [`nodes`](Self::nodes).
    pub fn heads(&self) -> BTreeSet<Head> {
        self.nodes()
            .into_iter()
            .filter_map(|n| if let Writer::Head(h) = n { Some(h) } else { None })
            .collect()
    }

    /// The same selection over the graph of `model`. EAP-IG's files need not have the number of key/value
    /// heads or the width; what they have must be the model's, and its sizes are taken.
    ///
    /// # Errors
    /// Another number of layers or heads, another width, or key/value edges counted another way.
    pub fn on(&self, model: Wiring) -> Result<Self, Error> {
        Ok(Self { edges: EdgeMap::from_values(fit(self.wiring(), model)?, self.edges.values().to_vec()) })
    }
}

/// `model`'s sizes with `found`'s way of counting, if they are sizes of one model. Files of the package that do not
/// have them have a width of 0, and as many key/value heads as heads.
pub(crate) fn fit(found: Wiring, model: Wiring) -> Result<Wiring, Error> {
    let want = model.with(found.key_value);
    let unknown = |w: Wiring| w.key_value == KeyValue::Ungrouped && w.n_kv_heads == w.n_heads;
    let same_groups = found.n_kv_heads == want.n_kv_heads || unknown(found) || unknown(want);
    if (found.n_layers, found.n_heads) == (want.n_layers, want.n_heads) && same_groups {
        if found.d_model != 0 && want.d_model != 0 && found.d_model != want.d_model {
            let (found, want) = (found.d_model, want.d_model);
            return Err(Error::input(format!("circuit: `d_model` is {found}, expected the model's {want}")));
        }
        return Ok(want);
    }
    Err(Error::input(format!(
        "circuit: over {} layers of {} heads ({} key/value), expected the model's {} of {} ({})",
        found.n_layers, found.n_heads, found.n_kv_heads, want.n_layers, want.n_heads, want.n_kv_heads
    )))
}

/// The writers that a reader's input flows into; none for the logits.
pub(crate) fn owners(wiring: Wiring, reader: Reader) -> Vec<Writer> {
    match reader {
        Reader::Logits => Vec::new(),
        Reader::Mlp(l) => vec![Writer::Mlp(l)],
        Reader::Head(h, port) if port != hooks::Port::Q && wiring.key_value == KeyValue::Grouped => {
            let group = wiring.n_heads / wiring.n_kv_heads;
            (0..group).map(|i| Writer::Head(Head { layer: h.layer, head: h.head * group + i })).collect()
        }
        Reader::Head(h, _) => vec![Writer::Head(h)],
    }
}
