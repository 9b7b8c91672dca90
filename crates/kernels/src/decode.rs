//! One step of decoding over a cache of keys and values that is written in place.

use burn::tensor::{Tensor, TensorData};

use crate::{CausalMask, cpu, fused, portable};

/// Attention of one new position of each row over the keys and values of a cache, in which the new ones are kept at
/// position `at`. The cache is taken and given back: where nobody else holds it, nothing is copied.
///
/// A row's result depends on its own keys alone: not on the other rows, nor on where in the cache it begins. It has
/// no gradient.
///
/// # Shapes
/// `q` `[batch, n_heads, 1, d]`, `k` and `v` `[batch, n_kv_heads, 1, d]`; `cache`: keys and values
/// `[rows, n_kv_heads, room, d]` with `rows >= batch` and `room > at`. Returns `[batch, n_heads, 1, d]`.
pub fn cached_attention(
    [q, k, v]: [Tensor<4>; 3],
    cache: [Tensor<4>; 2],
    at: usize,
    scale: f64,
    mask: &CausalMask,
) -> (Tensor<4>, [Tensor<4>; 2]) {
    let ([batch, n_heads, _, d], n_kv) = (q.dims(), k.dims()[1]);
    let [rows, _, room, _] = cache[0].dims();
    assert!(mask.seq == 1 && mask.documents.is_none(), "a step of decoding has one query a row");
    assert!(rows >= batch && room > at && n_heads % n_kv == 0, "the cache has room for the step");
    mask.check([batch, n_kv, n_heads / n_kv, at + 1]);
    let all = [&q, &k, &v, &cache[0], &cache[1]];
    if !all.iter().all(|x| fused(x)) || all.iter().any(|x| x.is_autodiff()) {
        return portable::cached_attention([q, k, v], cache, at, scale, mask);
    }
    let device = q.device();
    let [mut keys, mut values] = cache.map(Tensor::into_data);
    let [q, k, v] = [q, k, v].map(Tensor::into_data);
    let (shape, mut out) = ([batch, n_heads, 1, d], vec![0.0; batch * n_heads * d]);
    let written = [(&mut keys, &k), (&mut values, &v)].map(|(kept, new)| {
        let (Ok(kept), Ok(new)) = (kept.as_mut_slice::<f32>(), new.as_slice::<f32>()) else {
            panic!("f32 tensors hold f32")
        };
        for (kept, new) in kept.chunks_exact_mut(room * d).zip(new.chunks_exact(d)) {
            kept[at * d..(at + 1) * d].copy_from_slice(new);
        }
        &*kept
    });
    let [keys_now, values_now] = written;
    let q = q.as_slice().unwrap_or_default();
    let scale = scale as f32;
    let inputs =
        cpu::decode::Inputs { q, keys: keys_now, values: values_now, n_kv, room, d, at, scale, mask };
    cpu::decode::forward(inputs, &mut out);
    let tensor = |data| Tensor::from_data(data, &device);
    (tensor(TensorData::new(out, shape)), [tensor(keys), tensor(values)])
}
