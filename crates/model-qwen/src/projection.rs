//! Projections of a block: bias and low-rank term included, for all heads at once or for each head by itself.

use burn::tensor::{DType, Tensor};

use crate::{Block, LowRank, Projection};

/// `x W^T (+ bias)`: `x` `[batch, seq, in]`, `weight` `[out, in]`. One position of each row, as in decoding, has the
/// same bits in any batch.
pub(crate) fn linear(x: &Tensor<3>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> Tensor<3> {
    let linear = if x.dims()[1] == 1 { kernels::linear_by_token } else { kernels::linear };
    let y = linear(x.clone(), weight);
    let Some(bias) = bias else { return y };
    // As a matrix, so that the bias' gradient is one sum over all tokens.
    let [batch, seq, d_out] = y.dims();
    (y.reshape([batch * seq, d_out]) + bias.clone().unsqueeze()).reshape([batch, seq, d_out])
}

pub(crate) fn in_f32(weight: &Tensor<2>) -> Tensor<2> {
    if weight.dtype() == DType::F32 { weight.clone() } else { weight.clone().cast(DType::F32) }
}

/// `[batch, seq, heads * d_head]` to the view `[batch, heads, seq, d_head]`.
pub(crate) fn split_heads(x: Tensor<3>, n_heads: usize) -> Tensor<4> {
    let [batch, seq, width] = x.dims();
    x.reshape([batch, seq, n_heads, width / n_heads]).swap_dims(1, 2)
}

/// One copy of each key/value head for each of its query heads.
pub(crate) fn ungroup(x: Tensor<4>, n_heads: usize) -> Tensor<4> {
    let [batch, n_kv, seq, d_head] = x.dims();
    if n_kv == n_heads {
        return x;
    }
    let group = n_heads / n_kv;
    let x: Tensor<5> = x.unsqueeze_dim(2);
    x.expand([batch, n_kv, group, seq, d_head]).reshape([batch, n_heads, seq, d_head])
}

/// A projection split by output head, `[1, heads, d_model, d_head]`, each key/value head repeated for its
/// query heads where `ungrouped` says how many those are.
fn per_head(weight: &Tensor<2>, d_head: usize, ungrouped: Option<usize>) -> Tensor<4> {
    let [out, d_model] = weight.dims();
    let weight: Tensor<4> = in_f32(weight).reshape([1, out / d_head, d_head, d_model]);
    let weight = ungrouped.map_or(weight.clone(), |n_heads| ungroup(weight, n_heads));
    weight.swap_dims(2, 3)
}

impl Block {
    /// A projection of `x` `[batch, seq, in]`, its bias and its adapter's term included.
    pub(crate) fn linear(&self, which: Projection, x: &Tensor<3>) -> Tensor<3> {
        let y = linear(x, self.weight(which), self.bias(which));
        match self.lora.get(which) {
            None => y,
            Some(term) => {
                let low = if term.dropout.keys.is_empty() {
                    linear(x, &term.a, None)
                } else {
                    linear(&kernels::dropout(x.clone(), &term.dropout), &term.a, None)
                };
                y + linear(&(low * term.scale), &term.b, None)
            }
        }
    }

    /// Query, key or value of `x` `[batch, heads, seq, d_model]`, where each head has a stream of its own:
    /// `[batch, heads, seq, d_head]` without bias.
    pub(crate) fn read_per_head(
        &self,
        which: Projection,
        x: Tensor<4>,
        d_head: usize,
        ungrouped: Option<usize>,
    ) -> Tensor<4> {
        let y = kernels::matmul(x.clone(), per_head(self.weight(which), d_head, ungrouped));
        match self.lora.get(which).map(LowRank::at_rest) {
            None => y,
            Some(term) => {
                let low = kernels::matmul(x, term.a.clone().transpose().unsqueeze());
                y + kernels::matmul(low, per_head(&term.b, d_head, ungrouped)) * term.scale
            }
        }
    }

    /// The output projection of each head's `z` `[batch, n_heads, seq, d_head]` without bias,
    /// `[batch, n_heads, seq, d_model]`.
    pub(crate) fn write_per_head(&self, z: Tensor<4>) -> Tensor<4> {
        let [_, n_heads, _, d_head] = z.dims();
        // [out, n_heads * d_head] to [1, n_heads, d_head, out]
        let split = |weight: &Tensor<2>| {
            let out = weight.dims()[0];
            in_f32(weight).reshape([1, out, n_heads, d_head]).permute([0, 2, 3, 1])
        };
        let y = kernels::matmul(z.clone(), split(&self.output));
        match self.lora.get(Projection::Output).map(LowRank::at_rest) {
            None => y,
            Some(term) => {
                let low = kernels::matmul(z, split(&term.a));
                y + kernels::matmul(low, term.b.clone().transpose().unsqueeze()) * term.scale
            }
        }
    }

    /// The transpose of [`read_per_head`](Self::read_per_head): the gradient at the input of a projection, of the
    /// gradient `grad` `[batch, n_heads, seq, d_head]` at its output.
    pub(crate) fn pull_per_head(
        &self,
        which: Projection,
        grad: Tensor<4>,
        d_head: usize,
        n_heads: usize,
    ) -> Tensor<4> {
        // grad W_h: [batch, n_heads, seq, d_head] x [1, n_heads, d_head, d_model]
        let split = |weight| per_head(weight, d_head, Some(n_heads)).swap_dims(2, 3);
        let y = kernels::matmul(grad.clone(), split(self.weight(which)));
        match self.lora.get(which).map(LowRank::at_rest) {
            None => y,
            Some(term) => {
                let low = kernels::matmul(grad, split(&term.b));
                y + kernels::matmul(low, term.a.clone().unsqueeze()) * term.scale
            }
        }
    }
}
