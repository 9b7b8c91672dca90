//! The fused operations on GPUs: kernels in [`loops`], products of matrices in [`product`], shapes and strides in
//! [`tensors`].
#![allow(unsafe_code)] // launches without bounds checks: each says why it stays inside

mod loops;
mod product;
mod tensors;
pub(crate) mod token_stats;

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape, Slice};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{Cube, ops};
use cubecl::prelude::*;

use crate::ops::{FusedOps, with_last};
use crate::{AdamW, CausalMask, Compute, Dropout};
use tensors::{
    Rows, UNITS, contiguous_rows, cube_dim, empty, grouped, own, per_value, ranges, transposed, upload,
    upload_once,
};

fn norm_backward(
    x: CubeTensor,
    weight: CubeTensor,
    grad: CubeTensor,
    eps: f64,
    [heads, seq]: [usize; 2],
) -> CubeTensor {
    let (x, weight, grad) = (Rows::new(x), into_contiguous(weight), Rows::new(grad));
    let out = grad.like();
    // SAFETY: every unit stays inside its row, and the cubes beyond the last row return at once.
    unsafe {
        loops::rms_norm_backward::launch_unchecked(
            &out.client,
            grad.grid(),
            cube_dim(),
            x.x.into_tensor_arg(),
            weight.into_tensor_arg(),
            grad.x.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            grad.n as u32,
            grad.width as u32,
            x.pitch as u32,
            grad.pitch as u32,
            heads as u32,
            seq as u32,
            eps as f32,
            UNITS,
        );
    }
    out
}

/// All axes but the last as one.
fn matrix(x: CubeTensor) -> CubeTensor {
    let shape = x.shape();
    let last = shape[shape.rank() - 1];
    let tokens = shape.num_elements() / last;
    Cube::float_reshape(x, [tokens, last].into())
}

fn product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    product::product(a, b, Compute::get())
}

impl FusedOps for Cube {
    fn project(x: FloatTensor<Self>, weight: FloatTensor<Self>, _by_token: bool) -> FloatTensor<Self> {
        let shape = with_last(&x.shape(), weight.shape()[0]);
        let x = matrix(x);
        let out = if product::serves_few(&x, &weight) {
            product::few(x, weight)
        } else {
            product(x, transposed(weight))
        };
        Self::float_reshape(out, shape.into())
    }

    fn project_backward(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = with_last(&grad.shape(), weight.shape()[1]);
        Self::float_reshape(product(matrix(grad), weight), shape.into())
    }

    fn project_backward_weight(grad: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        product(transposed(matrix(grad)), matrix(x))
    }

    fn matmul(a: FloatTensor<Self>, b: FloatTensor<Self>, compute: Compute) -> FloatTensor<Self> {
        product::product(a, b, compute)
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let (x, weight) = (Rows::new(x), into_contiguous(weight));
        let out = x.like();
        // SAFETY: every unit stays inside its row, and the cubes beyond the last row return at once.
        unsafe {
            loops::rms_norm::launch_unchecked(
                &out.client,
                x.grid(),
                cube_dim(),
                x.x.into_tensor_arg(),
                weight.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                x.n as u32,
                x.width as u32,
                x.pitch as u32,
                eps as f32,
                UNITS,
            );
        }
        out
    }

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        norm_backward(x, weight, grad, eps, [1, 1])
    }

    fn rms_norm_backward_weight(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let (x, grad) = (Rows::new(x), Rows::new(grad));
        let (out, [n, width]) = (x.like(), [x.n, x.width]);
        // SAFETY: as above.
        unsafe {
            loops::normed_times::launch_unchecked(
                &out.client,
                x.grid(),
                cube_dim(),
                x.x.into_tensor_arg(),
                grad.x.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                n as u32,
                width as u32,
                x.pitch as u32,
                grad.pitch as u32,
                eps as f32,
                UNITS,
            );
        }
        let sum = Self::float_sum_dim(ops::reshape(out, Shape::new([n, width])), 0);
        contiguous_rows(sum, Shape::new([width]))
    }

    fn rms_norm_pull_back(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let shape = grad.meta.shape().clone();
        norm_backward(x, weight, grad, eps, [shape[1], shape[2]])
    }

    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let out = empty(&gate, gate.meta.shape().clone());
        let (grid, dim) = per_value(&out, out.meta.shape().num_elements());
        // SAFETY: units beyond the last value return at once.
        unsafe {
            loops::swiglu::launch_unchecked(
                &out.client,
                grid,
                dim,
                gate.into_linear_view_like(&out),
                up.into_linear_view_like(&out),
                out.clone().into_linear_view(),
            );
        }
        out
    }

    fn swiglu_backward_gate(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let out = empty(&gate, gate.meta.shape().clone());
        let (grid, dim) = per_value(&out, out.meta.shape().num_elements());
        // SAFETY: units beyond the last value return at once.
        unsafe {
            loops::swiglu_backward_gate::launch_unchecked(
                &out.client,
                grid,
                dim,
                gate.into_linear_view_like(&out),
                up.into_linear_view_like(&out),
                grad.into_linear_view_like(&out),
                out.clone().into_linear_view(),
            );
        }
        out
    }

    fn swiglu_backward_up(gate: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as FusedOps>::swiglu(gate, grad)
    }

    fn causal_softmax(scores: FloatTensor<Self>, scale: f64, mask: CausalMask) -> FloatTensor<Self> {
        let scores = Rows::new(scores);
        let ranges = ranges(&mask, scores.width, &scores.x);
        let out = scores.like();
        let per_row = out.meta.shape()[1] * out.meta.shape()[2];
        // SAFETY: ranges end at the width of a row, and every unit stays inside its row.
        unsafe {
            loops::causal_softmax::launch_unchecked(
                &out.client,
                scores.grid(),
                cube_dim(),
                scores.x.into_tensor_arg(),
                ranges.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                scores.n as u32,
                scores.width as u32,
                scores.pitch as u32,
                per_row as u32,
                mask.seq as u32,
                scale as f32,
                UNITS,
            );
        }
        out
    }

    fn softmax_backward(
        probabilities: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let (p, grad) = (Rows::new(probabilities), Rows::new(grad));
        let out = p.like();
        // SAFETY: every unit stays inside its row.
        unsafe {
            loops::softmax_backward::launch_unchecked(
                &out.client,
                p.grid(),
                cube_dim(),
                p.x.into_tensor_arg(),
                grad.x.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                p.n as u32,
                p.width as u32,
                p.pitch as u32,
                grad.pitch as u32,
                scale as f32,
                UNITS,
            );
        }
        out
    }

    fn document_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scale: f64,
        mask: CausalMask,
    ) -> FloatTensor<Self> {
        let shape = q.meta.shape().clone();
        let scores = product(grouped(q, k.meta.shape()[1]), transposed(k));
        let pattern = <Self as FusedOps>::causal_softmax(scores, scale, mask);
        contiguous_rows(product(pattern, v), shape)
    }

    fn document_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
        mask: CausalMask,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (shape, n_kv) = (q.meta.shape().clone(), k.meta.shape()[1]);
        let (q, grad) = (grouped(q, n_kv), grouped(grad, n_kv));
        let scores = product(q.clone(), transposed(k.clone()));
        let pattern = <Self as FusedOps>::causal_softmax(scores, scale, mask);
        let to_v = product(transposed(pattern.clone()), grad.clone());
        let to_pattern = product(grad, transposed(v));
        let to_scores = <Self as FusedOps>::softmax_backward(pattern, to_pattern, scale);
        let to_k = product(transposed(to_scores.clone()), q);
        let to_q = contiguous_rows(product(to_scores, k), shape);
        (to_q, to_k, to_v)
    }

    fn rotary(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        let out = empty(&x, x.meta.shape().clone());
        let pairs = out.meta.shape().num_elements() / 2;
        let (grid, dim) = per_value(&out, pairs);
        // SAFETY: units beyond the last pair return at once.
        unsafe {
            loops::rotary::launch_unchecked(
                &out.client,
                grid,
                dim,
                x.into_tensor_arg(),
                cos.into_tensor_arg(),
                sin.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                pairs as u32,
            );
        }
        out
    }

    fn dropout(x: FloatTensor<Self>, how: Dropout) -> FloatTensor<Self> {
        let shape = x.meta.shape().clone();
        let n = shape[1] * shape[2];
        let (threshold, keep) = how.numbers();
        let row =
            |&key: &u64| (0..n as u32).map(move |at| Dropout::factor(key, at, threshold, keep).to_bits());
        let factors: Vec<u32> = how.keys.iter().flat_map(row).collect();
        let mut factors = upload(&factors, &x);
        factors.dtype = DType::F32;
        Self::float_mul(x, ops::reshape(factors, shape))
    }

    fn token_log_probs(
        logits: FloatTensor<Self>,
        tokens: Vec<u32>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self> {
        let logits = Rows::new(logits);
        let (tokens, out) = (upload(&tokens, &logits.x), empty(&logits.x, Shape::new([logits.n])));
        // SAFETY: tokens are below the width (checked by the caller), and every unit stays inside its row.
        unsafe {
            loops::token_log_prob::launch_unchecked(
                &out.client,
                logits.grid(),
                cube_dim(),
                logits.x.into_tensor_arg(),
                tokens.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                logits.n as u32,
                logits.width as u32,
                logits.pitch as u32,
                inverse_temperature as f32,
                UNITS,
            );
        }
        out
    }

    fn token_log_probs_backward(
        logits: FloatTensor<Self>,
        tokens: Vec<u32>,
        grad: FloatTensor<Self>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self> {
        let (logits, grad) = (Rows::new(logits), into_contiguous(grad));
        let (tokens, out) = (upload(&tokens, &logits.x), logits.like());
        // SAFETY: as above.
        unsafe {
            loops::token_log_prob_backward::launch_unchecked(
                &out.client,
                logits.grid(),
                cube_dim(),
                logits.x.into_tensor_arg(),
                tokens.into_tensor_arg(),
                grad.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                logits.n as u32,
                logits.width as u32,
                logits.pitch as u32,
                inverse_temperature as f32,
                UNITS,
            );
        }
        out
    }

    fn cached_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        at: usize,
        scale: f64,
        mask: CausalMask,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let shape = q.meta.shape().clone();
        let [batch, heads, d] = [shape[0], shape[1], shape[3]];
        let [keys, values_kept] = [keys, values].map(own);
        for (new, kept) in [(k, &keys), (v, &values_kept)] {
            let n = new.meta.shape().num_elements();
            let (grid, dim) = per_value(&new, n);
            // SAFETY: the caller checked that the cache has room at `at` for every row and head.
            unsafe {
                let client = new.client.clone();
                let (new, kept) = (new.into_tensor_arg(), kept.clone().into_tensor_arg());
                loops::keep::launch_unchecked(&client, grid, dim, new, kept, at as u32, n as u32);
            }
        }
        let room = (at + 1).next_power_of_two().max(UNITS);
        // Scores of one head, and two arrays of one number a unit.
        let shared = 4 * (room + 2 * UNITS);
        if d > UNITS || shared > q.client.properties().hardware.max_shared_memory_size {
            let all = |kept: &CubeTensor| {
                let all = [batch, kept.meta.shape()[1], at + 1, d].map(|n| Slice::from(0..n));
                Self::float_slice(kept.clone(), &all)
            };
            let n_kv = keys.meta.shape()[1];
            let scores = product(grouped(q, n_kv), transposed(all(&keys)));
            let pattern = <Self as FusedOps>::causal_softmax(scores, scale, mask);
            let out = contiguous_rows(product(pattern, all(&values_kept)), Shape::new([batch, heads, 1, d]));
            return (out, keys, values_kept);
        }
        let first: Vec<u32> = (0..batch).map(|row| mask.visible(row, 0, at + 1).start as u32).collect();
        let first = upload_once(first, &q);
        let out = empty(&q, Shape::new([batch, heads, 1, d]));
        // SAFETY: keys up to `at` are in the cache; shared memory holds `room` scores.
        unsafe {
            loops::attend::launch_unchecked(
                &out.client,
                CubeCount::Static(heads as u32, batch as u32, 1),
                cube_dim(),
                q.into_tensor_arg(),
                keys.clone().into_tensor_arg(),
                values_kept.clone().into_tensor_arg(),
                first.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                at as u32 + 1,
                scale as f32,
                room,
                UNITS,
            );
        }
        (out, keys, values_kept)
    }

    fn adamw(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let ([beta1, beta2], t) = (how.betas, how.t as i32);
        let grad = into_contiguous(grad);
        let [weight, m, v] = [weight, m, v].map(|x| own(into_contiguous(x)));
        let n = weight.meta.shape().num_elements();
        let (grid, dim) = per_value(&weight, n);
        let rates = loops::RatesLaunch::new(
            (1.0 - how.lr * how.weight_decay) as f32,
            beta1 as f32,
            (1.0 - beta1) as f32,
            beta2 as f32,
            (1.0 - beta2) as f32,
            how.scale as f32,
            (how.lr / (1.0 - beta1.powi(t))) as f32,
            (1.0 - beta2.powi(t)).sqrt() as f32,
            how.eps as f32,
        );
        // SAFETY: all four tensors are contiguous and hold `n` values.
        unsafe {
            loops::adamw::launch_unchecked(
                &weight.client.clone(),
                grid,
                dim,
                weight.clone().into_tensor_arg(),
                grad.into_tensor_arg(),
                m.clone().into_tensor_arg(),
                v.clone().into_tensor_arg(),
                rates,
                n as u32,
            );
        }
        (weight, m, v)
    }
}
