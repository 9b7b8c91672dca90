//! The fused operations on flex tensors: shapes and slices here, loops in [`crate::cpu`].

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;

use crate::cpu::linear::Weights;
use crate::ops::{FusedOps, with_last};
use crate::{AdamW, CausalMask, Compute, Dropout, cpu};

/// A contiguous tensor and its width along the last axis.
fn contiguous(x: FlexTensor) -> (FlexTensor, usize) {
    let width = x.shape().as_slice().last().copied().unwrap_or(1);
    (x.to_contiguous(), width)
}

/// The elements of a contiguous tensor.
fn elements(x: &FlexTensor) -> &[f32] {
    let (start, n) = (x.layout().start_offset(), x.shape().num_elements());
    &x.storage::<f32>()[start..start + n]
}

/// The elements of a contiguous tensor, copied first where somebody else holds them.
fn elements_mut(x: &mut FlexTensor) -> &mut [f32] {
    let (start, n) = (x.layout().start_offset(), x.shape().num_elements());
    &mut x.storage_mut::<f32>()[start..start + n]
}

fn tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

fn like(values: Vec<f32>, x: &FlexTensor) -> FlexTensor {
    tensor(values, x.shape().as_slice())
}

/// The elements of a contiguous weight matrix, in the dtype that it is stored in.
fn weights(x: &FlexTensor) -> Weights<'_> {
    let (start, n) = (x.layout().start_offset(), x.shape().num_elements());
    match x.dtype() {
        DType::F32 => Weights::F32(&x.storage()[start..start + n]),
        DType::BF16 => Weights::Bf16(&x.storage()[start..start + n]),
        DType::F16 => Weights::F16(&x.storage()[start..start + n]),
        other => panic!("weights are f32, bf16 or f16, not {other:?}"),
    }
}

/// The arguments of the norm's backward loop; `sizes` is heads and seq of `grad`.
fn norm_backward<'a>(
    x: &'a FlexTensor,
    weight: &'a FlexTensor,
    grad: &'a FlexTensor,
    eps: f64,
    [heads, seq]: [usize; 2],
) -> cpu::norm::Backward<'a> {
    let (x, weight, grad) = (elements(x), elements(weight), elements(grad));
    cpu::norm::Backward { x, weight, grad, eps, heads, seq }
}

/// The arguments of attention inside documents, each contiguous.
fn attention<'a>(
    [q, k, v]: [&'a FlexTensor; 3],
    scale: f64,
    mask: &'a CausalMask,
) -> cpu::attention::Inputs<'a> {
    let (n_kv, d, scale) = (k.shape()[1], q.shape()[3], scale as f32);
    let (group, [q, k, v]) = (q.shape()[1] / n_kv, [elements(q), elements(k), elements(v)]);
    cpu::attention::Inputs { q, k, v, n_kv, group, d, scale, mask }
}

impl FusedOps for Flex {
    fn project(x: FloatTensor<Self>, weight: FloatTensor<Self>, by_token: bool) -> FloatTensor<Self> {
        let ((x, d_in), (weight, _)) = (contiguous(x), contiguous(weight));
        let d_out = weight.shape()[0];
        let mut out = vec![0.0; elements(&x).len() / d_in * d_out];
        if by_token {
            cpu::linear::few(elements(&x), weights(&weight), d_in, &mut out);
        } else {
            cpu::linear::many(elements(&x), weights(&weight), d_in, &mut out);
        }
        tensor(out, with_last(&x.shape(), d_out))
    }

    fn project_backward(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((grad, d_out), (weight, d_in)) = (contiguous(grad), contiguous(weight));
        let mut out = vec![0.0; elements(&grad).len() / d_out * d_in];
        cpu::linear::backward(elements(&grad), weights(&weight), d_in, &mut out);
        tensor(out, with_last(&grad.shape(), d_in))
    }

    fn project_backward_weight(grad: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((grad, d_out), (x, d_in)) = (contiguous(grad), contiguous(x));
        let mut out = vec![0.0; d_out * d_in];
        cpu::linear::backward_weight(elements(&grad), elements(&x), [d_out, d_in], &mut out);
        tensor(out, [d_out, d_in])
    }

    fn matmul(a: FloatTensor<Self>, b: FloatTensor<Self>, _compute: Compute) -> FloatTensor<Self> {
        Self::float_matmul(a, b)
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let ((x, width), (weight, _)) = (contiguous(x), contiguous(weight));
        let mut out = vec![0.0; elements(&x).len()];
        cpu::norm::forward(elements(&x), elements(&weight), eps, width, &mut out);
        like(out, &x)
    }

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let ((x, _), (weight, _), (grad, _)) = (contiguous(x), contiguous(weight), contiguous(grad));
        let mut out = vec![0.0; elements(&x).len()];
        cpu::norm::backward(&norm_backward(&x, &weight, &grad, eps, [1, 1]), &mut out);
        like(out, &x)
    }

    fn rms_norm_backward_weight(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let ((x, width), (grad, _)) = (contiguous(x), contiguous(grad));
        tensor(cpu::norm::backward_weight(elements(&x), elements(&grad), eps, width), [width])
    }

    fn rms_norm_pull_back(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let ((x, _), (weight, _), (grad, _)) = (contiguous(x), contiguous(weight), contiguous(grad));
        let sizes = [grad.shape()[1], grad.shape()[2]];
        let mut out = vec![0.0; elements(&grad).len()];
        cpu::norm::backward(&norm_backward(&x, &weight, &grad, eps, sizes), &mut out);
        like(out, &grad)
    }

    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((gate, _), (up, _)) = (contiguous(gate), contiguous(up));
        let mut out = vec![0.0; elements(&gate).len()];
        cpu::swiglu::forward(elements(&gate), elements(&up), &mut out);
        like(out, &gate)
    }

    fn swiglu_backward_gate(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ((gate, _), (up, _), (grad, _)) = (contiguous(gate), contiguous(up), contiguous(grad));
        let mut out = vec![0.0; elements(&gate).len()];
        cpu::swiglu::backward_gate(elements(&gate), elements(&up), elements(&grad), &mut out);
        like(out, &gate)
    }

    fn swiglu_backward_up(gate: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((gate, _), (grad, _)) = (contiguous(gate), contiguous(grad));
        let mut out = vec![0.0; elements(&gate).len()];
        cpu::swiglu::forward(elements(&gate), elements(&grad), &mut out);
        like(out, &gate)
    }

    fn causal_softmax(scores: FloatTensor<Self>, scale: f64, mask: CausalMask) -> FloatTensor<Self> {
        let (scores, kv_seq) = contiguous(scores);
        let per_row = scores.shape()[1] * scores.shape()[2];
        let mut out = vec![0.0; elements(&scores).len()];
        cpu::softmax::forward(elements(&scores), scale as f32, &mask, per_row, kv_seq, &mut out);
        like(out, &scores)
    }

    fn softmax_backward(
        probabilities: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let ((p, width), (grad, _)) = (contiguous(probabilities), contiguous(grad));
        let mut out = vec![0.0; elements(&p).len()];
        cpu::softmax::backward(elements(&p), elements(&grad), scale as f32, width, &mut out);
        like(out, &p)
    }

    fn document_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scale: f64,
        mask: CausalMask,
    ) -> FloatTensor<Self> {
        let [q, k, v] = [q, k, v].map(|x| x.to_contiguous());
        let mut out = vec![0.0; elements(&q).len()];
        cpu::attention::forward(attention([&q, &k, &v], scale, &mask), &mut out);
        like(out, &q)
    }

    fn document_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scale: f64,
        mask: CausalMask,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v, grad] = [q, k, v, grad].map(|x| x.to_contiguous());
        let [mut to_q, mut to_k, mut to_v] = [&q, &k, &v].map(|x| vec![0.0; elements(x).len()]);
        let inputs = attention([&q, &k, &v], scale, &mask);
        cpu::attention::backward(inputs, elements(&grad), [&mut to_q, &mut to_k, &mut to_v]);
        (like(to_q, &q), like(to_k, &k), like(to_v, &v))
    }

    fn rotary(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, d_head), (cos, _), (sin, _)) = (contiguous(x), contiguous(cos), contiguous(sin));
        let (heads, seq) = (x.shape()[1], x.shape()[2]);
        let mut out = vec![0.0; elements(&x).len()];
        cpu::rotary::forward(elements(&x), elements(&cos), elements(&sin), heads, seq, d_head, &mut out);
        like(out, &x)
    }

    fn dropout(x: FloatTensor<Self>, how: Dropout) -> FloatTensor<Self> {
        let (x, width) = contiguous(x);
        let mut out = vec![0.0; elements(&x).len()];
        cpu::dropout::forward(elements(&x), &how, x.shape()[1], width, &mut out);
        like(out, &x)
    }

    fn token_log_probs(
        logits: FloatTensor<Self>,
        tokens: Vec<u32>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self> {
        let (logits, vocab) = contiguous(logits);
        let out = cpu::log_prob::forward(elements(&logits), &tokens, inverse_temperature as f32, vocab);
        tensor(out, [tokens.len()])
    }

    fn token_log_probs_backward(
        logits: FloatTensor<Self>,
        tokens: Vec<u32>,
        grad: FloatTensor<Self>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self> {
        let ((logits, vocab), (grad, _)) = (contiguous(logits), contiguous(grad));
        let mut out = vec![0.0; elements(&logits).len()];
        let inverse = inverse_temperature as f32;
        cpu::log_prob::backward(elements(&logits), &tokens, elements(&grad), inverse, vocab, &mut out);
        like(out, &logits)
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
        let [q, k, v, mut keys, mut values] = [q, k, v, keys, values].map(|x| x.to_contiguous());
        let (n_kv, room, d) = (keys.shape()[1], keys.shape()[2], keys.shape()[3]);
        for (kept, new) in [(&mut keys, &k), (&mut values, &v)] {
            let kept = elements_mut(kept).chunks_exact_mut(room * d);
            for (kept, new) in kept.zip(elements(new).chunks_exact(d)) {
                kept[at * d..(at + 1) * d].copy_from_slice(new);
            }
        }
        let mut out = vec![0.0; elements(&q).len()];
        let (scale, mask) = (scale as f32, &mask);
        let [queries, keys_now, values_now] = [&q, &keys, &values].map(elements);
        let inputs = cpu::decode::Inputs {
            q: queries,
            keys: keys_now,
            values: values_now,
            n_kv,
            room,
            d,
            at,
            scale,
            mask,
        };
        cpu::decode::forward(inputs, &mut out);
        (like(out, &q), keys, values)
    }

    fn adamw(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [mut weight, grad, mut m, mut v] = [weight, grad, m, v].map(|x| x.to_contiguous());
        let (to, moments) = (elements_mut(&mut weight), [elements_mut(&mut m), elements_mut(&mut v)]);
        let [first, second] = moments;
        cpu::adamw::step(to, elements(&grad), first, second, &how);
        (weight, m, v)
    }
}
