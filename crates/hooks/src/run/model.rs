//! The interface of a model whose runs take a hook.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use crate::{Batch, Head, Heads, Hook, Wiring};

/// The weights of one attention head, with the weights of the norms that it reads through multiplied in.
///
/// A norm's weight and the projection after it are one linear map, so what is measured on these matrices
/// does not depend on how a checkpoint splits the two (TransformerLens' `fold_ln`). The rotary embedding, the
/// biases and the division by the norm are not in them.
#[derive(Debug, Clone)]
pub struct HeadWeights {
    /// `[d_model, d_head]`.
    pub query: Tensor<2>,
    /// `[d_model, d_head]`: of the key/value head that the query head attends with.
    pub key: Tensor<2>,
    /// `[d_model, d_head]`: of the key/value head that the query head attends with.
    pub value: Tensor<2>,
    /// `[d_head, d_model]`.
    pub output: Tensor<2>,
}

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
/// Three methods are required: edge attribution, ablation and circuits run on them alone. The others are
/// optional. [`pull_back`](HookedModel::pull_back) makes edge attribution several times cheaper and
/// [`run_part`](HookedModel::run_part) saves repeated work and memory, neither changing a number;
/// Logit lens and direct logit attribution need
/// [`read_out`](HookedModel::read_out), ranks of heads need [`head_weights`](HookedModel::head_weights).
pub trait HookedModel: Sync {
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

    /// Runs the model on `batch` under a hook that changes nothing before block `first`, given the residual
    /// stream there: the blocks before it are not run again. The hook is shown the sites of the blocks that
    /// are run, and none after the last block.
    ///
    /// # Shapes
    /// `resid` `[batch or 1, seq, d_model]`, one row serving all; returns the logits as
    /// [`run`](HookedModel::run) does. A model that cannot be run in parts is run whole.
    fn run_from(&self, batch: &Batch, first: usize, resid: &Tensor<3>, hook: &mut dyn Hook) -> Tensor<3> {
        let [_, seq, d_model] = resid.dims();
        let resid = resid.clone().expand([batch.batch(), seq, d_model]);
        let part = Part::Blocks(first..self.wiring().n_layers);
        let end = self.run_part(batch, part, resid, hook);
        let logits = end.and_then(|resid| self.run_part(batch, Part::ReadOut, resid, &mut ()));
        logits.unwrap_or_else(|| self.run(batch, hook))
    }

    /// How many runs are best made at the same time: 1, or the number of threads where each run is too small to be shared
    /// out. Memory grows with it; no number depends on it.
    fn at_once(&self) -> usize {
        1
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

    /// The logits that `write` contributes when the final norm divides by the scale of `resid`: linear in
    /// `write`, so the parts of a residual stream add up to its logits. `write` equal to `resid` is the logit
    /// lens (nostalgebraist 2020).
    ///
    /// # Shapes
    /// `resid` and `write` `[batch, seq, d_model]`, a length of 1 in either of `resid`'s first two axes
    /// serving all of `write`'s. Returns `[batch, seq, vocab]`, or `[batch, seq, n]` for the `n` tokens asked
    /// for. `None` where the model has no such read-out.
    fn read_out(&self, _resid: &Tensor<3>, _write: &Tensor<3>, _tokens: Option<&[u32]>) -> Option<Tensor<3>> {
        None
    }

    /// The weights of `head`, in f32. `None` where the model does not show them.
    ///
    /// # Panics
    /// If the model has no such head.
    fn head_weights(&self, _head: Head) -> Option<HeadWeights> {
        None
    }
}
