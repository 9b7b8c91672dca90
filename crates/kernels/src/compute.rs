//! The arithmetic of products of matrices on GPUs.

use std::sync::atomic::{AtomicU8, Ordering};

/// In what arithmetic matrices are multiplied on a GPU. Sums are in f32 in each case, and so is everything else:
/// residual stream, norms, softmax, losses, scores. The CPU multiplies in f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compute {
    /// f32: the numbers of the CPU up to the order of sums.
    #[default]
    F32,
    /// Factors rounded to TF32 (10 bits of fraction) where tensor cores are faster.
    Tf32,
    /// Factors rounded to bf16 (7 bits of fraction). Weights that are held in bf16 are read as they are.
    Bf16,
}

static COMPUTE: AtomicU8 = AtomicU8::new(0);

impl Compute {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// Sets the arithmetic of the process, as torch's `set_float32_matmul_precision`: set it before the first product.
    pub fn set(self) {
        COMPUTE.store(self as u8, Ordering::Relaxed);
    }

    /// The arithmetic of the process.
    pub fn get() -> Self {
        Self::ALL[usize::from(COMPUTE.load(Ordering::Relaxed)).min(Self::ALL.len() - 1)]
    }
}
