//! A forward pass, its activation gradients and decoding, on the demo shape.
#![allow(missing_docs)]

use std::hint::black_box;

use benches::{demo, tokens};
use criterion::{Criterion, criterion_group, criterion_main};
use hooks::{Batch, HookedModel as _, Probe, Rows, Stream};
use model_qwen::{Request, Sampling, generate};

fn forward(c: &mut Criterion) {
    let model = demo();
    let batch = Batch::new(&[tokens(128, 1)]).expect("a batch");
    c.bench_function("forward 1x128, all logits", |b| b.iter(|| black_box(model.run(&batch, &mut ()))));
    let last = batch.rows(Rows::Last);
    c.bench_function("forward and activation gradients 1x128", |b| {
        b.iter(|| {
            let mut probe = Probe::new([Stream::Embed.into()]);
            let logits = model.run(&last, &mut probe);
            let mut grads = logits.sum().backward();
            black_box(probe.stream(Stream::Embed, &mut grads))
        });
    });
}

fn decode(c: &mut Criterion) {
    let model = demo();
    let how = Sampling { max_tokens: 32, ..Sampling::default() };
    for rows in [1, 8] {
        let requests: Vec<Request> = (0..rows)
            .map(|i| Request { prompt: tokens(32, i as u32), stream: i as u64, origin: i })
            .collect();
        c.bench_function(&format!("generate 32 tokens, batch {rows}"), |b| {
            b.iter(|| black_box(generate(&model, &requests, &how, &mut (), |_, _| true)));
        });
    }
}

criterion_group!(benches, forward, decode);
criterion_main!(benches);
