//! The sites that a circuit's run must change, and the weights of the changes: topology and host numbers, no tensors.
//!
//! A run under a selection reads, at every reader v,
//!
//! ```text
//! kept form      in_v = base_v + Σ_{u kept}    w_uv (current_u − fill_u)      base_v = Σ_{u before v} fill_u
//! removed form   in_v = resid_v + Σ_{u removed} (1 − w_uv) (fill_u − current_u)
//! ```
//!
//! which are the same number (EAP-IG's edge intervention, `docs/METHODS.md`). The form with fewer edges is
//! planned: a small circuit touches few readers, and the full graph without one edge touches one.

use hooks::{EdgeMap, Head, KeyValue, Port, Reader, Wiring, Writer};

use crate::Error;

/// Which of the two equal sums is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Kept,
    Removed,
}

/// A block of readers that are computed together: the ports of one attention layer, one MLP, or the logits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readers {
    /// The heads of each port (query, key, value) that have edges; all empty for an MLP or the logits.
    pub(crate) ports: [Vec<usize>; 3],
    /// How many slots come before these readers.
    pub(crate) n_slots: usize,
    /// `[groups, readers, n_slots]`, readers in the order of `ports`.
    pub(crate) weights: Vec<f32>,
    /// How many readers there are.
    pub(crate) n_readers: usize,
    /// One circuit for the batch, so few of whose edges end here that adding them up one by one is less work
    /// than a product with the whole matrix.
    pub(crate) few_edges: bool,
}

/// Entries of the matrix that cost as much in a product as one edge does alone.
const ENTRIES_PER_EDGE: usize = 8;

impl Readers {
    /// The edges into reader `i` under the only circuit: slots and weights.
    pub(crate) fn edges(&self, i: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let row = &self.weights[i * self.n_slots..(i + 1) * self.n_slots];
        row.iter().copied().enumerate().filter(|&(_, weight)| weight != 0.0)
    }
}

/// The sites and weights of a run under one selection of edges, or one selection for each row of a batch.
#[derive(Debug, Clone)]
pub struct EdgePlan {
    pub(crate) wiring: Wiring,
    pub(crate) form: Form,
    pub(crate) groups: usize,
    /// Writers whose change matters, by index, in the order of the computation.
    pub(crate) slots: Vec<usize>,
    pub(crate) attention: Vec<Option<Readers>>,
    pub(crate) mlps: Vec<Option<Readers>>,
    pub(crate) logits: Option<Readers>,
}

impl EdgePlan {
    /// Plans runs of circuits: one for the whole batch, or one for each of its rows.
    ///
    /// # Errors
    /// No circuits, or circuits over different graphs.
    pub fn new(circuits: &[&EdgeMap<bool>]) -> Result<Self, Error> {
        let weights: Vec<_> = circuits.iter().map(|c| c.map(|&kept| f32::from(u8::from(kept)))).collect();
        Self::weighted(&weights.iter().collect::<Vec<_>>())
    }

    /// Plans runs in which edge e carries `w_e · current + (1 − w_e) · fill`.
    ///
    /// # Errors
    /// No selections, or selections over different graphs.
    pub fn weighted(selections: &[&EdgeMap<f32>]) -> Result<Self, Error> {
        let first =
            selections.first().ok_or_else(|| Error::input("circuits: none given, expected at least one"))?;
        let wiring = first.wiring();
        if selections.iter().any(|s| s.wiring() != wiring) {
            return Err(Error::input("circuits: they are over different graphs, expected one"));
        }
        let count = |f: fn(f32) -> bool| -> usize {
            selections.iter().map(|s| s.values().iter().filter(|&&w| f(w)).count()).sum()
        };
        let form = if count(|w| w != 0.0) <= count(|w| w != 1.0) { Form::Kept } else { Form::Removed };
        // The weight of a writer's change in a reader's input.
        let weight = |s: &EdgeMap<f32>, i: usize| match form {
            Form::Kept => s.values()[i],
            Form::Removed => 1.0 - s.values()[i],
        };
        let touched = |i: usize| selections.iter().any(|s| weight(s, i) != 0.0);
        let live = Live::trace(wiring, form, touched);
        let slots: Vec<usize> = (0..wiring.n_writers()).filter(|&u| live.writers[u]).collect();

        // The readers among `all` that have edges; with none, the block is still there if its base must be.
        let block = |all: Vec<Reader>| -> Option<Readers> {
            let n_before = all.first().map_or(0, |&v| wiring.n_writers_before(v));
            let present: Vec<Reader> =
                all.into_iter().filter(|&v| live.readers[wiring.reader_index(v)]).collect();
            let has_edge = |&v: &Reader| (wiring.offset(v)..wiring.offset(v) + n_before).any(touched);
            let fed: Vec<Reader> = present.iter().copied().filter(has_edge).collect();
            if fed.is_empty() && (form == Form::Removed || present.is_empty()) {
                return None;
            }
            let n_slots = slots.partition_point(|&u| u < n_before);
            let mut block = Readers { n_slots, n_readers: fed.len(), ..Readers::default() };
            for selection in selections {
                for &v in &fed {
                    let of = |&u: &usize| weight(selection, wiring.offset(v) + u);
                    block.weights.extend(slots[..n_slots].iter().map(of));
                }
            }
            let n_edges = block.weights.iter().filter(|&&w| w != 0.0).count();
            block.few_edges = selections.len() == 1 && n_edges * ENTRIES_PER_EDGE < block.weights.len();
            for reader in fed {
                if let Reader::Head(head, port) = reader {
                    block.ports[port as usize].push(head.head);
                }
            }
            Some(block)
        };
        let (h, kv) = (wiring.n_heads, wiring.n_kv_ports());
        let ports = |layer: usize| {
            [(Port::Q, h), (Port::K, kv), (Port::V, kv)]
                .into_iter()
                .flat_map(move |(port, n)| (0..n).map(move |head| Reader::Head(Head { layer, head }, port)))
                .collect()
        };
        Ok(Self {
            wiring,
            form,
            groups: selections.len(),
            attention: (0..wiring.n_layers).map(|l| block(ports(l))).collect(),
            mlps: (0..wiring.n_layers).map(|l| block(vec![Reader::Mlp(l)])).collect(),
            logits: block(vec![Reader::Logits]),
            slots,
        })
    }

    /// The graph that the circuits are over.
    pub fn wiring(&self) -> Wiring {
        self.wiring
    }

    /// The heads of `layer` whose writes have a slot, with their slots.
    pub(crate) fn head_slots(&self, layer: usize) -> impl Iterator<Item = (Head, usize)> + '_ {
        let first = self.wiring.writer_index(Writer::Head(Head { layer, head: 0 }));
        let start = self.slots.partition_point(|&u| u < first);
        self.slots[start..]
            .iter()
            .take_while(move |&&u| u < first + self.wiring.n_heads)
            .enumerate()
            .map(move |(i, &u)| (Head { layer, head: u - first }, start + i))
    }

    /// The slot of `writer`, if its change matters.
    pub(crate) fn slot(&self, writer: Writer) -> Option<usize> {
        self.slots.binary_search(&self.wiring.writer_index(writer)).ok()
    }
}

/// Which writers and readers can reach the logits through the planned edges.
struct Live {
    writers: Vec<bool>,
    readers: Vec<bool>,
}

impl Live {
    /// One pass from the logits down. In the kept form a reader is live if what it feeds is; in the removed
    /// form everything runs anyway.
    fn trace(wiring: Wiring, form: Form, touched: impl Fn(usize) -> bool) -> Self {
        let mut live =
            Self { writers: vec![false; wiring.n_writers()], readers: vec![false; wiring.n_readers()] };
        let group = wiring.n_heads / wiring.n_kv_heads;
        for index in (0..wiring.n_readers()).rev() {
            let reader = wiring.reader(index);
            let writes = |w: Writer| live.writers[wiring.writer_index(w)];
            let alive = form == Form::Removed
                || match reader {
                    Reader::Logits => true,
                    Reader::Mlp(l) => writes(Writer::Mlp(l)),
                    Reader::Head(h, Port::K | Port::V) if wiring.key_value == KeyValue::Grouped => (0..group)
                        .any(|i| writes(Writer::Head(Head { layer: h.layer, head: h.head * group + i }))),
                    Reader::Head(h, _) => writes(Writer::Head(h)),
                };
            if alive {
                live.readers[index] = true;
                let offset = wiring.offset(reader);
                for u in 0..wiring.n_writers_before(reader) {
                    live.writers[u] |= touched(offset + u);
                }
            }
        }
        live
    }
}
