//! Reading what `tools/oracles/generate.py` recorded, and the data beside the project where there is any.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use model_qwen::{Checkpoint, Dtype, Qwen};
use safetensors::SafeTensors;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A file of the shared data. Tests that call it are ignored unless asked for: `-- --ignored`.
pub(crate) fn shared(name: &str) -> PathBuf {
    let root = std::env::var_os("SPARKS_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let path = root.join("data").join(name);
    assert!(path.exists(), "no {}; set SPARKS_SHARED", path.display());
    path
}

pub(crate) fn load(dir: &Path) -> Qwen {
    Checkpoint::open(dir).unwrap().load(Dtype::F32, &Device::flex()).unwrap()
}

/// The recorded tensors of a fixture.
pub(crate) struct Oracle(Vec<u8>);

impl Oracle {
    pub(crate) fn open(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    pub(crate) fn floats(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let view = tensors.tensor(name).unwrap();
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (values, view.shape().to_vec())
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let view = tensors.tensor(name).unwrap();
        let values: Vec<u32> =
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect();
        values.chunks(view.shape()[1]).map(<[u32]>::to_vec).collect()
    }
}

pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.inner().into_data().try_to_vec().unwrap()
}

/// The largest difference relative to the largest expected magnitude.
pub(crate) fn apart(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-12f32, |m, x| m.max(x.abs()));
    found.iter().zip(expected).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale
}
