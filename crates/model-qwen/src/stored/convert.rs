//! The values of a stored tensor in another floating-point format, piece by piece and on all threads.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::TensorData;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype as FileDtype;

use super::file::Stored;
use crate::{Dtype, Error};

/// Files have the low byte first.
const LITTLE: bool = cfg!(target_endian = "little");

/// Bytes of a file that one thread reads at a time: they stay in its cache until they are converted.
pub(super) const PIECE: usize = 1 << 19;

/// A tensor's values, and whether all of them are finite in the file.
pub(crate) struct Values {
    pub(crate) data: TensorData,
    pub(crate) finite: bool,
}

/// A format of weights in memory.
trait Element: bytemuck::Pod + burn::tensor::Element + Send + Sync {
    const DTYPE: Dtype;
    fn of(x: f32) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
    fn of(x: f32) -> Self {
        x
    }
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
    fn of(x: f32) -> Self {
        bf16::from_f32(x)
    }
    fn is_finite(self) -> bool {
        bf16::is_finite(self)
    }
}

impl Element for f16 {
    const DTYPE: Dtype = Dtype::F16;
    fn of(x: f32) -> Self {
        f16::from_f32(x)
    }
    fn is_finite(self) -> bool {
        f16::is_finite(self)
    }
}

impl Stored<'_> {
    /// The values in `dtype`.
    ///
    /// # Errors
    /// A read error, a dtype that is no float format of weights, a finite value that `dtype` cannot hold.
    pub(crate) fn values<const D: usize>(&self, dtype: Dtype, shape: [usize; D]) -> Result<Values, Error> {
        let finite = AtomicBool::new(true);
        let data = match dtype {
            Dtype::F32 => TensorData::new(self.elements::<f32>(&finite)?, shape),
            Dtype::Bf16 => TensorData::new(self.elements::<bf16>(&finite)?, shape),
            Dtype::F16 => TensorData::new(self.elements::<f16>(&finite)?, shape),
        };
        Ok(Values { data, finite: finite.into_inner() })
    }

    fn elements<T: Element>(&self, finite: &AtomicBool) -> Result<Vec<T>, Error> {
        if LITTLE && self.kind == T::DTYPE.in_file() {
            return self.same(finite);
        }
        match self.kind {
            FileDtype::F64 => self.converted(finite, |b| f64::from_le_bytes(b) as f32),
            FileDtype::F32 => self.converted(finite, f32::from_le_bytes),
            FileDtype::BF16 => self.converted(finite, |b| bf16::from_le_bytes(b).to_f32()),
            FileDtype::F16 => self.converted(finite, |b| f16::from_le_bytes(b).to_f32()),
            other => Err(self.error(format_args!("is {other:?}, expected F64, F32, BF16 or F16"))),
        }
    }

    fn read(&self, offset: usize, piece: &mut [u8], finite: &AtomicBool) -> Result<(), Error> {
        self.read_at(offset, piece)?;
        if !all_finite(self.kind, piece) {
            finite.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The file's bytes are the tensor's.
    fn same<T: Element>(&self, finite: &AtomicBool) -> Result<Vec<T>, Error> {
        let mut out = vec![T::zeroed(); self.len / size_of::<T>()];
        let all = out.par_chunks_mut(PIECE / size_of::<T>()).enumerate();
        all.try_for_each(|(at, out)| self.read(at * PIECE, bytemuck::cast_slice_mut(out), finite))?;
        Ok(out)
    }

    fn converted<T: Element, const N: usize>(
        &self,
        finite: &AtomicBool,
        decode: impl Fn([u8; N]) -> f32 + Sync,
    ) -> Result<Vec<T>, Error> {
        let narrower = N > size_of::<T>() || (self.kind == FileDtype::BF16 && T::DTYPE == Dtype::F16);
        let mut out = vec![T::zeroed(); self.len / N];
        let all = out.par_chunks_mut(PIECE / N).enumerate();
        all.try_for_each_init(Vec::new, |buffer, (at, out)| {
            buffer.resize(out.len() * N, 0u8);
            self.read(at * PIECE, buffer, finite)?;
            for (o, b) in out.iter_mut().zip(buffer.chunks_exact(N)) {
                *o = T::of(decode(b.try_into().unwrap_or([0; N])));
            }
            if narrower && !out.iter().fold(true, |all, x| all & x.is_finite()) {
                self.held(at * PIECE / N, out, buffer)?;
            }
            Ok::<(), Error>(())
        })?;
        Ok(out)
    }

    /// Refuses the first value that is finite in the file and not in memory; `start` is the piece's place among
    /// the elements of the tensor.
    fn held<T: Element>(&self, start: usize, out: &[T], bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() / out.len();
        let mut all = out.iter().zip(bytes.chunks_exact(size)).enumerate();
        let Some((at, (_, bytes))) = all.find(|(_, (x, b))| !x.is_finite() && all_finite(self.kind, b))
        else {
            return Ok(());
        };
        let value = match *bytes {
            [a, b] => f64::from(bf16::from_le_bytes([a, b])),
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => f64::from_le_bytes(bytes.try_into().unwrap_or_default()),
        };
        let mut index = Vec::new();
        let mut rest = start + at;
        for &n in self.shape.iter().rev() {
            index.insert(0, rest % n);
            rest /= n;
        }
        let wider = if self.kind == FileDtype::F64 && T::DTYPE != Dtype::F16 {
            "smaller weights"
        } else {
            "f32 or bf16"
        };
        Err(self.error(format_args!(
            "is {value:e} at {index:?}, finite in the file and infinite as {}, expected {wider}",
            T::DTYPE
        )))
    }
}

/// Whether no element has all exponent bits set: adding one to the exponent then carries into the sign.
fn all_finite(kind: FileDtype, bytes: &[u8]) -> bool {
    let half = |exponent: u16, one: u16| {
        let carry = |b: &[u8]| (u16::from_le_bytes([b[0], b[1]]) & exponent) + one;
        bytes.chunks_exact(2).fold(0, |all, b| all | carry(b)) & 0x8000 == 0
    };
    match kind {
        FileDtype::F64 => {
            let finite = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap_or_default()).is_finite();
            bytes.chunks_exact(8).all(finite)
        }
        FileDtype::F32 => {
            let carry = |b: &[u8]| (u32::from_le_bytes([b[0], b[1], b[2], b[3]]) & 0x7f80_0000) + 0x0080_0000;
            bytes.chunks_exact(4).fold(0, |all, b| all | carry(b)) & 0x8000_0000 == 0
        }
        FileDtype::BF16 => half(0x7f80, 0x0080),
        FileDtype::F16 => half(0x7c00, 0x0400),
        _ => true,
    }
}
