//! Fused operations and their portable twins, at the sizes of Qwen2.5-0.5B.
#![allow(missing_docs)]

use std::hint::black_box;

use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{TokenWeights, portable};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex())
}

/// Decoding and prefill of an up projection; bytes are those of the weights.
fn projections(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear 896 to 4864");
    for (name, dtype, bytes) in [("f32", DType::F32, 4), ("bf16", DType::BF16, 2)] {
        let weight = random([4864, 896]).cast(dtype);
        group.throughput(Throughput::Bytes(bytes * 896 * 4864));
        for tokens in [1, 8, 128] {
            let x = random([tokens, 896]);
            let id = |twin: &str| BenchmarkId::new(format!("{name} {twin}"), tokens);
            group.bench_function(id("fused"), |b| b.iter(|| black_box(kernels::linear(x.clone(), &weight))));
            group.bench_function(id("portable"), |b| {
                b.iter(|| black_box(portable::linear(x.clone(), &weight)))
            });
        }
    }
    group.finish();
}

fn elementwise(c: &mut Criterion) {
    let mut group = c.benchmark_group("128 tokens");
    let (gate, up) = (random([128, 4864]), random([128, 4864]));
    group.bench_function("swiglu fused", |b| b.iter(|| black_box(kernels::swiglu(gate.clone(), up.clone()))));
    group.bench_function("swiglu portable", |b| {
        b.iter(|| black_box(portable::swiglu(gate.clone(), up.clone())))
    });
    let (x, weight) = (random([128, 896]), random([896]));
    group.bench_function("rms_norm fused", |b| {
        b.iter(|| black_box(kernels::rms_norm(x.clone(), weight.clone(), 1e-6)))
    });
    group.bench_function("rms_norm portable", |b| {
        b.iter(|| black_box(portable::rms_norm(x.clone(), weight.clone(), 1e-6)))
    });
    let mask = kernels::CausalMask { seq: 128, first: vec![0], window: None, documents: None };
    let scores = random([1, 2, 7 * 128, 128]);
    group.bench_function("causal_softmax fused", |b| {
        b.iter(|| black_box(kernels::causal_softmax(scores.clone(), 0.125, &mask)))
    });
    group.bench_function("causal_softmax portable", |b| {
        b.iter(|| black_box(portable::causal_softmax(scores.clone(), 0.125, &mask)))
    });
    group.finish();
}

/// The output layer's softmax in a step of training: log-probabilities alone, and with entropy, mean and argmax.
fn token_statistics(c: &mut Criterion) {
    let (rows, vocab) = (64, 151_936);
    let mut group = c.benchmark_group("64 rows of logits");
    group.throughput(Throughput::Elements(rows as u64 * vocab as u64)).sample_size(20);
    let logits = random([rows, vocab]) * 8.0;
    let tokens: Vec<u32> = (0..rows as u32).collect();
    let weights = vec![TokenWeights::from(-1.0); rows];
    let entropy = vec![TokenWeights { log_prob: -1.0, entropy: 0.1, mean_log_prob: 0.1 }; rows];
    group.bench_function("log-probabilities", |b| {
        b.iter(|| black_box(kernels::token_log_probs(logits.clone(), &tokens, 1.0)))
    });
    group.bench_function("log-probabilities and gradient", |b| {
        b.iter(|| {
            let x = logits.clone().autodiff().require_grad();
            let mut left = kernels::token_log_probs(x.clone(), &tokens, 1.0).sum().neg().backward();
            black_box(x.grad_remove(&mut left))
        })
    });
    // Passed through and not copied, as the trainer does.
    let mut held = Some(random([rows, vocab]) * 8.0);
    group.bench_function("statistics", |b| {
        b.iter(|| {
            let (stats, logits) = kernels::token_stats(held.take().expect("put back"), &tokens, 1.0);
            held = Some(logits);
            black_box(stats)
        })
    });
    for (name, weights) in [("statistics and gradient", &weights), ("with an entropy bonus", &entropy)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || random([rows, vocab]) * 8.0,
                |logits| black_box(kernels::token_stats_backward(logits, &tokens, weights, 1.0)),
                BatchSize::PerIteration,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, projections, elementwise, token_statistics);
criterion_main!(benches);
