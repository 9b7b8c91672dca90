//! The key-value cache: a generated token costs one position.

use burn::tensor::{Device, Int, Tensor, TensorData};
use kernels::CausalMask;

/// Positions that a new buffer has room for beyond the prompt.
const FIRST: usize = 256;

/// Keys after rotary and values of each layer, in buffers that double when they are full: a budget of tokens
/// that is not used costs nothing.
///
/// Rows end together: a row that is shorter than the others begins later.
#[derive(Debug)]
pub struct KvCache {
    /// `[slots, n_kv_heads, room, d_head]` each.
    layers: Vec<Option<[Tensor<4>; 2]>>,
    /// Rows that a new buffer has room for; as many as the first batch has, where `None`.
    slots: Option<usize>,
    len: usize,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for `n_layers` layers and at most `capacity` positions.
    pub fn new(n_layers: usize, capacity: usize) -> Self {
        Self { layers: (0..n_layers).map(|_| None).collect(), slots: None, len: 0, capacity }
    }

    /// A cache whose `slots` rows join later, the first of them ending at position `len`.
    pub(crate) fn with_slots(n_layers: usize, slots: usize, len: usize, capacity: usize) -> Self {
        Self { slots: Some(slots), len, ..Self::new(n_layers, capacity) }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A layer's buffers with room up to `end`, for keys like `k` `[batch, n_kv_heads, _, d_head]`; they are the
    /// caller's alone, so that flex writes in place.
    fn take(&mut self, layer: usize, k: &Tensor<4>, end: usize) -> [Tensor<4>; 2] {
        assert!(end <= self.capacity, "the cache holds {} positions, {end} were asked for", self.capacity);
        let ([batch, heads, _, d_head], device) = (k.dims(), k.device());
        let room = |rows, n| Tensor::zeros([rows, heads, n, d_head], &device);
        match self.layers[layer].take() {
            None => {
                let first = end.saturating_add(FIRST).min(self.capacity);
                let rows = self.slots.unwrap_or(batch);
                [room(rows, first), room(rows, first)]
            }
            Some(buffers) if buffers[0].dims()[2] < end => {
                let [rows, _, held, _] = buffers[0].dims();
                let more = room(rows, end.max(2 * held).min(self.capacity) - held);
                buffers.map(|buffer| Tensor::cat(vec![buffer, more.clone()], 2))
            }
            Some(buffers) => buffers,
        }
    }

    /// Keeps `k` and `v` `[batch, n_kv_heads, seq, d_head]` of a layer and returns all positions' so far.
    pub(crate) fn extend(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> [Tensor<4>; 2] {
        let [batch, heads, seq, d_head] = k.dims();
        let end = self.len + seq;
        let [keys, values] = self.take(layer, &k, end);
        let new = [0..batch, 0..heads, self.len..end, 0..d_head];
        let buffers = [keys.slice_assign(new.clone(), k), values.slice_assign(new, v)];
        let all = [0..batch, 0..heads, 0..end, 0..d_head];
        let seen = buffers.clone().map(|buffer| buffer.slice(all.clone()));
        self.layers[layer] = Some(buffers);
        seen
    }

    /// Keeps the key and the value of one position of each row, and returns what its query `q`
    /// `[batch, n_heads, 1, d_head]` mixes.
    pub(crate) fn attend(
        &mut self,
        layer: usize,
        [q, k, v]: [Tensor<4>; 3],
        scale: f64,
        mask: &CausalMask,
    ) -> Tensor<4> {
        let buffers = self.take(layer, &k, self.len + 1);
        let (z, buffers) = kernels::cached_attention([q, k, v], buffers, self.len, scale, mask);
        self.layers[layer] = Some(buffers);
        z
    }

    /// Counts the positions of a finished pass.
    pub(crate) fn advance(&mut self, seq: usize) {
        self.len += seq;
    }

    /// Forgets every row; the next ends at position `len`.
    pub(crate) fn restart(&mut self, len: usize) {
        self.len = len;
    }

    /// Puts the last `n` positions of row `from_row` of `prompts` into slot `row`.
    pub(crate) fn join(&mut self, row: usize, prompts: &Self, from_row: usize, n: usize) {
        for (layer, from) in prompts.layers.iter().enumerate() {
            let Some(from) = from else { continue };
            let [_, heads, _, d_head] = from[0].dims();
            let buffers = self.take(layer, &from[0], self.len);
            let all = [from_row..from_row + 1, 0..heads, prompts.len - n..prompts.len, 0..d_head];
            let place = [row..row + 1, 0..heads, self.len - n..self.len, 0..d_head];
            let [keys, values] = buffers;
            let [k, v] = from.clone().map(|x| x.slice(all.clone()));
            self.layers[layer] = Some([keys.slice_assign(place.clone(), k), values.slice_assign(place, v)]);
        }
    }

    /// Copies slot `from` into slot `to`.
    pub(crate) fn copy_row(&mut self, from: usize, to: usize) {
        let copied = |buffer: Tensor<4>| {
            let [_, heads, room, d_head] = buffer.dims();
            let row = buffer.clone().select(0, index(from, &buffer.device()));
            buffer.slice_assign([to..to + 1, 0..heads, 0..room, 0..d_head], row)
        };
        for layer in &mut self.layers {
            *layer = layer.take().map(|buffers| buffers.map(copied));
        }
    }

    /// Makes room for a position where the buffers are full: moves every row `free` positions to the front where that
    /// is a quarter of them or where they cannot grow. Returns by how many positions the rows were moved.
    pub(crate) fn make_room(&mut self, free: usize) -> usize {
        let room = self.layers.iter().flatten().map(|buffers| buffers[0].dims()[2]).min();
        let Some(room) = room.filter(|&room| room <= self.len) else { return 0 };
        if free == 0 || (free < room / 4 && room < self.capacity) {
            return 0;
        }
        let moved = |buffer: Tensor<4>| {
            let [rows, heads, room, d_head] = buffer.dims();
            let kept = buffer.clone().slice([0..rows, 0..heads, free..room, 0..d_head]);
            buffer.zeros_like().slice_assign([0..rows, 0..heads, 0..room - free, 0..d_head], kept)
        };
        for layer in &mut self.layers {
            *layer = layer.take().map(|buffers| buffers.map(moved));
        }
        self.len -= free;
        free
    }
}

fn index(row: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from([row as i64]), device)
}
