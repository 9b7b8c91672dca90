//! The writers and readers of the residual stream and the edges between them: topology only, no numbers.
//!
//! The graph is EAP-IG's (Hanna et al. 2024). Writers are the embeddings, each attention head and each MLP. Readers
//! are each head's query, key and value inputs, each MLP's input and the logits, all before the norm. A writer feeds
//! every later reader. Readers and edges are numbered in the order of the computation.

use serde::{Deserialize, Serialize};

/// An attention head, printed `L5H1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// Layer, from 0.
    pub layer: usize,
    /// Query head within the layer, from 0.
    pub head: usize,
}

/// Something that adds to the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Writer {
    /// The token embeddings, `input`.
    Input,
    /// An attention head, `a5.h1`.
    Head(Head),
    /// An MLP, `m5`.
    Mlp(usize),
}

/// The three inputs of an attention head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// Query.
    Q,
    /// Key. Under [`KeyValue::Grouped`] the head is a key/value head.
    K,
    /// Value. Under [`KeyValue::Grouped`] the head is a key/value head.
    V,
}

/// Something that reads the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reader {
    /// One input of an attention head, `a5.h1<q>`.
    Head(Head, Port),
    /// An MLP, `m5`.
    Mlp(usize),
    /// The final norm and the output projection, `logits`.
    Logits,
}

/// One writer feeding one reader, printed `a1.h3->a4.h0<q>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// Where the edge starts.
    pub from: Writer,
    /// Where the edge ends.
    pub to: Reader,
}

/// How key and value inputs are counted when several query heads share one key/value head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyValue {
    /// One key and one value input for each query head (EAP-IG's `ungroup_grouped_query_attention`).
    #[default]
    Ungrouped,
    /// One key and one value input for each key/value head: what the weights have.
    Grouped,
}

/// The sizes of a model and, from them, its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wiring {
    /// Number of blocks.
    pub n_layers: usize,
    /// Query heads in a layer.
    pub n_heads: usize,
    /// Key/value heads in a layer; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// How key and value inputs are counted.
    pub key_value: KeyValue,
}

impl Wiring {
    /// The same model with key and value inputs counted as `key_value` says.
    #[must_use]
    pub fn with(mut self, key_value: KeyValue) -> Self {
        self.key_value = key_value;
        self
    }

    /// Key (and value) inputs in a layer.
    pub fn n_kv_ports(&self) -> usize {
        match self.key_value {
            KeyValue::Ungrouped => self.n_heads,
            KeyValue::Grouped => self.n_kv_heads,
        }
    }

    /// Writers in the whole graph, `1 + L(H + 1)`.
    pub fn n_writers(&self) -> usize {
        1 + self.n_layers * (self.n_heads + 1)
    }

    /// Readers in the whole graph, `L(H + 2 K + 1) + 1` with `K` the key inputs in a layer.
    pub fn n_readers(&self) -> usize {
        self.n_layers * self.readers_per_layer() + 1
    }

    fn readers_per_layer(&self) -> usize {
        self.n_heads + 2 * self.n_kv_ports() + 1
    }

    /// Edges in the whole graph.
    pub fn n_edges(&self) -> usize {
        self.offset(Reader::Logits) + self.n_writers()
    }

    /// Every head, layer by layer.
    pub fn heads(&self) -> impl Iterator<Item = Head> + use<> {
        let n_heads = self.n_heads;
        (0..self.n_layers).flat_map(move |layer| (0..n_heads).map(move |head| Head { layer, head }))
    }

    /// Every writer, in the order of the computation.
    pub fn writers(&self) -> impl Iterator<Item = Writer> + use<> {
        let wiring = *self;
        (0..self.n_writers()).map(move |index| wiring.writer(index))
    }

    /// Every reader, in the order of the computation: per layer all queries, all keys, all values, the MLP.
    pub fn readers(&self) -> impl Iterator<Item = Reader> + use<> {
        let wiring = *self;
        (0..self.n_readers()).map(move |index| wiring.reader(index))
    }

    /// Every edge, reader by reader, in the order of [`EdgeMap`](crate::EdgeMap)'s values.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + use<> {
        let wiring = *self;
        self.readers().flat_map(move |to| {
            (0..wiring.n_writers_before(to)).map(move |i| Edge { from: wiring.writer(i), to })
        })
    }

    /// The position of `writer` among [`writers`](Self::writers).
    pub fn writer_index(&self, writer: Writer) -> usize {
        match writer {
            Writer::Input => 0,
            Writer::Head(h) => 1 + h.layer * (self.n_heads + 1) + h.head,
            Writer::Mlp(layer) => 1 + layer * (self.n_heads + 1) + self.n_heads,
        }
    }

    /// The writer at position `index`.
    pub fn writer(&self, index: usize) -> Writer {
        let Some(rest) = index.checked_sub(1) else { return Writer::Input };
        let (layer, within) = (rest / (self.n_heads + 1), rest % (self.n_heads + 1));
        if within == self.n_heads { Writer::Mlp(layer) } else { Writer::Head(Head { layer, head: within }) }
    }

    /// The position of `reader` among [`readers`](Self::readers).
    pub fn reader_index(&self, reader: Reader) -> usize {
        let kv = self.n_kv_ports();
        match reader {
            Reader::Head(h, port) => {
                let before = match port {
                    Port::Q => 0,
                    Port::K => self.n_heads,
                    Port::V => self.n_heads + kv,
                };
                h.layer * self.readers_per_layer() + before + h.head
            }
            Reader::Mlp(layer) => (layer + 1) * self.readers_per_layer() - 1,
            Reader::Logits => self.n_layers * self.readers_per_layer(),
        }
    }

    /// The reader at position `index`.
    pub fn reader(&self, index: usize) -> Reader {
        let (layer, within) = (index / self.readers_per_layer(), index % self.readers_per_layer());
        let (h, kv) = (self.n_heads, self.n_kv_ports());
        match within {
            _ if layer == self.n_layers => Reader::Logits,
            w if w < h => Reader::Head(Head { layer, head: w }, Port::Q),
            w if w < h + kv => Reader::Head(Head { layer, head: w - h }, Port::K),
            w if w < h + 2 * kv => Reader::Head(Head { layer, head: w - h - kv }, Port::V),
            _ => Reader::Mlp(layer),
        }
    }

    /// How many writers feed `reader`: the first this many of [`writers`](Self::writers).
    pub fn n_writers_before(&self, reader: Reader) -> usize {
        match reader {
            Reader::Head(h, _) => 1 + h.layer * (self.n_heads + 1),
            Reader::Mlp(layer) => 1 + layer * (self.n_heads + 1) + self.n_heads,
            Reader::Logits => self.n_writers(),
        }
    }

    /// The position of `reader`'s first edge among [`edges`](Self::edges).
    pub fn offset(&self, reader: Reader) -> usize {
        let (h1, ports) = (self.n_heads + 1, self.readers_per_layer() - 1);
        // Layers below `l` hold (ports + 1) sum(1 + i h1) edges, and n_heads more for each MLP.
        let layers_below = |l: usize| (ports + 1) * (l + h1 * l * l.saturating_sub(1) / 2) + l * self.n_heads;
        match reader {
            Reader::Head(head, _) => {
                let within = self.reader_index(reader) - head.layer * self.readers_per_layer();
                layers_below(head.layer) + within * self.n_writers_before(reader)
            }
            Reader::Mlp(layer) => layers_below(layer) + ports * (1 + layer * h1),
            Reader::Logits => layers_below(self.n_layers),
        }
    }

    /// The position of `edge` among [`edges`](Self::edges); `None` if this graph has no such edge.
    pub fn edge_index(&self, edge: Edge) -> Option<usize> {
        let inside = match edge.to {
            Reader::Head(h, Port::Q) => h.layer < self.n_layers && h.head < self.n_heads,
            Reader::Head(h, _) => h.layer < self.n_layers && h.head < self.n_kv_ports(),
            Reader::Mlp(layer) => layer < self.n_layers,
            Reader::Logits => true,
        };
        let exists = match edge.from {
            Writer::Input => true,
            Writer::Head(h) => h.head < self.n_heads,
            Writer::Mlp(_) => true,
        };
        let from = self.writer_index(edge.from);
        (inside && exists && from < self.n_writers_before(edge.to)).then(|| self.offset(edge.to) + from)
    }

    /// The key/value head that query head `head` attends with.
    pub fn kv_head(&self, head: usize) -> usize {
        head / (self.n_heads / self.n_kv_heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wiring(n_layers: usize, n_heads: usize, n_kv_heads: usize, key_value: KeyValue) -> Wiring {
        Wiring { n_layers, n_heads, n_kv_heads, d_model: 8, key_value }
    }

    #[test]
    fn edge_counts_are_the_published_ones() {
        // reference: EAP-IG's graphs of GPT-2 small, Qwen2.5-0.5B, 1.5B, 7B and Llama-3-8B.
        for (l, h, n) in
            [(12, 12, 32_491), (24, 14, 179_749), (28, 12, 183_555), (28, 28, 935_747), (32, 32, 1_592_881)]
        {
            assert_eq!(wiring(l, h, h, KeyValue::Ungrouped).n_edges(), n);
        }
        assert_eq!(wiring(28, 12, 2, KeyValue::Grouped).n_edges(), 84_715);
    }

    proptest! {
        #[test]
        fn indices_and_names_are_inverses(l in 1usize..5, kv in 1usize..4, group in 1usize..4, grouped: bool) {
            let key_value = if grouped { KeyValue::Grouped } else { KeyValue::Ungrouped };
            let w = wiring(l, kv * group, kv, key_value);
            for (i, writer) in w.writers().enumerate() {
                prop_assert_eq!(w.writer_index(writer), i);
                prop_assert_eq!(writer.to_string().parse::<Writer>().unwrap(), writer);
            }
            for (i, reader) in w.readers().enumerate() {
                prop_assert_eq!(w.reader_index(reader), i);
                prop_assert_eq!(reader.to_string().parse::<Reader>().unwrap(), reader);
            }
            let mut n = 0;
            for (i, edge) in w.edges().enumerate() {
                prop_assert_eq!(w.edge_index(edge), Some(i));
                prop_assert_eq!(edge.to_string().parse::<Edge>().unwrap(), edge);
                n += 1;
            }
            prop_assert_eq!(n, w.n_edges());
        }
    }

    #[test]
    fn edges_outside_the_graph_have_no_index() {
        let w = wiring(2, 2, 1, KeyValue::Grouped);
        for name in
            ["m1->m0", "a0.h0->a0.h1<q>", "input->a0.h1<k>", "input->a2.h0<q>", "a0.h2->logits", "m2->logits"]
        {
            assert_eq!(w.edge_index(name.parse().unwrap()), None, "{name}");
        }
    }
}
