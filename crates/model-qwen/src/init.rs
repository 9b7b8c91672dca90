//! Models with random weights, for training from scratch and for tests.

use std::convert::Infallible;

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::weights::Source;
use crate::{Config, Qwen};

struct Random<'a> {
    rng: ChaCha8Rng,
    std: f64,
    device: &'a Device,
}

impl Random<'_> {
    /// Two independent standard normal numbers (Box and Muller 1958).
    fn normal(&mut self) -> [f64; 2] {
        let (u, v): (f64, f64) = (self.rng.random(), self.rng.random());
        let r = (-2.0 * (1.0 - u).ln()).sqrt();
        [r * (std::f64::consts::TAU * v).cos(), r * (std::f64::consts::TAU * v).sin()]
    }
}

impl Source for Random<'_> {
    type Error = Infallible;

    fn matrix(&mut self, _name: &str, shape: [usize; 2]) -> Result<Tensor<2>, Infallible> {
        let n = shape[0] * shape[1];
        let mut values = Vec::with_capacity(n + 1);
        while values.len() < n {
            values.extend(self.normal().map(|x| (x * self.std) as f32));
        }
        values.truncate(n);
        Ok(Tensor::from_data(TensorData::new(values, shape), self.device))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor<1>, Infallible> {
        let value = if name.ends_with("bias") { 0.0 } else { 1.0 };
        Ok(Tensor::full([len], value, self.device))
    }
}

/// Normal matrices of standard deviation `initializer_range` (0.02 where the configuration has none), norms
/// of one and biases of zero, as `transformers` initialises; the same seed gives the same weights.
pub fn random(config: Config, seed: u64, device: &Device) -> Qwen {
    let std = config.raw["initializer_range"].as_f64().unwrap_or(0.02);
    let mut source = Random { rng: ChaCha8Rng::seed_from_u64(seed), std, device };
    match Qwen::build(config, &mut source) {
        Ok(model) => model,
        Err(never) => match never {},
    }
}
