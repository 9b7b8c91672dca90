//! Log-probabilities and statistics of tokens under a row of logits, and their gradients.
#![allow(clippy::too_many_arguments)] // a kernel takes tensors and numbers, no structs of both

use cubecl::prelude::*;

use super::{largest, row, row_largest, row_powers, total};

/// Natural-log probability of one token a row, and `max + ln sum exp` of the row beside it.
#[cube(launch_unchecked)]
pub(crate) fn token_log_prob(
    logits: &Tensor<f32>,
    tokens: &Tensor<u32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    pitch: u32,
    inverse_temperature: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let at = row * pitch as usize;
    let unit = UNIT_POS_X as usize;
    let most = row_largest(logits, at, at + width, inverse_temperature, units);
    let sum = row_powers(logits, at, width, inverse_temperature, most, units);
    if unit == 0 {
        out[row] = logits[at + tokens[row] as usize] * inverse_temperature - most - sum.ln();
    }
}

/// The gradient of [`token_log_prob`] at the logits: `(1[token] - p) grad / temperature`.
#[cube(launch_unchecked)]
pub(crate) fn token_log_prob_backward(
    logits: &Tensor<f32>,
    tokens: &Tensor<u32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    pitch: u32,
    inverse_temperature: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let at = row * pitch as usize;
    let unit = UNIT_POS_X as usize;
    let most = row_largest(logits, at, at + width, inverse_temperature, units);
    let sum = row_powers(logits, at, width, inverse_temperature, most, units);
    let factor = grad[row] * inverse_temperature;
    let token = tokens[row] as usize;
    let mut i = unit;
    while i < width {
        let p = (logits[at + i] * inverse_temperature - most).exp() / sum;
        if i == token {
            out[row * width + i] = (1.0f32 - p) * factor;
        } else {
            out[row * width + i] = -p * factor;
        }
        i += units;
    }
}

/// Log-probability, entropy, mean log-probability, whether the token is the first largest, and the logarithm of the
/// partition function: five numbers a row.
#[cube(launch_unchecked)]
pub(crate) fn token_stats(
    logits: &Tensor<f32>,
    tokens: &Tensor<u32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    pitch: u32,
    scale: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let at = row * pitch as usize;
    let unit = UNIT_POS_X as usize;
    let most = row_largest(logits, at, at + width, scale, units);
    let mut sum = 0.0f32;
    let mut weighted = 0.0f32;
    let mut all = 0.0f32;
    // Minus the place of the first largest: places are below 2^24.
    let mut place = f32::new(-1e30f32);
    let mut i = unit;
    while i < width {
        let below = logits[at + i] * scale - most;
        let power = below.exp();
        sum += power;
        // A logit of minus infinity has no part in the entropy.
        if power > 0.0f32 {
            weighted += power * below;
        }
        all += below;
        if below == 0.0f32 {
            place = max(place, -(i as f32));
        }
        i += units;
    }
    let sum = total(sum, units);
    let weighted = total(weighted, units);
    let all = total(all, units);
    let place = largest(place, units);
    if unit == 0 {
        let token = tokens[row] as usize;
        let ln_sum = sum.ln();
        let to = row * 5;
        out[to] = logits[at + token] * scale - most - ln_sum;
        out[to + 1] = ln_sum - weighted / sum;
        out[to + 2] = all / width as f32 - ln_sum;
        if -(token as f32) == place {
            out[to + 3] = 1.0f32;
        } else {
            out[to + 3] = 0.0f32;
        }
        out[to + 4] = most + ln_sum;
    }
}

/// The gradient at the logits of weighted sums of [`token_stats`]; `weights` holds three numbers a row.
#[cube(launch_unchecked)]
pub(crate) fn token_stats_backward(
    logits: &Tensor<f32>,
    tokens: &Tensor<u32>,
    stats: &Tensor<f32>,
    weights: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    pitch: u32,
    scale: f32,
    #[comptime] units: usize,
) {
    let (row, width) = (row(), width as usize);
    if row >= rows as usize {
        terminate!();
    }
    let at = row * pitch as usize;
    let of_log_prob = weights[row * 3] * scale;
    let of_surprise = weights[row * 3 + 1] * scale;
    let of_mean = weights[row * 3 + 2] * scale;
    let (entropy, log_z) = (stats[row * 5 + 1], stats[row * 5 + 4]);
    let constant = of_mean / width as f32;
    let token = tokens[row] as usize;
    let mut i = UNIT_POS_X as usize;
    while i < width {
        let log_p = logits[at + i] * scale - log_z;
        let p = log_p.exp();
        let mut value = constant;
        if p > 0.0f32 {
            value -= p * (of_log_prob + of_mean + of_surprise * (log_p + entropy));
        }
        if i == token {
            value += of_log_prob;
        }
        out[row * width + i] = value;
        i += units;
    }
}
