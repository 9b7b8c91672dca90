//! What may be trained of a model: what its adapter holds where one is attached, else all weights.

use model_qwen::{Param, Qwen};

/// What may be trained, with names and in a fixed order: `Qwen::adapter_params` where an adapter is attached, else
/// `Qwen::params`.
pub(crate) fn params(model: &mut Qwen) -> Vec<(String, Param<'_>)> {
    if model.has_adapter() { model.adapter_params() } else { model.params() }
}
