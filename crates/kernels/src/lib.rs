//! Fused transformer operations for burn on CPUs, each with a portable version in plain burn operations.
//!
//! On the CPU (burn's flex backend, f32) the public functions run fused loops, compiled for the baseline
//! instruction set and for AVX2 and chosen at run time. All but [`linear`] and
//! [`document_attention`] give the same bits in both; those two use fused multiply-add where the processor has it, so
//! their last bits depend on the processor. The
//! number of threads changes no bit. On any other device or dtype the functions run [`portable`], which the tests
//! compare the loops with. All of them are differentiable in their tensor arguments, but for [`token_stats`], whose
//! gradient is a function of its own, [`cached_attention`], and [`adamw`].
//!
//! This is the only crate of the project with `unsafe`, and the only library that names a burn backend. It knows
//! tensors and no models.
//!
//! | function | formula |
//! |---|---|
//! | [`linear`], [`linear_by_token`] | `x W^T`, weights in f32, bf16 or f16 |
//! | [`rms_norm`] | `w x / sqrt(mean(x²) + eps)` |
//! | [`swiglu`] | `silu(gate) up` |
//! | [`causal_softmax`] | softmax of scaled scores over the keys that a query may see |
//! | [`document_attention`] | attention without its square of scores, inside the documents of packed rows |
//! | [`cached_attention`] | attention of one new position of each row over a cache |
//! | [`rotary`] | rotation of half-split pairs by position |
//! | [`dropout`] | values dropped by a hash of their place |
//! | [`token_log_probs`] | log softmax at one token a row |
//! | [`token_stats`] | log softmax at one token a row, entropy, mean log softmax, whether the token is the argmax |
//!
//! Arguments and results are burn tensors; their device decides which code runs:
//! ```
//! use burn::tensor::{Device, Tensor};
//! use kernels::{CausalMask, causal_softmax, portable, rms_norm};
//!
//! let device = Device::default();
//! let x = Tensor::<2>::from_data([[3.0, 4.0], [0.0, 5.0]], &device);
//! let weight = Tensor::<1>::from_data([1.0, 2.0], &device);
//! // The root mean square of (3, 4) is sqrt(12.5).
//! let y = rms_norm(x.clone(), weight.clone(), 0.0).into_data().to_vec::<f32>().unwrap();
//! assert!((y[0] - 3.0 / 12.5f32.sqrt()).abs() < 1e-6 && (y[1] - 8.0 / 12.5f32.sqrt()).abs() < 1e-6);
//! // The portable version gives the same up to rounding.
//! let twin = portable::rms_norm(x.clone(), weight.clone(), 0.0).into_data().to_vec::<f32>().unwrap();
//! assert!(y.iter().zip(&twin).all(|(a, b)| (a - b).abs() < 1e-6));
//!
//! // Gradients come by burn's `backward`, in the input as in the weight.
//! let x = x.autodiff().require_grad();
//! let grads = rms_norm(x.clone(), weight, 0.0).sum().backward();
//! assert_eq!(x.grad(&grads).expect("tracked").dims(), [2, 2]);
//!
//! // One query head of two positions: the first sees itself, the second both.
//! let mask = CausalMask { seq: 2, first: vec![0], window: None, documents: None };
//! let scores = Tensor::<4>::from_data([[[[0.0, 9.0], [0.0, 0.0]]]], &device);
//! let pattern = causal_softmax(scores, 1.0, &mask).into_data().to_vec::<f32>().unwrap();
//! assert_eq!(pattern, [1.0, 0.0, 0.5, 0.5]);
//! ```

mod adamw;
mod autodiff;
mod compute;
mod cpu;
mod decode;
mod dropout;
mod flex;
#[cfg(feature = "gpu")]
mod gpu;
mod mask;
mod ops;
pub mod portable;
mod token_stats;

pub use adamw::{AdamW, adamw, sum_of_squares};
pub use compute::Compute;
pub use cpu::FEATURES;
pub use decode::cached_attention;
pub use dropout::{Dropout, dropout};
pub use mask::CausalMask;
pub use token_stats::{TokenStats, TokenWeights, token_stats, token_stats_backward};

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Tensor};
use ops::FusedOps;

/// Whether the device is burn's CPU backend.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether the kernels of `gpu` serve this device.
fn is_gpu(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Cube(_));
    #[cfg(not(feature = "gpu"))]
    return {
        let _ = device;
        false
    };
}

/// Whether the tensor is one for the loops of the CPU.
fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_cpu(&x.device())
}

/// Whether the operations have a fused form for the tensor.
fn fused<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && (is_cpu(&x.device()) || is_gpu(&x.device()))
}

/// Tokens up to which a product is bound by reading the weights, so that dot products beat a blocked one: up to so many
/// [`linear`] sums in the order of [`linear_by_token`], and beyond in another one, which no more depends on their number.
pub const FEW: usize = 12;

/// Projection `x W^T` with the weights in any float dtype, in f32 arithmetic: 16-bit weights are widened on
/// the way and never copied whole.
///
/// # Shapes
/// `x` `[.., in]` f32, `weight` `[out, in]`; returns `[.., out]` f32.
pub fn linear<const D: usize>(x: Tensor<D>, weight: &Tensor<2>) -> Tensor<D> {
    if fused(&x) && matches!(weight.dtype(), DType::F32 | DType::BF16 | DType::F16) {
        let by_token = x.dims()[..D - 1].iter().product::<usize>() <= FEW;
        let (x, weight) = (x.into_dispatch(), weight.clone().into_dispatch());
        Tensor::from_dispatch(Dispatch::project(x, weight, by_token))
    } else {
        portable::linear(x, weight)
    }
}

/// Product of matrices, batched: `a b`. On a GPU in the arithmetic of [`Compute`].
///
/// # Shapes
/// `a` `[.., n, k]`, `b` `[.., k, m]`, whose sizes before are equal, or 1 in a factor that is not tracked; returns
/// `[.., n, m]`.
pub fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if is_gpu(&a.device()) {
        Tensor::from_dispatch(Dispatch::matmul(a.into_dispatch(), b.into_dispatch(), Compute::get()))
    } else {
        a.matmul(b)
    }
}

/// As [`linear`], with sums whose order depends on `in` alone: on the CPU a token's result has the same bits in any
/// company. For up to some tens of tokens; [`linear`] is faster for more.
///
/// # Shapes
/// As [`linear`].
pub fn linear_by_token<const D: usize>(x: Tensor<D>, weight: &Tensor<2>) -> Tensor<D> {
    if fused(&x) && matches!(weight.dtype(), DType::F32 | DType::BF16 | DType::F16) {
        let (x, weight) = (x.into_dispatch(), weight.clone().into_dispatch());
        Tensor::from_dispatch(Dispatch::project(x, weight, true))
    } else {
        portable::linear(x, weight)
    }
}

/// The transpose of [`linear`]: `grad W`, the gradient at its input of the gradient `grad` at its output.
///
/// # Shapes
/// `grad` `[tokens, out]` f32 and untracked, `weight` `[out, in]`; returns `[tokens, in]` f32.
pub fn linear_pull_back(grad: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    if fused(&grad) && matches!(weight.dtype(), DType::F32 | DType::BF16 | DType::F16) {
        Tensor::from_dispatch(Dispatch::project_backward(
            grad.into_dispatch(),
            weight.clone().into_dispatch(),
        ))
    } else {
        portable::linear_pull_back(grad, weight)
    }
}

/// The gradient at the weight of [`linear`] of the gradient `grad` at its output: `grad^T x`.
///
/// # Shapes
/// `grad` `[tokens, out]` and `x` `[tokens, in]`, f32 and untracked; returns `[out, in]` f32.
pub fn linear_pull_back_weight(grad: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    if fused(&grad) && fused(&x) {
        Tensor::from_dispatch(Dispatch::project_backward_weight(grad.into_dispatch(), x.into_dispatch()))
    } else {
        portable::linear_pull_back_weight(grad, x)
    }
}

/// Root-mean-square norm: `weight * x / sqrt(mean(x²) + eps)` over the last axis (Zhang and Sennrich 2019),
/// computed in f32.
///
/// # Shapes
/// `x` `[.., d]`, `weight` `[d]`; returns the shape of `x`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    if fused(&x) && fused(&weight) {
        Tensor::from_dispatch(Dispatch::rms_norm(x.into_dispatch(), weight.into_dispatch(), eps))
    } else {
        portable::rms_norm(x, weight, eps)
    }
}

/// Vector-Jacobian product of [`rms_norm`] with respect to `x`, for several gradients at one point.
///
/// # Shapes
/// `x` `[batch, seq, d]`, `grad` `[batch, heads, seq, d]`; returns the shape of `grad`.
pub fn rms_norm_pull_back(x: Tensor<3>, weight: Tensor<1>, grad: Tensor<4>, eps: f64) -> Tensor<4> {
    if fused(&x) && fused(&weight) && fused(&grad) {
        let (x, weight, grad) = (x.into_dispatch(), weight.into_dispatch(), grad.into_dispatch());
        Tensor::from_dispatch(Dispatch::rms_norm_pull_back(x, weight, grad, eps))
    } else {
        portable::rms_norm_pull_back(x, weight, grad, eps)
    }
}

/// Gated activation `silu(gate) * up` with `silu(x) = x / (1 + exp(-x))` (Shazeer 2020).
///
/// # Shapes
/// Both arguments and the result have one shape.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    if fused(&gate) && fused(&up) {
        Tensor::from_dispatch(Dispatch::swiglu(gate.into_dispatch(), up.into_dispatch()))
    } else {
        portable::swiglu(gate, up)
    }
}

/// Softmax of `scale * scores` over the keys that each query may see; 0 elsewhere, and 0 everywhere in the
/// row of a query that sees no key.
///
/// # Shapes
/// `scores` `[batch, n_kv_heads, group * seq, kv_seq]`: the queries of the `group` heads that share a
/// key/value head lie one head after another. Returns the same shape.
pub fn causal_softmax(scores: Tensor<4>, scale: f64, mask: &CausalMask) -> Tensor<4> {
    mask.check(scores.dims());
    if fused(&scores) {
        Tensor::from_dispatch(Dispatch::causal_softmax(scores.into_dispatch(), scale, mask.clone()))
    } else {
        portable::causal_softmax(scores, scale, mask)
    }
}

/// Attention `softmax(scale q kᵀ) v` over the keys that each query may see, which are among the queries' own
/// positions: no query sees another document's keys, and the result is 0 under padding. On the CPU scores are held for a
/// block of queries alone, so that memory grows with the row and not with its square, and the work is that of the
/// documents.
///
/// # Shapes
/// `q` `[batch, n_heads, seq, d]`, `k` and `v` `[batch, n_kv_heads, seq, d]`; returns the shape of `q`.
pub fn document_attention([q, k, v]: [Tensor<4>; 3], scale: f64, mask: &CausalMask) -> Tensor<4> {
    let ([batch, n_heads, seq, _], [_, n_kv, kv_seq, _]) = (q.dims(), k.dims());
    assert!(seq == mask.seq && seq == kv_seq, "queries and keys of the same positions");
    assert!(k.dims() == v.dims() && n_heads % n_kv == 0, "keys and values for whole groups of heads");
    mask.check([batch, n_kv, n_heads / n_kv * seq, kv_seq]);
    if fused(&q) && fused(&k) && fused(&v) {
        let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
        Tensor::from_dispatch(Dispatch::document_attention(q, k, v, scale, mask.clone()))
    } else {
        portable::document_attention([q, k, v], scale, mask)
    }
}

/// Whether [`document_attention`] of queries `q` over `kv_seq` keys is the form to choose where nobody looks at scores:
/// always in packed rows, and on the CPU wherever it is possible.
pub fn attends_in_blocks(q: &Tensor<4>, kv_seq: usize, mask: &CausalMask) -> bool {
    let blocks = q.dtype() == DType::F32 && is_cpu(&q.device()) && q.dims()[2] == kv_seq;
    mask.documents.is_some() || blocks
}

/// Rotary position embedding in the half-split convention of Hugging Face (Su et al. 2021): the pair is
/// `(x[i], x[i + d/2])`, not neighbours.
///
/// # Shapes
/// `x` `[batch, heads, seq, d_head]`; `cos` and `sin` `[batch, seq, d_head / 2]`, constants. Returns the
/// shape of `x`.
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    if fused(&x) && fused(&cos) {
        let (cos, sin) = (cos.into_dispatch(), sin.into_dispatch());
        Tensor::from_dispatch(Dispatch::rotary(x.into_dispatch(), cos, sin))
    } else {
        portable::rotary(x, cos, sin)
    }
}

/// Natural-log probability of one token in each row, under `softmax(logits * inverse_temperature)`.
///
/// # Shapes
/// `logits` `[rows, vocab]`, one token id a row; returns `[rows]`.
///
/// # Panics
/// If the numbers of rows differ or a token is not below `vocab`.
pub fn token_log_probs(logits: Tensor<2>, tokens: &[u32], inverse_temperature: f64) -> Tensor<1> {
    token_stats::check(&logits, tokens);
    if fused(&logits) {
        let logits = logits.into_dispatch();
        Tensor::from_dispatch(Dispatch::token_log_probs(logits, tokens.to_vec(), inverse_temperature))
    } else {
        portable::token_log_probs(logits, tokens, inverse_temperature)
    }
}
