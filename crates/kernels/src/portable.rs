//! The operations in plain burn tensor operations, for any device and dtype, differentiated by burn.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};

use crate::{CausalMask, Dropout, TokenStats, TokenWeights};

/// See [`crate::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: &Tensor<2>) -> Tensor<D> {
    let (dtype, mut shape) = (x.dtype(), x.dims());
    let [d_out, d_in] = weight.dims();
    let weight = if weight.dtype() == dtype { weight.clone() } else { weight.clone().cast(dtype) };
    let tokens = shape[..D - 1].iter().product();
    shape[D - 1] = d_out;
    x.reshape([tokens, d_in]).matmul(weight.transpose()).reshape(shape)
}

/// See [`crate::linear_pull_back`].
pub fn linear_pull_back(grad: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let dtype = grad.dtype();
    grad.matmul(if weight.dtype() == dtype { weight.clone() } else { weight.clone().cast(dtype) })
}

/// See [`crate::linear_pull_back_weight`].
pub fn linear_pull_back_weight(grad: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    grad.transpose().matmul(x)
}

/// See [`crate::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let mean_square = x.clone().square().mean_dim(D - 1);
    let normed = x / (mean_square + eps).sqrt();
    normed * weight.unsqueeze()
}

/// See [`crate::rms_norm_pull_back`].
pub fn rms_norm_pull_back(x: Tensor<3>, weight: Tensor<1>, grad: Tensor<4>, eps: f64) -> Tensor<4> {
    let d = x.dims()[2] as f64;
    let x: Tensor<4> = x.unsqueeze_dim(1);
    let r = (x.clone().square().mean_dim(3) + eps).sqrt();
    let c = grad * weight.unsqueeze();
    let along = (x.clone() * c.clone()).sum_dim(3) / (r.clone().powi_scalar(3) * d);
    c / r - x * along
}

/// See [`crate::swiglu`].
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    activation::silu(gate) * up
}

/// The score of a hidden key: finite, so that a query that sees nothing gives zeros and not NaN.
pub const HIDDEN: f64 = -1e30;

/// Which keys are hidden, `[batch, n_kv_heads, group * seq, kv_seq]`.
pub fn hidden_keys(mask: &CausalMask, shape: [usize; 4], device: &Device) -> Tensor<4, Bool> {
    let [batch, _, queries, kv_seq] = shape;
    let mut hidden = Vec::with_capacity(batch * queries * kv_seq);
    for row in 0..batch {
        for q in 0..queries {
            let visible = mask.visible(row, q % mask.seq, kv_seq);
            hidden.extend((0..kv_seq).map(|key| !visible.contains(&key)));
        }
    }
    let hidden = TensorData::new(hidden, [batch, 1, queries, kv_seq]);
    Tensor::<4, Bool>::from_data(hidden, &device.clone().without_autodiff()).expand(shape)
}

/// See [`crate::causal_softmax`].
pub fn causal_softmax(scores: Tensor<4>, scale: f64, mask: &CausalMask) -> Tensor<4> {
    let hidden = hidden_keys(mask, scores.dims(), &scores.device());
    let scores = (scores * scale).mask_fill(hidden.clone(), HIDDEN);
    activation::softmax(scores, 3).mask_fill(hidden, 0.0)
}

/// See [`crate::document_attention`].
pub fn document_attention([q, k, v]: [Tensor<4>; 3], scale: f64, mask: &CausalMask) -> Tensor<4> {
    let ([batch, n_heads, seq, d], n_kv) = (q.dims(), k.dims()[1]);
    let scores = q.reshape([batch, n_kv, n_heads / n_kv * seq, d]).matmul(k.swap_dims(2, 3));
    causal_softmax(scores, scale, mask).matmul(v).reshape([batch, n_heads, seq, d])
}

/// See [`crate::cached_attention`].
pub fn cached_attention(
    [q, k, v]: [Tensor<4>; 3],
    [keys, values]: [Tensor<4>; 2],
    at: usize,
    scale: f64,
    mask: &CausalMask,
) -> (Tensor<4>, [Tensor<4>; 2]) {
    let ([batch, n_heads, _, d], n_kv) = (q.dims(), k.dims()[1]);
    let new = [0..batch, 0..n_kv, at..at + 1, 0..d];
    let (keys, values) = (keys.slice_assign(new.clone(), k), values.slice_assign(new, v));
    let all = [0..batch, 0..n_kv, 0..at + 1, 0..d];
    let (k, v) = (keys.clone().slice(all.clone()), values.clone().slice(all));
    let scores = q.reshape([batch, n_kv, n_heads / n_kv, d]).matmul(k.swap_dims(2, 3));
    let pattern = crate::causal_softmax(scores, scale, mask);
    (pattern.matmul(v).reshape([batch, n_heads, 1, d]), [keys, values])
}

/// See [`crate::rotary`].
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let [batch, heads, seq, d_head] = x.dims();
    let half = d_head / 2;
    let left = x.clone().slice([0..batch, 0..heads, 0..seq, 0..half]);
    let right = x.slice([0..batch, 0..heads, 0..seq, half..d_head]);
    let (cos, sin): (Tensor<4>, Tensor<4>) = (cos.unsqueeze_dim(1), sin.unsqueeze_dim(1));
    let turned_left = left.clone() * cos.clone() - right.clone() * sin.clone();
    let turned_right = right * cos + left * sin;
    Tensor::cat(vec![turned_left, turned_right], 3)
}

/// See [`crate::dropout`].
pub fn dropout(x: Tensor<3>, how: &Dropout) -> Tensor<3> {
    let [_, seq, width] = x.dims();
    let (threshold, keep) = how.numbers();
    let row = |&key: &u64| (0..(seq * width) as u32).map(move |at| Dropout::factor(key, at, threshold, keep));
    let factors: Vec<f32> = how.keys.iter().flat_map(row).collect();
    let device = x.device().without_autodiff();
    x.clone() * like_tracked(Tensor::from_data(TensorData::new(factors, x.dims()), &device), &x)
}

/// A constant beside `x`, which may be tracked.
fn like_tracked<const D: usize>(constant: Tensor<D>, x: &Tensor<D>) -> Tensor<D> {
    let constant = constant.cast(x.dtype());
    if x.is_autodiff() { constant.autodiff() } else { constant }
}

/// See [`crate::token_log_probs`].
pub fn token_log_probs(logits: Tensor<2>, tokens: &[u32], inverse_temperature: f64) -> Tensor<1> {
    let index = column(tokens, &logits.device());
    activation::log_softmax(logits * inverse_temperature, 1).gather(1, index).reshape([tokens.len()])
}

/// Token ids as indices `[rows, 1]`.
fn column(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
    let index: Vec<i64> = tokens.iter().map(|&t| i64::from(t)).collect();
    Tensor::from_data(TensorData::new(index, [tokens.len(), 1]), &device.clone().without_autodiff())
}

/// See [`crate::token_stats`].
pub fn token_stats(logits: Tensor<2>, tokens: &[u32], inverse_temperature: f64) -> Vec<TokenStats> {
    let argmax = logits.clone().argmax(1).into_data();
    let values = differentiable_stats(logits, tokens, inverse_temperature).into_data();
    let values: Vec<f32> = values.iter::<f32>().collect();
    let one = |((row, &token), argmax): ((&[f32], &u32), i64)| TokenStats {
        log_prob: row[0],
        entropy: row[1],
        mean_log_prob: row[2],
        correct: argmax == i64::from(token),
    };
    values.chunks_exact(3).zip(tokens).zip(argmax.iter::<i64>()).map(one).collect()
}

/// See [`crate::token_stats_backward`].
pub fn token_stats_backward(
    logits: Tensor<2>,
    tokens: &[u32],
    weights: &[TokenWeights],
    inverse_temperature: f64,
) -> (Vec<TokenStats>, Tensor<2>) {
    let stats = token_stats(logits.clone(), tokens, inverse_temperature);
    let numbers: Vec<f32> = weights.iter().flat_map(|w| [w.log_prob, w.entropy, w.mean_log_prob]).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(numbers, [tokens.len(), 3]), &logits.device());
    let leaf = logits.autodiff().require_grad();
    let sum = differentiable_stats(leaf.clone(), tokens, inverse_temperature) * weights.autodiff();
    let mut left = sum.sum().backward();
    match leaf.grad_remove(&mut left) {
        Some(grad) => (stats, grad),
        None => unreachable!("the logits are a leaf of the graph"),
    }
}

/// Log-probability, entropy and mean log-probability of each row, `[rows, 3]`.
fn differentiable_stats(logits: Tensor<2>, tokens: &[u32], inverse_temperature: f64) -> Tensor<2> {
    let index = column(tokens, &logits.device());
    let log_p = activation::log_softmax(logits * inverse_temperature, 1);
    let entropy = (log_p.clone().exp() * log_p.clone()).sum_dim(1).neg();
    Tensor::cat(vec![log_p.clone().gather(1, index), entropy, log_p.mean_dim(1)], 1)
}

/// See [`crate::adamw`].
pub fn adamw(
    weight: Tensor<1>,
    grad: Tensor<1>,
    [m, v]: [Tensor<1>; 2],
    how: &crate::AdamW,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let ([beta1, beta2], t) = (how.betas, how.t as i32);
    let grad = grad * how.scale;
    let m = m * beta1 + grad.clone() * (1.0 - beta1);
    let v = v * beta2 + grad.square() * (1.0 - beta2);
    let denominator = v.clone().sqrt() / (1.0 - beta2.powi(t)).sqrt() + how.eps;
    let change = m.clone() / denominator * (how.lr / (1.0 - beta1.powi(t)));
    (weight * (1.0 - how.lr * how.weight_decay) - change, [m, v])
}
