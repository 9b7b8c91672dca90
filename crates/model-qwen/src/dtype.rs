//! The floating-point formats of weights.

use burn::tensor::{DType, FloatDType};
use safetensors::Dtype as FileDtype;

use crate::Error;

/// How weight matrices are held in memory and written. Activations, norms and biases are f32 in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// Single precision, the reference.
    #[default]
    F32,
    /// Matrices in bfloat16: half the memory.
    Bf16,
    /// Matrices in half precision; finite values are at most 65504.
    F16,
}

impl Dtype {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// Bytes of one weight.
    pub fn bytes(self) -> u64 {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// The name on the command line: `f32`, `bf16` or `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// The name in `config.json`.
    pub(crate) fn torch(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    /// How a tensor is held; f32 for what is none of the three.
    pub(crate) fn held(dtype: DType) -> Self {
        Self::ALL.into_iter().find(|d| d.of_tensor() == dtype).unwrap_or_default()
    }

    pub(crate) fn in_file(self) -> FileDtype {
        match self {
            Self::F32 => FileDtype::F32,
            Self::Bf16 => FileDtype::BF16,
            Self::F16 => FileDtype::F16,
        }
    }

    pub(crate) fn of_tensor(self) -> DType {
        DType::from(match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        })
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Dtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|dtype| dtype.name() == text);
        found.ok_or_else(|| Error::input(format_args!("dtype `{text}`: expected f32, bf16 or f16")))
    }
}
