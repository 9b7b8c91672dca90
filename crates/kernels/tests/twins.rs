//! Every fused operation against its portable twin: values and gradients, on random shapes.
#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Device, Tensor, TensorData};
use kernels::{CausalMask, Dropout, TokenWeights, portable};
use proptest::prelude::*;

fn device() -> Device {
    Device::flex()
}

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f64 / f64::from(1u32 << 31) * 4.0 - 2.0) as f32
    };
    (0..n).map(|_| next()).collect()
}

fn tensor<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values(shape.iter().product(), seed), shape), &device())
}

/// The largest difference relative to the largest magnitude.
fn apart<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b): (Vec<f32>, Vec<f32>) =
        (a.into_data().try_to_vec().unwrap(), b.into_data().try_to_vec().unwrap());
    let scale = b.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    a.iter().zip(&b).fold(0f32, |m, (x, y)| m.max((x - y).abs())) / scale
}

/// Values and gradients of `f` at tracked `inputs`, with `sum(f² / 2)` as the loss.
fn with_gradients<const D: usize, const E: usize>(
    inputs: &[Tensor<D>],
    f: impl Fn(&[Tensor<D>]) -> Tensor<E>,
) -> (Tensor<E>, Vec<Tensor<D>>) {
    let leaves: Vec<_> = inputs.iter().map(|x| x.clone().autodiff().require_grad()).collect();
    let out = f(&leaves);
    let grads = (out.clone().square() * 0.5).sum().backward();
    (out.inner(), leaves.iter().map(|x| x.grad(&grads).unwrap()).collect())
}

// Rounding: rows of at most 200 f32 terms summed in different orders, 200 * 6e-8 at worst; the exponential
// adds 2 units in the last place.
const TOLERANCE: f32 = 1.5e-5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cached_attention(batch in 1usize..5, n_kv in 1usize..4, group in 1usize..4, d in 1usize..70,
                        at in 0usize..40, window in 0usize..50, more in [0usize..3, 0usize..9], seed: u64) {
        let (rows, room) = (batch + more[0], at + 1 + more[1]);
        let window = (window > 0).then_some(window);
        let first: Vec<usize> = (0..batch).map(|row| (seed as usize >> row) % (at + 1)).collect();
        let mask = CausalMask { seq: 1, first: first.clone(), window, documents: None };
        let new = [tensor([batch, n_kv * group, 1, d], seed), tensor([batch, n_kv, 1, d], seed ^ 1),
                   tensor([batch, n_kv, 1, d], seed ^ 2)];
        let cache = [tensor([rows, n_kv, room, d], seed ^ 3), tensor([rows, n_kv, room, d], seed ^ 4)];
        let scale = 1.0 / (d as f64).sqrt();
        let (a, kept) = kernels::cached_attention(new.clone(), cache.clone(), at, scale, &mask);
        let (b, twin) = portable::cached_attention(new.clone(), cache.clone(), at, scale, &mask);
        let bits = |x: Tensor<4>| -> Vec<f32> { x.into_data().try_to_vec().unwrap() };
        for (kept, twin) in kept.into_iter().zip(twin) {
            prop_assert_eq!(bits(kept), bits(twin));
        }
        let a = bits(a);
        prop_assert!(apart(Tensor::<1>::from_data(&a[..], &device()), b.reshape([-1])) < TOLERANCE);
        // One row alone, moved to the front of its cache.
        let (row, start) = (batch - 1, first[batch - 1]);
        let alone = new.map(|x| x.narrow(0, row, 1));
        let moved = cache.map(|x| x.slice([row..row + 1, 0..n_kv, start..room, 0..d]));
        let mask = CausalMask { first: vec![0], ..mask };
        let (one, _) = kernels::cached_attention(alone, moved, at - start, scale, &mask);
        prop_assert_eq!(bits(one), &a[row * n_kv * group * d..]);
    }

    #[test]
    fn linear(tokens in 1usize..40, d_in in 1usize..200, d_out in 1usize..120, dtype in 0usize..3, seed: u64) {
        let dtype = [DType::F32, DType::BF16, DType::F16][dtype];
        let (x, w) = (tensor([tokens, d_in], seed), tensor([d_out, d_in], seed ^ 1).cast(dtype));
        let run = |f: fn(Tensor<2>, &Tensor<2>) -> Tensor<2>| {
            with_gradients(std::slice::from_ref(&x), |x: &[Tensor<2>]| f(x[0].clone(), &w))
        };
        let ((a, da), (b, db)) = (run(kernels::linear), run(portable::linear));
        prop_assert!(apart(a, b) < TOLERANCE);
        prop_assert!(apart(da[0].clone(), db[0].clone()) < TOLERANCE);
    }

    #[test]
    fn linear_pull_back(tokens in 1usize..40, d_in in 1usize..200, d_out in 1usize..120, dtype in 0usize..3, seed: u64) {
        let dtype = [DType::F32, DType::BF16, DType::F16][dtype];
        let (grad, w) = (tensor([tokens, d_out], seed), tensor([d_out, d_in], seed ^ 1).cast(dtype));
        let a = kernels::linear_pull_back(grad.clone(), &w);
        prop_assert!(apart(a, portable::linear_pull_back(grad, &w)) < TOLERANCE);
    }

    /// A tracked weight in 16 bits has its gradient in f32.
    #[test]
    fn a_tracked_weight_in_16_bits(tokens in 1usize..40, d_in in 1usize..60, d_out in 1usize..60, seed: u64) {
        let x = tensor([tokens, d_in], seed);
        let w = tensor([d_out, d_in], seed ^ 1).cast(DType::BF16);
        let leaf = w.clone().autodiff().require_grad();
        let mut grads = (kernels::linear(x.clone().autodiff(), &leaf).square() * 0.5).sum().backward();
        let found = leaf.grad_remove(&mut grads).unwrap();
        prop_assert_eq!(found.dtype(), DType::F32);
        let (_, expected) =
            with_gradients(&[w.cast(DType::F32)], |w: &[Tensor<2>]| portable::linear(x.clone().autodiff(), &w[0]));
        prop_assert!(apart(found, expected[0].clone()) < TOLERANCE);
    }

    #[test]
    fn a_tracked_weight_of_a_few_tokens(tokens in 1usize..12, d_in in 1usize..40, d_out in 1usize..40, seed: u64) {
        let inputs = [tensor([tokens, d_in], seed), tensor([d_out, d_in], seed ^ 1)];
        let run = |f: fn(Tensor<2>, &Tensor<2>) -> Tensor<2>| {
            with_gradients(&inputs, |x: &[Tensor<2>]| f(x[0].clone(), &x[1]))
        };
        let ((a, da), (b, db)) = (run(kernels::linear), run(portable::linear));
        prop_assert!(apart(a, b) < TOLERANCE);
        prop_assert!(da.into_iter().zip(db).all(|(a, b)| apart(a, b) < TOLERANCE));
    }

    /// Products of several blocks of inputs, of weights (which backward adds up) and of tokens.
    #[test]
    fn linear_pulled_back_to_its_weight(tokens in 1usize..200, d_in in 1usize..90, d_out in 1usize..120, seed: u64) {
        let (grad, x) = (tensor([tokens, d_out], seed), tensor([tokens, d_in], seed ^ 1));
        let ours = kernels::linear_pull_back_weight(grad.clone(), x.clone());
        prop_assert!(apart(ours, portable::linear_pull_back_weight(grad, x)) < TOLERANCE);
    }

    #[test]
    fn linear_in_several_blocks(dtype in 0usize..3, long: bool, seed: u64) {
        let dtype = [DType::F32, DType::BF16, DType::F16][dtype];
        // More inputs than one depth and weights than one block, or more tokens than are multiplied at a time.
        let [tokens, d_in, d_out] = if long { [1030, 20, 50] } else { [14, 700, 1600] };
        let (x, w) = (tensor([tokens, d_in], seed), tensor([d_out, d_in], seed ^ 1).cast(dtype));
        let run = |f: fn(Tensor<2>, &Tensor<2>) -> Tensor<2>| {
            with_gradients(std::slice::from_ref(&x), |x: &[Tensor<2>]| f(x[0].clone(), &w))
        };
        let ((a, da), (b, db)) = (run(kernels::linear), run(portable::linear));
        prop_assert!(apart(a, b) < TOLERANCE);
        // Sums of 6,000 terms: 6000 * 6e-8 at worst, and the square root of that in practice.
        prop_assert!(apart(da[0].clone(), db[0].clone()) < 10.0 * TOLERANCE);
    }

    /// The result for a token does not depend on how many other tokens are decoded beside it.
    #[test]
    fn tokens_do_not_depend_on_each_other(tokens in 1usize..40, d_in in 1usize..200, seed: u64) {
        let (x, w) = (tensor([tokens, d_in], seed), tensor([50, d_in], seed ^ 1));
        let all: Vec<f32> = kernels::linear_by_token(x.clone(), &w).into_data().try_to_vec().unwrap();
        for t in 0..tokens {
            let one = x.clone().slice([t..t + 1, 0..d_in]);
            let one: Vec<f32> = kernels::linear_by_token(one, &w).into_data().try_to_vec().unwrap();
            prop_assert_eq!(&one[..], &all[t * 50..(t + 1) * 50]);
        }
    }

    #[test]
    fn rms_norm(rows in 1usize..70, width in 1usize..200, seed: u64) {
        let (x, w) = (tensor([rows, width], seed), tensor([width], seed ^ 1));
        let run = |f: fn(Tensor<2>, Tensor<1>, f64) -> Tensor<2>| {
            let leaf = w.clone().autodiff().require_grad();
            let x = x.clone().autodiff().require_grad();
            let out = f(x.clone(), leaf.clone(), 1e-5);
            let grads = (out.clone().square() * 0.5).sum().backward();
            (out.inner(), x.grad(&grads).unwrap(), leaf.grad(&grads).unwrap())
        };
        let (a, b) = (run(kernels::rms_norm), run(portable::rms_norm));
        // The input's gradient is a difference of two terms of size |out w| / rms, which cancel in narrow rows:
        // rounding is relative to them, not to what is left.
        let rms = (x.clone().square().mean_dim(1) + 1e-5).sqrt();
        let term = (a.0.clone() * w.clone().unsqueeze() / rms).abs().max().into_scalar::<f32>();
        let off = (a.1 - b.1).abs().max().into_scalar::<f32>();
        prop_assert!(off < TOLERANCE * term.max(1e-6), "{off} beside terms of {term}");
        prop_assert!(apart(a.0, b.0) < TOLERANCE);
        prop_assert!(apart(a.2, b.2) < TOLERANCE);
    }

    #[test]
    fn rms_norm_pull_back(batch in 1usize..3, heads in 1usize..4, seq in 1usize..6, width in 2usize..100, seed: u64) {
        let (x, w) = (tensor([batch, seq, width], seed), tensor([width], seed ^ 1));
        let grad = tensor([batch, heads, seq, width], seed ^ 2);
        let a = kernels::rms_norm_pull_back(x.clone(), w.clone(), grad.clone(), 1e-5);
        let b = portable::rms_norm_pull_back(x.clone(), w.clone(), grad.clone(), 1e-5);
        prop_assert!(apart(a.clone(), b) < 10.0 * TOLERANCE);
        // And against burn's own gradient of the portable norm, one head at a time.
        for h in 0..heads {
            let g = grad.clone().slice([0..batch, h..h + 1, 0..seq, 0..width]).reshape([batch, seq, width]);
            let leaf = x.clone().autodiff().require_grad();
            let grads = (portable::rms_norm(leaf.clone(), w.clone(), 1e-5) * g).sum().backward();
            let mine = a.clone().slice([0..batch, h..h + 1, 0..seq, 0..width]).reshape([batch, seq, width]);
            prop_assert!(apart(mine, leaf.grad(&grads).unwrap()) < 10.0 * TOLERANCE);
        }
    }

    #[test]
    fn swiglu(n in 1usize..3000, seed: u64) {
        let inputs = [tensor([n], seed) * 8.0, tensor([n], seed ^ 1)];
        let a = with_gradients(&inputs, |x| kernels::swiglu(x[0].clone(), x[1].clone()));
        let b = with_gradients(&inputs, |x| portable::swiglu(x[0].clone(), x[1].clone()));
        prop_assert!(apart(a.0, b.0) < TOLERANCE);
        for (a, b) in a.1.into_iter().zip(b.1) {
            prop_assert!(apart(a, b) < TOLERANCE);
        }
    }

    #[test]
    fn causal_softmax(
        batch in 1usize..3, heads in 1usize..3, group in 1usize..3, seq in 1usize..8, past in 0usize..40,
        pad in 0usize..6, window in proptest::option::of(1usize..10), seed: u64,
    ) {
        let kv_seq = seq + past;
        let first: Vec<usize> = (0..batch).map(|b| if b == 0 { pad.min(kv_seq - 1) } else { 0 }).collect();
        let mask = CausalMask { seq, first, window, documents: None };
        let scores = [tensor([batch, heads, group * seq, kv_seq], seed) * 5.0];
        let a = with_gradients(&scores, |x| kernels::causal_softmax(x[0].clone(), 0.3, &mask));
        let b = with_gradients(&scores, |x| portable::causal_softmax(x[0].clone(), 0.3, &mask));
        prop_assert!(apart(a.0.clone(), b.0) < TOLERANCE);
        prop_assert!(apart(a.1[0].clone(), b.1[0].clone()) < TOLERANCE);
        // Rows sum to one, or to zero where nothing is visible.
        let sums: Vec<f32> = a.0.sum_dim(3).into_data().try_to_vec().unwrap();
        for (i, sum) in sums.into_iter().enumerate() {
            let row = i / (heads * group * seq);
            let empty = mask.visible(row, i % seq, kv_seq).is_empty();
            let expected = if empty { 0.0 } else { 1.0 };
            prop_assert!((sum - expected).abs() < 1e-5);
        }
    }

    /// Documents of one token up to several blocks of queries, with and without padding behind the last.
    #[test]
    fn document_attention(
        n_kv in 1usize..3, group in 1usize..4, half in 1usize..9, window in proptest::option::of(1usize..90),
        lengths in prop::collection::vec(prop::collection::vec(1usize..90, 1..5), 1..3), pad in 0usize..4, seed: u64,
    ) {
        let ends = |row: &Vec<usize>| row.iter().scan(0, |end, n| { *end += n; Some(*end) }).collect();
        let documents: Vec<Vec<usize>> = lengths.iter().map(ends).collect();
        let (batch, d) = (documents.len(), 2 * half);
        let seq = documents.iter().filter_map(|ends| ends.last()).max().unwrap() + pad;
        let mask = CausalMask { seq, first: vec![0; batch], window, documents: Some(documents.clone()) };
        // Permuted views, as the model makes them.
        let made = |heads: usize, seed: u64| tensor([batch, seq, heads, d], seed).swap_dims(1, 2);
        let inputs = [made(n_kv * group, seed), made(n_kv, seed ^ 1), made(n_kv, seed ^ 2)];
        let run = |f: fn([Tensor<4>; 3], f64, &CausalMask) -> Tensor<4>| {
            with_gradients(&inputs, |x| f([x[0].clone(), x[1].clone(), x[2].clone()], 0.4, &mask))
        };
        let ((a, da), (b, db)) = (run(kernels::document_attention), run(portable::document_attention));
        prop_assert!(apart(a, b) < TOLERANCE);
        for (a, b) in da.into_iter().zip(db) {
            prop_assert!(apart(a, b) < 4.0 * TOLERANCE);
        }
        // The mask itself: a key is seen by the queries of its document that come after it.
        let document = |row: usize, at: usize| documents[row].iter().position(|&end| at < end);
        for row in 0..batch {
            for query in 0..seq {
                let seen: Vec<usize> = (0..=query).filter(|&key| {
                    document(row, query).is_some() && document(row, key) == document(row, query)
                        && window.is_none_or(|w| query - key < w)
                }).collect();
                prop_assert_eq!(mask.visible(row, query, seq).collect::<Vec<_>>(), seen);
            }
        }
    }

    /// Rows that are not packed: up to several blocks of queries, behind padding.
    #[test]
    fn attention_of_whole_rows(
        n_kv in 1usize..3, group in 1usize..4, half in 1usize..9, window in proptest::option::of(1usize..90),
        first in prop::collection::vec(0usize..150, 1..4), seq in 1usize..150, seed: u64,
    ) {
        let (batch, d) = (first.len(), 2 * half);
        let first: Vec<usize> = first.into_iter().map(|first| first % (seq + 1)).collect();
        let mask = CausalMask { seq, first, window, documents: None };
        let made = |heads: usize, seed: u64| tensor([batch, seq, heads, d], seed).swap_dims(1, 2);
        let inputs = [made(n_kv * group, seed), made(n_kv, seed ^ 1), made(n_kv, seed ^ 2)];
        let run = |f: fn([Tensor<4>; 3], f64, &CausalMask) -> Tensor<4>| {
            with_gradients(&inputs, |x| f([x[0].clone(), x[1].clone(), x[2].clone()], 0.4, &mask))
        };
        let ((a, da), (b, db)) = (run(kernels::document_attention), run(portable::document_attention));
        prop_assert!(apart(a, b) < TOLERANCE);
        for (a, b) in da.into_iter().zip(db) {
            prop_assert!(apart(a, b) < 4.0 * TOLERANCE);
        }
    }

    #[test]
    fn rotary(batch in 1usize..3, heads in 1usize..4, seq in 1usize..9, half in 1usize..40, seed: u64) {
        let angles = tensor([batch, seq, half], seed ^ 1) * 3.0;
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        // A permuted view, as the model makes it.
        let x = [tensor([batch, seq, heads, 2 * half], seed).swap_dims(1, 2)];
        let a = with_gradients(&x, |x| kernels::rotary(x[0].clone(), cos.clone(), sin.clone()));
        let b = with_gradients(&x, |x| portable::rotary(x[0].clone(), cos.clone(), sin.clone()));
        prop_assert!(apart(a.0, b.0) < TOLERANCE);
        prop_assert!(apart(a.1[0].clone(), b.1[0].clone()) < TOLERANCE);
    }

    #[test]
    fn dropout(batch in 1usize..4, seq in 1usize..9, width in 1usize..90, p in 0.0f64..0.95, seed: u64) {
        let x = [tensor([batch, seq, width], seed)];
        let how = Dropout { p, keys: (0..batch as u64).map(|row| seed.rotate_left(9) ^ row).collect() };
        let a = with_gradients(&x, |x| kernels::dropout(x[0].clone(), &how));
        let b = with_gradients(&x, |x| portable::dropout(x[0].clone(), &how));
        prop_assert_eq!(a.0.into_data(), b.0.into_data());
        prop_assert_eq!(a.1[0].clone().into_data(), b.1[0].clone().into_data());
    }

    #[test]
    fn token_log_probs(rows in 1usize..6, vocab in 1usize..9000, scale in 0.2f64..3.0, seed: u64) {
        let logits = [tensor([rows, vocab], seed) * 6.0];
        let tokens: Vec<u32> = (0..rows).map(|r| ((seed as usize).wrapping_add(r * 31) % vocab) as u32).collect();
        let a = with_gradients(&logits, |x| kernels::token_log_probs(x[0].clone(), &tokens, scale));
        let b = with_gradients(&logits, |x| portable::token_log_probs(x[0].clone(), &tokens, scale));
        prop_assert!(apart(a.0, b.0) < TOLERANCE);
        prop_assert!(apart(a.1[0].clone(), b.1[0].clone()) < 4.0 * TOLERANCE);
    }

    #[test]
    fn token_stats(rows in 1usize..6, vocab in 1usize..9000, scale in 0.2f64..3.0, seed: u64) {
        let logits = tensor([rows, vocab], seed) * 6.0;
        let tokens: Vec<u32> = (0..rows).map(|r| ((seed as usize).wrapping_add(r * 31) % vocab) as u32).collect();
        let numbers = values(3 * rows, seed ^ 7);
        let weights: Vec<TokenWeights> = (0..rows)
            .map(|r| TokenWeights {
                log_prob: numbers[3 * r],
                entropy: if r == 0 { 0.0 } else { numbers[3 * r + 1] },
                mean_log_prob: numbers[3 * r + 2],
            })
            .collect();
        let (stats, grad) = kernels::token_stats_backward(logits.clone(), &tokens, &weights, scale);
        let (twin, twin_grad) = portable::token_stats_backward(logits.clone(), &tokens, &weights, scale);
        let (again, same_logits) = kernels::token_stats(logits.clone(), &tokens, scale);
        prop_assert_eq!(&stats, &again);
        prop_assert_eq!(same_logits.into_data(), logits.clone().into_data());
        let log_probs: Vec<f32> =
            kernels::token_log_probs(logits, &tokens, scale).into_data().try_to_vec().unwrap();
        for ((a, b), log_prob) in stats.iter().zip(&twin).zip(log_probs) {
            prop_assert_eq!(a.log_prob, log_prob);
            // Log-probabilities of at most 40 nats, each within two units in the last place.
            prop_assert!((a.log_prob - b.log_prob).abs() < 1e-4);
            prop_assert!((a.entropy - b.entropy).abs() < 1e-4);
            prop_assert!((a.mean_log_prob - b.mean_log_prob).abs() < 1e-4);
            prop_assert_eq!(a.correct, b.correct);
        }
        prop_assert!(apart(grad, twin_grad) < 4.0 * TOLERANCE);
    }
}

/// Rows with a certain token, with equal logits and with ids that a sampler has ruled out.
#[test]
fn token_stats_at_the_edges() {
    let inf = f32::INFINITY;
    let rows =
        [[90.0f32, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [2.0, -inf, 2.0, -inf], [0.0, f32::NAN, 1.0, 2.0]];
    let logits = Tensor::<2>::from_data(rows, &device());
    let weights = [TokenWeights { log_prob: 0.0, entropy: 1.0, mean_log_prob: 0.0 }; 4];
    let (stats, grad) = kernels::token_stats_backward(logits, &[0, 1, 0, 3], &weights, 1.0);
    let grad: Vec<f32> = grad.into_data().try_to_vec().unwrap();
    assert_eq!((stats[0].log_prob, stats[0].entropy, stats[0].correct), (0.0, 0.0, true));
    // Of equal logits the first is the prediction, as torch's argmax has it.
    assert!((stats[1].entropy - 4f32.ln()).abs() < 1e-6 && !stats[1].correct);
    assert!((stats[2].entropy - 2f32.ln()).abs() < 1e-6 && stats[2].correct);
    assert_eq!(stats[2].mean_log_prob, -inf);
    assert!(stats[3].log_prob.is_nan() && stats[3].entropy.is_nan());
    // The entropy is largest where all are equal, and no change of a ruled-out logit changes it.
    assert!(grad[..12].iter().all(|g| g.abs() < 1e-6), "{grad:?}");
}

/// Gradients against central differences of the statistics, in f64 from their formulas.
#[test]
fn token_stats_have_the_gradients_of_central_differences() {
    let (vocab, token, scale) = (7, 3, 0.7);
    let start: Vec<f64> = values(vocab, 5).iter().map(|&x| f64::from(x)).collect();
    let w = TokenWeights { log_prob: 0.5, entropy: -1.25, mean_log_prob: 2.0 };
    let objective = |x: &[f64]| {
        let log_z = x.iter().map(|x| (x * scale).exp()).sum::<f64>().ln();
        let log_p: Vec<f64> = x.iter().map(|x| x * scale - log_z).collect();
        let entropy: f64 = log_p.iter().map(|l| -l * l.exp()).sum();
        let mean = log_p.iter().sum::<f64>() / vocab as f64;
        f64::from(w.log_prob) * log_p[token]
            + f64::from(w.entropy) * entropy
            + f64::from(w.mean_log_prob) * mean
    };
    let row: Vec<f32> = start.iter().map(|&x| x as f32).collect();
    let logits = Tensor::<2>::from_data(TensorData::new(row, [1, vocab]), &device());
    let (_, grad) = kernels::token_stats_backward(logits, &[token as u32], &[w], scale);
    let grad: Vec<f32> = grad.into_data().try_to_vec().unwrap();
    for (i, &found) in grad.iter().enumerate() {
        let at = |h: f64| {
            let mut x = start.clone();
            x[i] += h;
            objective(&x)
        };
        let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((f64::from(found) - expected).abs() < 2e-6, "{i}: {found} {expected}");
    }
}

#[test]
fn large_inputs_take_the_threaded_path_and_agree() {
    let (gate, up) = (tensor([300, 500], 1), tensor([300, 500], 2));
    assert!(apart(kernels::swiglu(gate.clone(), up.clone()), portable::swiglu(gate.clone(), up)) < TOLERANCE);
    let weight = tensor([500], 3);
    let fused = kernels::rms_norm(gate.clone(), weight.clone(), 1e-6);
    assert!(apart(fused, portable::rms_norm(gate, weight, 1e-6)) < 3.0 * TOLERANCE);
}

#[test]
fn extreme_scores_stay_finite() {
    let scores =
        Tensor::<4>::from_data(TensorData::new(vec![1e30f32, -1e30, 0.0, 3e38], [1, 1, 1, 4]), &device());
    let mask = CausalMask { seq: 1, first: vec![0], window: None, documents: None };
    let p: Vec<f32> = kernels::causal_softmax(scores, 1.0, &mask).into_data().try_to_vec().unwrap();
    assert_eq!(p, [0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn the_optimiser_step_is_its_twin() {
    for n in [1, 7, 100_003] {
        let how =
            kernels::AdamW { lr: 1e-2, betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0.1, t: 3, scale: 0.7 };
        let (w, g, m) = (tensor([n], 1), tensor([n], 2), tensor([n], 3));
        let v = tensor([n], 4).square();
        let (w1, [m1, v1]) = kernels::adamw(w.clone(), g.clone(), [m.clone(), v.clone()], &how);
        let (w2, [m2, v2]) = portable::adamw(w.clone(), g.clone(), [m, v], &how);
        for (a, b) in [(w1, w2), (m1, m2), (v1, v2)] {
            assert!(apart(a, b) < 1e-6);
        }
        let (sum, same) = kernels::sum_of_squares(g.clone());
        let expected: f64 = same.into_data().iter::<f64>().map(|x| x * x).sum();
        assert!((sum - expected).abs() < 1e-12 * expected);
    }
}

/// Which values of rows of ones are kept.
fn kept(p: f64, keys: &[u64], [seq, width]: [usize; 2]) -> Vec<bool> {
    let how = Dropout { p, keys: keys.to_vec() };
    let ones = Tensor::<3>::ones([keys.len(), seq, width], &device());
    let values: Vec<f32> = kernels::dropout(ones, &how).into_data().try_to_vec().unwrap();
    let keep = (1.0 / (1.0 - p)) as f32;
    assert!(values.iter().all(|&x| x == 0.0 || x == keep));
    values.into_iter().map(|x| x > 0.0).collect()
}

#[test]
fn dropped_values_are_as_many_as_asked_for_and_independent() {
    let shape = [500, 400];
    let n = (shape[0] * shape[1]) as f64;
    for p in [0.05, 0.3, 0.5, 0.9] {
        let rows = kept(p, &[1, 2, 1 << 40, 0xdead_beef_0123_4567], shape);
        let rows: Vec<&[bool]> = rows.chunks(shape[0] * shape[1]).collect();
        // Five standard errors of a proportion; of four proportions and ten pairs one exceeds them in 1e5 runs.
        let within = |found: f64, expected: f64| {
            let bound = 5.0 * (expected * (1.0 - expected) / n).sqrt();
            assert!((found / n - expected).abs() < bound, "p {p}: {} {expected}", found / n);
        };
        let count = |of: &dyn Fn(usize) -> bool| (0..n as usize).filter(|&i| of(i)).count() as f64;
        let both = (1.0 - p) * (1.0 - p);
        for (at, row) in rows.iter().enumerate() {
            within(count(&|i| row[i]), 1.0 - p);
            // Neighbours, features of neighbouring positions, rows.
            within(count(&|i| row[i] && row[(i + 1) % row.len()]), both);
            within(count(&|i| row[i] && row[(i + shape[1]) % row.len()]), both);
            for other in &rows[at + 1..] {
                within(count(&|i| row[i] && other[i]), both);
            }
        }
    }
    // A row's mask depends on its key alone, not on its place in the batch or on the rows' length.
    let (a, b) = (kept(0.4, &[7, 8], [6, 10]), kept(0.4, &[8], [9, 10]));
    assert_eq!(a[60..], b[..60]);
}
