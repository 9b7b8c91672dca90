//! One step of decoding over a cache of keys and values that is written in place.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::ops::FusedOps as _;
use crate::{CausalMask, fused, portable};

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
    let ([batch, n_heads, ..], n_kv) = (q.dims(), k.dims()[1]);
    let [rows, _, room, _] = cache[0].dims();
    assert!(mask.seq == 1 && mask.documents.is_none(), "a step of decoding has one query a row");
    assert!(rows >= batch && room > at && n_heads % n_kv == 0, "the cache has room for the step");
    mask.check([batch, n_kv, n_heads / n_kv, at + 1]);
    let all = [&q, &k, &v, &cache[0], &cache[1]];
    if !all.iter().all(|x| fused(x)) || all.iter().any(|x| x.is_autodiff()) {
        return portable::cached_attention([q, k, v], cache, at, scale, mask);
    }
    let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
    let [keys, values] = cache.map(Tensor::into_dispatch);
    let (out, keys, values) = Dispatch::cached_attention(q, k, v, keys, values, at, scale, mask.clone());
    (Tensor::from_dispatch(out), [keys, values].map(Tensor::from_dispatch))
}
