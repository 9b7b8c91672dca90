//! What a model must offer to be looked into.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use crate::{Batch, Heads, Hook, Wiring};

/// A stretch of a run that starts from a given residual stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These blocks: residual stream in, residual stream out.
    Blocks(Range<usize>),
    /// The final norm and the output projection: residual stream in, logits out.
    ReadOut,
}

/// A causal language model whose runs take a hook.
///
/// Three methods are enough: every analysis here runs on them alone. The others are optional shortcuts that
/// change no number: [`pull_back`](HookedModel::pull_back) makes edge attribution several times cheaper,
/// [`run_part`](HookedModel::run_part) saves repeated work and memory.
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

    /// Runs a part of the model on `batch` under `hook`, starting from the residual stream `resid`; sites
    /// outside the part are not shown. It saves work before a change (exact patching) and memory between
    /// blocks (gradients block by block).
    ///
    /// # Shapes
    /// `resid` `[batch, seq, d_model]`; returns the residual stream, or for [`Part::ReadOut`] the logits as
    /// [`run`](HookedModel::run) does. `None` where the model cannot be run in parts.
    fn run_part(
        &self,
        _batch: &Batch,
        _part: Part,
        _resid: Tensor<3>,
        _hook: &mut dyn Hook,
    ) -> Option<Tensor<3>> {
        None
    }

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
