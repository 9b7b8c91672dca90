//! Attribution, selection and evaluation of circuits, on the demo shape.
#![allow(missing_docs)]

use std::hint::black_box;

use ablation::Baseline;
use attribution::{Endpoint, Method, Options, attribute};
use benches::{demo, pair};
use circuits::{Circuit, Rank, Selection, faithfulness};
use criterion::{Criterion, criterion_group, criterion_main};
use hooks::{EdgeMap, HookedModel as _, KeyValue, Metric, Pairs, Task, Wiring};

fn attribution(c: &mut Criterion) {
    let (model, pair) = (demo(), pair(64));
    let pairs = Pairs::new(vec![pair]).expect("a pair");
    let task = Task::new(&model, &pairs, Metric::LogitDiff);
    let score = |method| attribute(&task, method, Options::default());
    c.bench_function("EAP, 6,637 edges, 64 tokens", |b| b.iter(|| black_box(score(Method::Eap))));
    let ig = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Left };
    c.bench_function("EAP-IG inputs, 5 steps", |b| b.iter(|| black_box(score(ig))));
}

/// The graph of Qwen2.5-0.5B.
fn selection(c: &mut Criterion) {
    let wiring =
        Wiring { n_layers: 24, n_heads: 14, n_kv_heads: 2, d_model: 896, key_value: KeyValue::Ungrouped };
    let values = (0..wiring.n_edges()).map(|i| ((i * 2_654_435_761) % 1_000_003) as f32 - 5e5).collect();
    let scores = EdgeMap::from_values(wiring, values);
    c.bench_function("top 4,000 of 179,749 edges", |b| {
        b.iter(|| black_box(Circuit::top(&scores, 4000)));
    });
    c.bench_function("greedy 4,000 of 179,749 edges", |b| {
        b.iter(|| black_box(Circuit::select(&scores, Selection::Greedy(4000), Rank::Absolute)));
    });
    let circuit = Circuit::top(&scores, 4000).expect("scores without NaN");
    c.bench_function("prune 4,000 edges", |b| b.iter(|| black_box(circuit.pruned())));
}

fn evaluation(c: &mut Criterion) {
    let (model, pair) = (demo(), pair(64));
    let pairs = Pairs::new(vec![pair]).expect("a pair");
    let task = Task::new(&model, &pairs, Metric::LogitDiff).batch_size(1);
    let scores = attribute(&task, Method::Eap, Options::default()).expect("scores").mean;
    let circuit = Circuit::top(&scores, 400).expect("scores without NaN").pruned();
    c.bench_function("faithfulness of 400 edges, 64 tokens", |b| {
        b.iter(|| black_box(faithfulness(&task, &circuit, &Baseline::Corrupt)));
    });
    assert_eq!(model.wiring().n_edges(), 6637);
}

criterion_group!(benches, attribution, selection, evaluation);
criterion_main!(benches);
