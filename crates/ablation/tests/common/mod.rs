//! A toy model and pairs for it.

use burn::tensor::{Device, Tensor};
use hooks::{Batch, Hook, HookedModel, KeyValue, Pair, Pairs, Rows, Target};
use test_models::{Toy, ToyConfig};

#[allow(dead_code)]
pub(crate) fn toy(seed: u64, key_value: KeyValue) -> Toy {
    Toy::random(seed, ToyConfig { bias: true, ..ToyConfig::default() }, &Device::default()).with(key_value)
}

/// Pairs of unequal lengths.
#[allow(dead_code)]
pub(crate) fn pairs(n: usize) -> Pairs {
    let token = |i: usize, j: usize| ((7 * i + 5 * j + i * j) % 13) as u32;
    let pairs = (0..n).map(|i| {
        let len = 4 + i % 3;
        Pair {
            id: format!("p{i}"),
            clean: (0..len).map(|j| token(i, j)).collect(),
            corrupt: (0..len).map(|j| if j % 2 == 0 { token(i + 3, j + 1) } else { token(i, j) }).collect(),
            target: Target { answers: vec![token(i, 9)], distractors: vec![token(i + 1, 9)] },
            earlier: Vec::new(),
        }
    });
    Pairs::new(pairs.collect()).unwrap()
}

#[allow(dead_code)]
pub(crate) fn batches(pairs: &Pairs) -> (Batch, Batch) {
    let side = |f: fn(&Pair) -> Vec<u32>| {
        Batch::new(&pairs.iter().map(f).collect::<Vec<_>>()).unwrap().rows(Rows::Last)
    };
    (side(|p| p.clean.clone()), side(|p| p.corrupt.clone()))
}

#[allow(dead_code)]
pub(crate) fn run(model: &dyn HookedModel, batch: &Batch, hook: &mut dyn Hook) -> Vec<f32> {
    read(model.run(batch, hook))
}

#[allow(dead_code)]
pub(crate) fn read<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec::<f32>().unwrap()
}

#[allow(dead_code)]
pub(crate) fn largest_gap(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
