//! Rotary frequencies and angles, in f32 and in the order of operations of `transformers`: one rounding more turns
//! a query by 1e-4 at a thousand positions.

use std::f32::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};
use hooks::Batch;

use crate::{Config, RopeScaling};

/// Cosines and sines of one pass, each `[batch, seq, d_head / 2]`.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    pub(crate) cos: Tensor<3>,
    pub(crate) sin: Tensor<3>,
}

impl Config {
    /// The angle that each pair of a head's dimensions turns by from one position to the next, `[d_head / 2]`, in
    /// a row of `length` tokens. Only dynamic and longrope scaling depend on the length.
    pub fn rope_frequencies(&self, length: usize) -> Vec<f32> {
        let (half, dim) = (self.d_head / 2, self.d_head as f32);
        let exponents = || (0..half).map(|i| 2.0 * i as f32 / dim);
        let plain = |theta: f32| -> Vec<f32> { exponents().map(|e| 1.0 / theta.powf(e)).collect() };
        let theta = self.rope_theta as f32;
        match &self.rope_scaling {
            RopeScaling::None => plain(theta),
            RopeScaling::Linear { factor } => plain(theta).iter().map(|f| f / *factor as f32).collect(),
            RopeScaling::Dynamic { .. } if length <= self.max_positions => plain(theta),
            RopeScaling::Dynamic { factor } => {
                let (factor, max) = (*factor as f32, self.max_positions as f32);
                let ratio = factor * length as f32 / max - (factor - 1.0);
                plain(theta * ratio.powf((f64::from(dim) / (f64::from(dim) - 2.0)) as f32))
            }
            RopeScaling::Llama3 { factor, low, high, original } => {
                let one = |f: f32| llama3(f, *factor, *low, *high, *original);
                plain(theta).into_iter().map(one).collect()
            }
            RopeScaling::Yarn { factor, .. } => {
                let kept = self.yarn_kept();
                let one = |(e, kept): (f32, f32)| {
                    let p = theta.powf(e);
                    1.0 / (*factor as f32 * p) * (1.0 - kept) + 1.0 / p * kept
                };
                exponents().zip(kept).map(one).collect()
            }
            RopeScaling::LongRope { short, long, original, .. } => {
                let divisors = if length as f64 > *original { long } else { short };
                exponents().zip(divisors).map(|(e, divisor)| 1.0 / (divisor * theta.powf(e))).collect()
            }
        }
    }

    /// For each frequency how much of it YaRN keeps: 1 before the ramp, 0 after it.
    fn yarn_kept(&self) -> Vec<f32> {
        let RopeScaling::Yarn { original, beta_fast, beta_slow, truncate, .. } = &self.rope_scaling else {
            return Vec::new();
        };
        let dim = self.d_head as f64;
        // The dimension whose frequency turns `turns` times in the original context.
        let at = |turns: f64| {
            dim * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * self.rope_theta.ln())
        };
        let (mut low, mut high) = (at(*beta_fast), at(*beta_slow));
        if *truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(dim - 1.0));
        if low == high {
            high += 0.001;
        }
        let ramp = |i: usize| ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        (0..self.d_head / 2).map(|i| 1.0 - ramp(i)).collect()
    }
}

/// A number over a tensor is a product with its reciprocal in `transformers`.
fn llama3(frequency: f32, factor: f64, low: f64, high: f64, original: f64) -> f32 {
    let wavelength = frequency.recip() * TAU;
    if wavelength < (original / high) as f32 {
        frequency
    } else if wavelength > (original / low) as f32 {
        frequency / factor as f32
    } else {
        let smooth = (wavelength.recip() * original as f32 - low as f32) / (high - low) as f32;
        (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
    }
}

impl Rope {
    /// Angles of the batch's positions, which follow `offset` others. Each row counts from its first real token, and
    /// each document of a packed row from its own; frequencies that depend on a length go by the row's or document's.
    pub(crate) fn new(config: &Config, batch: &Batch, offset: usize, device: &Device) -> Self {
        let (seq, rows, half) = (batch.seq(), batch.batch(), config.d_head / 2);
        let scale = config.rope_scaling.attention_factor() as f32;
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let (first, end) = (batch.first()[row], offset + batch.end()[row]);
            let ends = batch.documents().map_or(vec![end], |ends| ends[row].clone());
            let (mut start, mut at) = (first, offset);
            for (document, &end) in ends.iter().enumerate() {
                let frequencies = config.rope_frequencies(end.saturating_sub(start));
                // Padding after the last document goes on with it.
                let until = if document + 1 == ends.len() { offset + seq } else { end };
                for at in at..until {
                    let position = at.saturating_sub(start) as f32;
                    for &f in &frequencies {
                        let angle = f64::from(position * f);
                        cos.push(angle.cos() as f32 * scale);
                        sin.push(angle.sin() as f32 * scale);
                    }
                }
                (start, at) = (end, until);
            }
        }
        let tensor = |values| Tensor::from_data(TensorData::new(values, [rows, seq, half]), device);
        Self { cos: tensor(cos), sin: tensor(sin) }
    }
}
