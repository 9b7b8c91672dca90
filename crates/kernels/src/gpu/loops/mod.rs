//! The kernels of the fused operations on GPUs, in f32: one cube (CUDA: block) a row, or one unit (thread) a value.
//!
//! Sums over a row go through shared memory in a fixed order, so they do not depend on how cubes are scheduled.
//! Rows may lie apart: `pitch` is the distance of their first values, and a row itself is contiguous.

mod elementwise;
mod few;
mod norm;
mod softmax;
mod tokens;

pub(crate) use elementwise::*;
pub(crate) use few::*;
pub(crate) use norm::*;
pub(crate) use softmax::*;
pub(crate) use tokens::*;

use cubecl::prelude::*;

/// The sum or the maximum over the cube of one value of each unit, on every unit.
#[cube]
fn joined(value: f32, #[comptime] sums: bool, #[comptime] units: usize) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(units);
    let unit = UNIT_POS_X as usize;
    shared[unit] = value;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(units.ilog2() as usize) {
        let width = comptime!(units >> (step + 1));
        if unit < width {
            let a = shared[unit];
            let b = shared[unit + width];
            if comptime!(sums) {
                shared[unit] = a + b;
            } else {
                shared[unit] = max(a, b);
            }
        }
        sync_cube();
    }
    let all = shared[0];
    sync_cube();
    all
}

/// The sum over the cube.
#[cube]
fn total(value: f32, #[comptime] units: usize) -> f32 {
    joined(value, true, units)
}

/// The maximum over the cube.
#[cube]
fn largest(value: f32, #[comptime] units: usize) -> f32 {
    joined(value, false, units)
}

/// The row of a cube: rows are laid over the first two axes of the grid, whose sides are bounded.
#[cube]
fn row() -> usize {
    (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize
}

/// The largest of `scale * x` from place `from` to before `to`.
#[cube]
fn row_largest(x: &Tensor<f32>, from: usize, to: usize, scale: f32, #[comptime] units: usize) -> f32 {
    let mut most = f32::new(-1e30f32);
    let mut i = from + UNIT_POS_X as usize;
    while i < to {
        most = max(most, x[i] * scale);
        i += units;
    }
    largest(most, units)
}

/// The sum of `exp(scale * x - most)` over a row.
#[cube]
fn row_powers(
    x: &Tensor<f32>,
    at: usize,
    width: usize,
    scale: f32,
    most: f32,
    #[comptime] units: usize,
) -> f32 {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < width {
        sum += (x[at + i] * scale - most).exp();
        i += units;
    }
    total(sum, units)
}

/// `1 / sqrt(mean(x²) + eps)` of a row.
#[cube]
fn inverse_rms(x: &Tensor<f32>, at: usize, width: usize, eps: f32, #[comptime] units: usize) -> f32 {
    let mut squares = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < width {
        let value = x[at + i];
        squares += value * value;
        i += units;
    }
    let mean = total(squares, units) / width as f32;
    1.0f32 / (mean + eps).sqrt()
}
