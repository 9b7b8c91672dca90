//! Exact gradients: policies of a few probabilities, whose expected reward and divergence are sums.
#![allow(clippy::unwrap_used)]

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use posttrain_grpo::{
    Advantage, GrpoConfig, KlEstimator, LossConfig, LossInputs, LossKind, Whole, advantages, loss,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    logits.iter().map(|x| x.exp() / sum).collect()
}

/// A sum over tokens: what has the expected reward's gradient.
fn sum(n: usize) -> LossConfig {
    let whole = Whole { sequences: n as f64, tokens: n as f64, kept: n as f64 };
    let config = GrpoConfig { loss: LossKind::Bnpo, ..GrpoConfig::default() };
    LossConfig { whole: Some(whole), ..LossConfig::from(&config) }
}

/// The table of docs/METHODS.md: the expectation over all tokens of each estimator's gradient.
#[test]
fn which_estimator_has_the_gradient_of_the_divergence() {
    let (p, q) = (softmax(&[0.3, -1.0, 1.2, 0.0]), softmax(&[-0.2, 0.5, 0.1, -1.5]));
    let kl: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
    let exact: Vec<f64> = p.iter().zip(&q).map(|(p, q)| p * ((p / q).ln() - kl)).collect();
    let reverse: Vec<f64> = p.iter().zip(&q).map(|(p, q)| p - q).collect();
    let expected = |kind: KlEstimator, ratio: bool| -> Vec<f64> {
        let logs = |x: &[f64]| x.iter().map(|x| x.ln()).collect::<Vec<_>>();
        let logp = tensor(&logs(&p), [4, 1]).autodiff().require_grad();
        let inputs = LossInputs {
            logp: logp.clone(),
            old: Some(tensor(&logs(&p), [4, 1])),
            reference: Some(tensor(&logs(&q), [4, 1])),
            entropy: None,
            advantages: tensor(&[0.0; 4], [4]),
            mask: tensor(&[1.0; 4], [4, 1]),
            sampler: None,
        };
        let how = LossConfig { beta: 1.0, kl: kind, kl_ratio: ratio, ..sum(1) };
        let grads = loss(&inputs, &how).0.backward();
        let to_logp = host(logp.grad(&grads).unwrap());
        let weighted: Vec<f64> = to_logp.iter().zip(&p).map(|(g, p)| g * p).collect();
        let all: f64 = weighted.iter().sum();
        weighted.iter().zip(&p).map(|(w, p)| w - p * all).collect()
    };
    let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(same(&expected(KlEstimator::K1, false), &[0.0; 4]));
    assert!(same(&expected(KlEstimator::K1, true), &exact));
    assert!(same(&expected(KlEstimator::K2, false), &exact));
    assert!(!same(&expected(KlEstimator::K2, true), &exact));
    assert!(same(&expected(KlEstimator::K3, false), &reverse));
    assert!(same(&expected(KlEstimator::K3, true), &exact));
}

/// A bandit `softmax(x)` with reward r: the gradient of the expected reward J is `p (r - J)`. With one left out the
/// estimator has that mean; less the group's mean it has `1 - 1/G` of it.
#[test]
fn a_bandits_gradient_is_unbiased_over_many_seeds() {
    const G: usize = 4;
    let (logits, rewards) = ([0.4, -0.3, 0.1, 0.9], [1.0, 0.0, 0.3, -0.5]);
    let p = softmax(&logits);
    let mean: f64 = p.iter().zip(rewards).map(|(p, r)| p * r).sum();
    for (kind, factor) in [(Advantage::LeaveOneOut, 1.0), (Advantage::None, 1.0 - 1.0 / G as f64)] {
        let n = 3000;
        let (mut sums, mut squares) = ([0.0; 4], [0.0; 4]);
        for seed in 0..n {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let draw = |_| {
                let u: f64 = random.random();
                (0..3).find(|&v| u < p[..=v].iter().sum::<f64>()).unwrap_or(3)
            };
            let actions: Vec<usize> = (0..G).map(draw).collect();
            let logp: Vec<f64> = actions.iter().map(|&v| p[v].ln()).collect();
            let logp = tensor(&logp, [G, 1]).autodiff().require_grad();
            let given: Vec<f32> = actions.iter().map(|&v| rewards[v] as f32).collect();
            let a: Vec<f64> = advantages(&given, G, kind).into_iter().map(f64::from).collect();
            let mask = tensor(&[1.0; G], [G, 1]);
            let (reference, entropy, old) = (None, None, None);
            let inputs = LossInputs {
                logp: logp.clone(),
                old,
                reference,
                entropy,
                advantages: tensor(&a, [G]),
                mask,
                sampler: None,
            };
            let grads = loss(&inputs, &sum(G)).0.backward();
            let to_logp = host(logp.grad(&grads).unwrap());
            for v in 0..4 {
                // d logp(a) / d x(v) is [a = v] - p(v); the loss is minus the reward.
                let at = |i: usize| f64::from(u8::from(actions[i] == v)) - p[v];
                let gradient: f64 = -(0..G).map(|i| to_logp[i] * at(i)).sum::<f64>();
                sums[v] += gradient;
                squares[v] += gradient * gradient;
            }
        }
        for v in 0..4 {
            let found = sums[v] / n as f64;
            let error = ((squares[v] / n as f64 - found * found) / n as f64).sqrt();
            let expected = factor * p[v] * (rewards[v] - mean);
            // 4 standard errors: one chance in 2,000 over the eight comparisons; the seeds are fixed.
            assert!((found - expected).abs() < 4.0 * error, "{kind:?} {v}: {found} ± {error}, {expected}");
        }
    }
}

/// Sequences of two tokens at most, of which 0 ends one: `0`, `a 0`, `a b`.
const SEQUENCES: [[usize; 2]; 7] = [[0, 0], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]];
const REWARDS: [f64; 7] = [0.2, 1.0, 0.0, 0.5, -0.3, 0.7, 0.1];

fn length(sequence: usize) -> usize {
    if SEQUENCES[sequence][0] == 0 { 1 } else { 2 }
}

/// The expectation over all groups of the estimator's gradient, enumerated, is that of the expected reward.
#[test]
fn a_model_of_two_tokens_has_the_gradient_of_its_expected_reward() {
    const G: usize = 2;
    let first = [0.3, -0.2, 0.5];
    let second = [[0.1, 0.9, -0.4], [0.7, -0.6, 0.2]];
    let flat: Vec<f64> = first.iter().chain(second.iter().flatten()).copied().collect();
    let parameters = || tensor(&flat, [3, 3]).autodiff().require_grad();
    // Rows of the table: the first token, the second after 1, the second after 2.
    let logp = |x: &Tensor<2>, sequences: &[usize]| -> Tensor<2> {
        let table = log_softmax(x.clone(), 1);
        let cell = |row: usize, column: usize| table.clone().slice([row..row + 1, column..column + 1]);
        let row = |&s: &usize| {
            let [a, b] = SEQUENCES[s];
            Tensor::cat(vec![cell(0, a), if a == 0 { cell(0, 0) * 0.0 } else { cell(a, b) }], 1)
        };
        Tensor::cat(sequences.iter().map(row).collect(), 0)
    };
    let x = parameters();
    let all: Vec<usize> = (0..7).collect();
    let p = logp(&x, &all).sum_dim(1).exp();
    let expected_reward = (p.clone() * tensor(&REWARDS, [7, 1]).autodiff()).sum();
    let probabilities = host(p);
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    let exact = host(x.grad(&expected_reward.backward()).unwrap());

    for (kind, factor) in [(Advantage::LeaveOneOut, 1.0), (Advantage::None, 0.5)] {
        let mut mean = vec![0.0; 9];
        for group in (0..49).map(|at| [at / 7, at % 7]) {
            let x = parameters();
            let given: Vec<f32> = group.iter().map(|&s| REWARDS[s] as f32).collect();
            let a: Vec<f64> = advantages(&given, G, kind).into_iter().map(f64::from).collect();
            let mask: Vec<f64> = group.iter().flat_map(|&s| [1.0, (length(s) - 1) as f64]).collect();
            let inputs = LossInputs {
                logp: logp(&x, &group),
                old: None,
                reference: None,
                entropy: None,
                advantages: tensor(&a, [G]),
                mask: tensor(&mask, [G, 2]),
                sampler: None,
            };
            // The divisor does not depend on the lengths.
            let how = LossConfig { kind: LossKind::DrGrpo, max_tokens: 1, ..sum(G) };
            let gradient = host(x.grad(&loss(&inputs, &how).0.backward()).unwrap());
            let weight: f64 = group.iter().map(|&s| probabilities[s]).product();
            mean.iter_mut().zip(gradient).for_each(|(m, g)| *m -= weight * g);
        }
        for (found, expected) in mean.iter().zip(&exact) {
            // f32 sums of 49 terms below 1.
            assert!((found - factor * expected).abs() < 1e-6, "{kind:?}: {mean:?} {exact:?}");
        }
    }
}
