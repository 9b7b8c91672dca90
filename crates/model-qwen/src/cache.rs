//! The key-value cache: a generated token costs one position.

use burn::tensor::Tensor;

/// Positions that a new buffer has room for beyond the prompt.
const FIRST: usize = 256;

/// Keys after rotary and values of each layer, in buffers that double when they are full: a budget of tokens
/// that is not used costs nothing.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<Option<(Tensor<4>, Tensor<4>)>>,
    len: usize,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for `n_layers` layers and at most `capacity` positions.
    pub fn new(n_layers: usize, capacity: usize) -> Self {
        Self { layers: (0..n_layers).map(|_| None).collect(), len: 0, capacity }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps `k` and `v` `[batch, n_kv_heads, seq, d_head]` of a layer and returns all positions' so far.
    pub(crate) fn extend(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [batch, heads, seq, d_head] = k.dims();
        let end = self.len + seq;
        assert!(end <= self.capacity, "the cache holds {} positions, {end} were asked for", self.capacity);
        let room = |n: usize| Tensor::zeros([batch, heads, n, d_head], &k.device());
        let (keys, values) = match self.layers[layer].take() {
            None => {
                let first = end.saturating_add(FIRST).min(self.capacity);
                (room(first), room(first))
            }
            Some((keys, values)) if keys.dims()[2] < end => {
                let held = keys.dims()[2];
                let more = room(end.max(2 * held).min(self.capacity) - held);
                (Tensor::cat(vec![keys, more.clone()], 2), Tensor::cat(vec![values, more], 2))
            }
            Some(buffers) => buffers,
        };
        let new = [0..batch, 0..heads, self.len..end, 0..d_head];
        // The buffers are owned here alone: flex writes in place.
        let (keys, values) = (keys.slice_assign(new.clone(), k), values.slice_assign(new, v));
        let all = [0..batch, 0..heads, 0..end, 0..d_head];
        let seen = (keys.clone().slice(all.clone()), values.clone().slice(all));
        self.layers[layer] = Some((keys, values));
        seen
    }

    /// Counts the positions of a finished pass.
    pub(crate) fn advance(&mut self, seq: usize) {
        self.len += seq;
    }

    /// Keeps only the rows `keep` of the batch, in that order.
    pub(crate) fn select(&mut self, keep: &[usize]) {
        for layer in self.layers.iter_mut().flatten() {
            let index: Vec<i64> = keep.iter().map(|&row| row as i64).collect();
            let device = layer.0.device();
            let index = burn::tensor::Tensor::<1, burn::tensor::Int>::from_data(
                burn::tensor::TensorData::from(&index[..]),
                &device,
            );
            let (keys, values) = layer.clone();
            *layer = (keys.select(0, index.clone()), values.select(0, index));
        }
    }
}
