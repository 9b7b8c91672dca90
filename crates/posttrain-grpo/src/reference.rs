//! A reference that follows the policy (Gorbatovski et al. 2024, TR-DPO; TRL's `sync_ref_model`).

use burn::tensor::{DType, Tensor};
use model_qwen::{Param, Qwen};
use serde::{Deserialize, Serialize};

/// After every `every` updates the reference becomes `mix` times the policy plus `1 - mix` times itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncReference {
    /// Updates between two of these.
    pub every: usize,
    /// The policy's share.
    pub mix: f64,
}

impl Default for SyncReference {
    fn default() -> Self {
        Self { every: 512, mix: 0.6 }
    }
}

impl SyncReference {
    /// Mixes `policy` into `reference`, in f32.
    pub(crate) fn run(&self, reference: &mut Qwen, policy: &Qwen) {
        let mut policy = policy.clone();
        for ((_, mut old), (_, new)) in reference.params().into_iter().zip(policy.params()) {
            match (&mut old, new) {
                (Param::Matrix(old), Param::Matrix(new)) => **old = self.mixed(old, new),
                (Param::Vector(old), Param::Vector(new)) => **old = self.mixed(old, new),
                // Both are models of one configuration.
                _ => {}
            }
        }
    }

    fn mixed<const D: usize>(&self, old: &Tensor<D>, new: &Tensor<D>) -> Tensor<D> {
        let wide = |x: &Tensor<D>| x.clone().cast(DType::F32);
        (wide(old) * (1.0 - self.mix) + wide(new) * self.mix).cast(old.dtype())
    }
}
