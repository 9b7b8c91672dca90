//! Fused operations and their portable twins, at the sizes of Qwen2.5-0.5B.
#![allow(missing_docs)]

use std::hint::black_box;

use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::portable;

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

criterion_group!(benches, projections, elementwise);
criterion_main!(benches);
