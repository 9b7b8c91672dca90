//! Decoding: projections of few rows, the cache, attention of one position.
#![allow(clippy::too_many_arguments)] // a kernel takes tensors and numbers, no structs of both

use cubecl::prelude::*;

use super::{largest, total};

/// `out[r, o] = sum_i x[r, i] weight[o, i]` for few rows, with the weights widened on the way: a plane (CUDA: warp) for
/// each output reads its weights once.
#[cube(launch_unchecked)]
pub(crate) fn project_few<W: Float, N: Size>(
    x: &Tensor<Vector<f32, N>>,
    weight: &Tensor<Vector<W, N>>,
    out: &mut Tensor<f32>,
    outputs: u32,
    width: u32,
    #[comptime] rows: usize,
    #[define(W)] _dtype: ElemType,
) {
    let planes = CUBE_DIM_X / PLANE_DIM;
    let output = (CUBE_POS_X * planes + UNIT_POS_X / PLANE_DIM) as usize;
    if output >= outputs as usize {
        terminate!();
    }
    let (lane, lanes, width) = (UNIT_POS_PLANE as usize, PLANE_DIM as usize, width as usize);
    let mut sums = Array::<f32>::new(rows);
    #[unroll]
    for row in 0..rows {
        sums[row] = 0.0f32;
    }
    let mut i = lane;
    while i < width {
        let w = Vector::<f32, N>::cast_from(weight[output * width + i]);
        #[unroll]
        for row in 0..rows {
            sums[row] += (x[row * width + i] * w).vector_sum();
        }
        i += lanes;
    }
    #[unroll]
    for row in 0..rows {
        let sum = plane_sum(sums[row]);
        if lane == 0 {
            out[row * outputs as usize + output] = sum;
        }
    }
}

/// Puts `new` `[batch, heads, 1, d]` at position `at` of `kept` `[rows, heads, room, d]`.
#[cube(launch_unchecked)]
pub(crate) fn keep(new: &Tensor<f32>, kept: &mut Tensor<f32>, at: u32, values: u32) {
    if ABSOLUTE_POS >= values as usize {
        terminate!();
    }
    let (heads, d) = (new.shape(1), new.shape(3));
    let i = ABSOLUTE_POS % d;
    let h = ABSOLUTE_POS / d % heads;
    let b = ABSOLUTE_POS / d / heads;
    let to = b * kept.stride(0) + h * kept.stride(1) + at as usize * kept.stride(2) + i;
    kept[to] = new[b * new.stride(0) + h * new.stride(1) + i * new.stride(3)];
}

/// Attention of one query of each row and head over the keys `first[row]..end`: a cube a head.
///
/// The scores of all keys lie in shared memory: `room` is their number, rounded up.
#[cube(launch_unchecked)]
pub(crate) fn attend(
    q: &Tensor<f32>,
    keys: &Tensor<f32>,
    values: &Tensor<f32>,
    first: &Tensor<u32>,
    out: &mut Tensor<f32>,
    end: u32,
    scale: f32,
    #[comptime] room: usize,
    #[comptime] units: usize,
) {
    let (h, b, unit) = (CUBE_POS_X as usize, CUBE_POS_Y as usize, UNIT_POS_X as usize);
    let (heads, d) = (q.shape(1), q.shape(3));
    let kv_head = h / (heads / keys.shape(1));
    let (first, end) = (first[b] as usize, end as usize);
    let mut p = Shared::<[f32]>::new_slice(room);
    let q_at = b * q.stride(0) + h * q.stride(1);
    let kv_at = b * keys.stride(0) + kv_head * keys.stride(1);
    let mut most = f32::new(-1e30f32);
    let mut k = first + unit;
    while k < end {
        let mut dot = 0.0f32;
        for i in 0..d {
            dot += q[q_at + i * q.stride(3)] * keys[kv_at + k * keys.stride(2) + i];
        }
        p[k - first] = dot * scale;
        most = max(most, dot * scale);
        k += units;
    }
    let most = largest(most, units);
    let mut sum = 0.0f32;
    let mut k = unit;
    while k < end - first {
        let power = (p[k] - most).exp();
        p[k] = power;
        sum += power;
        k += units;
    }
    let sum = total(sum, units);
    // The keys are split over `units / d` parts of the cube, whose sums are added at the end.
    let parts = units / d;
    let (part, i) = (unit / d, unit % d);
    let v_at = b * values.stride(0) + kv_head * values.stride(1);
    let mut mixed = 0.0f32;
    if part < parts {
        let mut k = part;
        while k < end - first {
            mixed += p[k] * values[v_at + (first + k) * values.stride(2) + i];
            k += parts;
        }
    }
    let mut sums = Shared::<[f32]>::new_slice(units);
    sums[unit] = mixed;
    sync_cube();
    if unit < d {
        let mut all = 0.0f32;
        for part in 0..parts {
            all += sums[part * d + unit];
        }
        out[(b * heads + h) * d + unit] = all / sum;
    }
}
