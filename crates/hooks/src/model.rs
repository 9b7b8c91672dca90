//! What a model must offer to be looked into.

use burn::tensor::{Device, Tensor};

use crate::{Batch, Heads, Hook, Wiring};

/// A causal language model whose runs take a hook.
///
/// Two methods are enough: every analysis here runs on them alone. [`pull_back`](HookedModel::pull_back) is
/// an optional shortcut that makes edge attribution several times cheaper without changing its numbers.
pub trait HookedModel {
    /// Sizes and connections: who writes to the residual stream and who reads from it.
    fn wiring(&self) -> Wiring;

    /// Where inputs of a run are created.
    fn device(&self) -> Device;

    /// Runs the model on `batch` under `hook`.
    ///
    /// # Shapes
    /// Returns logits `[batch, seq, vocab]`, or `[batch, 1, vocab]` for [`crate::Rows::Last`].
    fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3>;

    /// Width of a head; asked for only together with [`pull_back`](HookedModel::pull_back).
    fn d_head(&self) -> Option<usize> {
        None
    }

    /// Carries a gradient at a projection ([`Heads::Query`], [`Heads::KeyUngrouped`],
    /// [`Heads::ValueUngrouped`]) back to what each head reads ([`Heads::QueryIn`], …): the
    /// vector-Jacobian product of norm and projection at the point `resid`.
    ///
    /// # Shapes
    /// `resid` `[batch, seq, d_model]`, `grad` `[batch, n_heads, seq, d_head]`; returns
    /// `[batch, n_heads, seq, d_model]`. `None` where the model has no such shortcut; a caller then watches
    /// the reading site itself.
    fn pull_back(&self, _site: Heads, _resid: &Tensor<3>, _grad: Tensor<4>) -> Option<Tensor<4>> {
        None
    }
}
