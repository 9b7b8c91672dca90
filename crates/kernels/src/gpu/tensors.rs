//! Shapes, strides and buffers of tensors on the device, as the kernels want them.

use std::sync::{Mutex, PoisonError};

use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{Cube, ops};
use cubecl::prelude::*;

use crate::CausalMask;

/// Units of a cube that works on one row.
pub(super) const UNITS: usize = 256;

/// A tensor whose rows are contiguous and evenly apart.
pub(super) struct Rows {
    pub(super) x: CubeTensor,
    pub(super) n: usize,
    pub(super) width: usize,
    /// Values from the first of a row to the first of the next.
    pub(super) pitch: usize,
}

impl Rows {
    pub(super) fn new(x: CubeTensor) -> Self {
        let (x, pitch) = match pitch(&x) {
            Some(pitch) => (x, pitch),
            None => {
                let x = into_contiguous(x);
                let Some(pitch) = pitch(&x) else { panic!("rows of {:?} are evenly apart", x.meta) };
                (x, pitch)
            }
        };
        let shape = x.meta.shape();
        let width = shape.last().copied().unwrap_or(1);
        let n = shape.num_elements() / width.max(1);
        Self { x, n, width, pitch }
    }

    /// An output of the same shape, without gaps.
    pub(super) fn like(&self) -> CubeTensor {
        empty(&self.x, self.x.meta.shape().clone())
    }

    /// A cube for each row. The sides of a grid are bounded by 65,535.
    pub(super) fn grid(&self) -> CubeCount {
        let wide = self.n.clamp(1, 1 << 15);
        CubeCount::Static(wide as u32, self.n.div_ceil(wide).max(1) as u32, 1)
    }
}

/// The distance between rows, where the last axis is contiguous and the others are nested without gaps of their own.
fn pitch(x: &CubeTensor) -> Option<usize> {
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    let last = shape.len().checked_sub(1)?;
    if strides[last] != 1 && shape[last] > 1 {
        return None;
    }
    // An axis of one has a stride that says nothing.
    let axes: Vec<(usize, usize)> =
        (0..last).filter(|&i| shape[i] > 1).map(|i| (shape[i], strides[i])).collect();
    let nested = axes.windows(2).all(|pair| pair[0].1 == pair[1].1 * pair[1].0);
    nested.then(|| axes.last().map_or(shape[last], |axis| axis.1))
}

pub(super) fn empty(like: &CubeTensor, shape: Shape) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, DType::F32)
}

/// Numbers of the host as a tensor beside `like`.
pub(super) fn upload(numbers: &[u32], like: &CubeTensor) -> CubeTensor {
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_ne_bytes()).collect();
    let handle = like.client.create_from_slice(&bytes);
    let (client, device, shape) = (like.client.clone(), like.device.clone(), Shape::new([numbers.len()]));
    CubeTensor::new_contiguous(client, device, shape, handle, DType::U32)
}

/// The numbers that were uploaded last: all layers of a pass ask for the same.
static LAST: Mutex<Option<(Vec<u32>, CubeTensor)>> = Mutex::new(None);

/// As [`upload`], for numbers that are asked for again.
pub(super) fn upload_once(numbers: Vec<u32>, like: &CubeTensor) -> CubeTensor {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((held, tensor)) if *held == numbers && tensor.device == like.device => tensor.clone(),
        _ => {
            let tensor = upload(&numbers, like);
            *last = Some((numbers, tensor.clone()));
            tensor
        }
    }
}

/// The tensor, copied where somebody else holds its values, which are then changed.
pub(super) fn own(x: CubeTensor) -> CubeTensor {
    if x.can_mut() { x } else { x.copy() }
}

/// Grid and cube for one unit a value.
pub(super) fn per_value(x: &CubeTensor, n: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(&x.client, n);
    (cubecl::calculate_cube_count_elemwise(&x.client, n, dim), dim)
}

pub(super) fn cube_dim() -> CubeDim {
    CubeDim::new_1d(UNITS as u32)
}

/// First and end of the keys that each query of each row sees.
pub(super) fn ranges(mask: &CausalMask, kv_seq: usize, like: &CubeTensor) -> CubeTensor {
    let of_row = |row| (0..mask.seq).map(move |i| mask.visible(row, i, kv_seq));
    let numbers: Vec<u32> =
        (0..mask.first.len()).flat_map(of_row).flat_map(|r| [r.start as u32, r.end as u32]).collect();
    upload_once(numbers, like)
}

/// `[batch, n_heads, seq, d]` with the heads that share a key/value head behind each other.
pub(super) fn grouped(x: CubeTensor, n_kv: usize) -> CubeTensor {
    let s = x.meta.shape().clone();
    ops::reshape(into_contiguous(x), Shape::new([s[0], n_kv, s[1] / n_kv * s[2], s[3]]))
}

pub(super) fn transposed(x: CubeTensor) -> CubeTensor {
    let rank = x.meta.shape().len();
    Cube::float_swap_dims(x, rank - 2, rank - 1)
}

pub(super) fn contiguous_rows(x: CubeTensor, shape: Shape) -> CubeTensor {
    ops::reshape(into_contiguous(x), shape)
}
