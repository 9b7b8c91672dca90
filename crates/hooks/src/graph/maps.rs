//! Values over edges, nodes and heads.

use ndarray::{Array2, ArrayView2};

use crate::{Edge, Head, Wiring, Writer};

/// One value for each edge of a [`Wiring`], in the order of [`Wiring::edges`].
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeMap<T> {
    wiring: Wiring,
    values: Vec<T>,
}

impl<T: Clone> EdgeMap<T> {
    /// The same value on every edge.
    pub fn filled(wiring: Wiring, value: T) -> Self {
        Self { wiring, values: vec![value; wiring.n_edges()] }
    }
}

impl<T> EdgeMap<T> {
    /// Values in the order of [`Wiring::edges`].
    ///
    /// # Panics
    /// If there is not one value for each edge.
    pub fn from_values(wiring: Wiring, values: Vec<T>) -> Self {
        assert_eq!(values.len(), wiring.n_edges(), "one value for each edge");
        Self { wiring, values }
    }

    /// The graph that the values are over.
    pub fn wiring(&self) -> Wiring {
        self.wiring
    }

    /// The value of `edge`, if the graph has it.
    pub fn get(&self, edge: Edge) -> Option<&T> {
        self.wiring.edge_index(edge).map(|i| &self.values[i])
    }

    /// The value of `edge` to change, if the graph has it.
    pub fn get_mut(&mut self, edge: Edge) -> Option<&mut T> {
        self.wiring.edge_index(edge).map(|i| &mut self.values[i])
    }

    /// All values, in the order of [`Wiring::edges`].
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values to change, in the order of [`Wiring::edges`].
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// Edges with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Edge, &T)> {
        self.wiring.edges().zip(&self.values)
    }

    /// Applies `f` to every value.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> EdgeMap<U> {
        EdgeMap { wiring: self.wiring, values: self.values.iter().map(f).collect() }
    }
}

/// One value for each writer of a [`Wiring`], in the order of [`Wiring::writers`].
#[derive(Debug, Clone, PartialEq)]
pub struct NodeMap<T> {
    wiring: Wiring,
    values: Vec<T>,
}

impl<T: Clone> NodeMap<T> {
    /// The same value on every writer.
    pub fn filled(wiring: Wiring, value: T) -> Self {
        Self { wiring, values: vec![value; wiring.n_writers()] }
    }
}

impl<T> NodeMap<T> {
    /// Values in the order of [`Wiring::writers`].
    ///
    /// # Panics
    /// If there is not one value for each writer.
    pub fn from_values(wiring: Wiring, values: Vec<T>) -> Self {
        assert_eq!(values.len(), wiring.n_writers(), "one value for each writer");
        Self { wiring, values }
    }

    /// The graph that the values are over.
    pub fn wiring(&self) -> Wiring {
        self.wiring
    }

    /// The value of `writer`.
    ///
    /// # Panics
    /// If the graph has no such writer.
    pub fn get(&self, writer: Writer) -> &T {
        &self.values[self.wiring.writer_index(writer)]
    }

    /// All values, in the order of [`Wiring::writers`].
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values to change, in the order of [`Wiring::writers`].
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// Writers with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Writer, &T)> {
        self.wiring.writers().zip(&self.values)
    }

    /// Applies `f` to every value.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> NodeMap<U> {
        NodeMap { wiring: self.wiring, values: self.values.iter().map(f).collect() }
    }
}

/// One value for each attention head, `[layer, head]`.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadMap<T> {
    values: Array2<T>,
}

impl<T: Clone> HeadMap<T> {
    /// The same value on every head of `wiring`.
    pub fn filled(wiring: Wiring, value: T) -> Self {
        Self { values: Array2::from_elem((wiring.n_layers, wiring.n_heads), value) }
    }
}

impl<T> HeadMap<T> {
    /// Values `[layer, head]`.
    pub fn from_array(values: Array2<T>) -> Self {
        Self { values }
    }

    /// The values, `[layer, head]`.
    pub fn view(&self) -> ArrayView2<'_, T> {
        self.values.view()
    }

    /// The value of `head`.
    ///
    /// # Panics
    /// If the model has no such head.
    pub fn get(&self, head: Head) -> &T {
        &self.values[[head.layer, head.head]]
    }

    /// The value of `head` to change.
    ///
    /// # Panics
    /// If the model has no such head.
    pub fn get_mut(&mut self, head: Head) -> &mut T {
        &mut self.values[[head.layer, head.head]]
    }

    /// Heads with their values, layer by layer.
    pub fn iter(&self) -> impl Iterator<Item = (Head, &T)> {
        self.values.indexed_iter().map(|((layer, head), value)| (Head { layer, head }, value))
    }

    /// Applies `f` to every value.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> HeadMap<U> {
        HeadMap { values: self.values.map(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyValue;

    #[test]
    fn heads_are_an_array_of_layers() {
        let wiring =
            Wiring { n_layers: 2, n_heads: 3, n_kv_heads: 3, d_model: 4, key_value: KeyValue::Ungrouped };
        let mut map = HeadMap::filled(wiring, 0);
        *map.get_mut(Head { layer: 1, head: 2 }) = 7;
        assert_eq!(map.view().shape(), [2, 3]);
        assert_eq!(map.view()[[1, 2]], 7);
        assert_eq!(map.iter().last(), Some((Head { layer: 1, head: 2 }, &7)));
        assert_eq!(HeadMap::from_array(map.view().to_owned()), map.map(|&v| v));
    }
}
