//! What may be trained of a model: the factors of its adapter where one is attached, else all weights.

use model_qwen::{Lora, Param, Qwen};

/// Whether `model` has an adapter attached, so that its factors alone are trained.
pub fn has_adapter(model: &Qwen) -> bool {
    model.blocks.iter().any(|block| !block.lora.is_empty())
}

/// What may be trained, with names and in a fixed order: `Qwen::adapter_params` where an adapter is attached, else
/// `Qwen::params`.
pub(crate) fn params(model: &mut Qwen) -> Vec<(String, Param<'_>)> {
    if has_adapter(model) { model.adapter_params() } else { model.params() }
}

/// `model` without its adapter; weights are shared, not copied.
#[must_use]
pub fn without_adapter(model: &Qwen) -> Qwen {
    let mut model = model.clone();
    model.blocks.iter_mut().for_each(|block| block.lora = Lora::default());
    model
}
