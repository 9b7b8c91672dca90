//! The fused operations as a backend extension; their backward passes are in `autodiff.rs`.
//!
//! Flex implements them and, with the feature `gpu`, burn's GPU backends; elsewhere the public functions use
//! [`crate::portable`].

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Shape;

use crate::{AdamW, CausalMask, Compute, Dropout};

/// See the functions of the crate root for formulas and shapes.
#[allow(clippy::too_many_arguments)] // burn's macro takes no structs of tensors
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"))]
pub(crate) trait FusedOps: Backend {
    /// `by_token`: in an order that does not depend on the number of tokens.
    fn project(x: FloatTensor<Self>, weight: FloatTensor<Self>, by_token: bool) -> FloatTensor<Self>;

    fn project_backward(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    fn project_backward_weight(grad: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Batches whose sizes are equal, or 1 in a factor that is not tracked.
    fn matmul(a: FloatTensor<Self>, b: FloatTensor<Self>, compute: Compute) -> FloatTensor<Self>;

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self>;

    fn rms_norm_backward_weight(x: FloatTensor<Self>, grad: FloatTensor<Self>, eps: f64)
    -> FloatTensor<Self>;

    fn rms_norm_pull_back(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self>;

    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    fn swiglu_backward_gate(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    fn swiglu_backward_up(gate: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    fn causal_softmax(scores: FloatTensor<Self>, scale: f64, mask: CausalMask) -> FloatTensor<Self>;

    fn softmax_backward(
        probabilities: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self>;

    fn document_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scale: f64,
        mask: CausalMask,
    ) -> FloatTensor<Self>;

    /// Gradients in `q`, `k` and `v`.
    fn document_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
        mask: CausalMask,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    fn rotary(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self>;

    fn dropout(x: FloatTensor<Self>, how: Dropout) -> FloatTensor<Self>;

    fn token_log_probs(
        logits: FloatTensor<Self>,
        tokens: Vec<u32>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self>;

    fn token_log_probs_backward(
        logits: FloatTensor<Self>,
        tokens: Vec<u32>,
        grad: FloatTensor<Self>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self>;

    /// The result, the keys and the values; untracked.
    fn cached_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        at: usize,
        scale: f64,
        mask: CausalMask,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The weight and both moments; untracked.
    fn adamw(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// A shape with another last size.
pub(crate) fn with_last(shape: &Shape, last: usize) -> Vec<usize> {
    let rank = shape.rank();
    shape[..rank - 1].iter().copied().chain([last]).collect()
}
