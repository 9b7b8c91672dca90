//! Rotary angles, in f32 as `transformers` computes them.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{Config, RopeScaling};

/// Cosines and sines of one pass, each `[batch, seq, d_head / 2]`.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    pub(crate) cos: Tensor<3>,
    pub(crate) sin: Tensor<3>,
}

/// The angle that each pair turns by from one position to the next.
fn frequencies(config: &Config) -> Vec<f32> {
    let half = config.d_head / 2;
    let plain = |i: usize| 1.0 / (config.rope_theta as f32).powf(2.0 * i as f32 / config.d_head as f32);
    (0..half).map(|i| scaled(plain(i), config.rope_scaling)).collect()
}

fn scaled(frequency: f32, scaling: RopeScaling) -> f32 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor as f32,
        // In f32 and in the order of `transformers`, where a number over a tensor is a product with its
        // reciprocal: one rounding more turns a query by 1e-4 at a thousand positions.
        RopeScaling::Llama3 { factor, low, high, original } => {
            let wavelength = frequency.recip() * std::f64::consts::TAU as f32;
            if wavelength < (original / high) as f32 {
                frequency
            } else if wavelength > (original / low) as f32 {
                frequency / factor as f32
            } else {
                let smooth = (wavelength.recip() * original as f32 - low as f32) / (high - low) as f32;
                (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
            }
        }
    }
}

impl Rope {
    /// Angles of `seq` positions starting at `offset`; each row counts from its first real token.
    pub(crate) fn new(config: &Config, first: &[usize], offset: usize, seq: usize, device: &Device) -> Self {
        let (frequencies, half) = (frequencies(config), config.d_head / 2);
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for &first in first {
            for i in 0..seq {
                let position = (offset + i).saturating_sub(first) as f32;
                for &f in &frequencies {
                    let angle = f64::from(position * f);
                    cos.push(angle.cos() as f32);
                    sin.push(angle.sin() as f32);
                }
            }
        }
        let tensor = |values| Tensor::from_data(TensorData::new(values, [first.len(), seq, half]), device);
        Self { cos: tensor(cos), sin: tensor(sin) }
    }
}
