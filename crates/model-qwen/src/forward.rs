//! The forward pass: embedding, blocks, final norm, output projection, with a hook at every site.

use std::ops::Range;

use burn::tensor::{DType, Int, Tensor, TensorData};
use hooks::{Batch, Heads, Hook, Stream};
use kernels::CausalMask;

use crate::attention::Attention;
use crate::projection::linear;
use crate::rope::Rope;
use crate::{KvCache, Projection, Qwen};

/// The hook of a run, and in generation its cache.
pub struct Pass<'a> {
    /// Sees and changes activations.
    pub hook: &'a mut dyn Hook,
    /// Positions already seen; the batch holds the new ones.
    pub cache: Option<&'a mut KvCache>,
}

impl<'a> Pass<'a> {
    /// A run under `hook`, without a cache.
    pub fn new(hook: &'a mut dyn Hook) -> Self {
        Self { hook, cache: None }
    }

    /// The same run, continuing from `cache`.
    #[must_use]
    pub fn cached(mut self, cache: &'a mut KvCache) -> Self {
        self.cache = Some(cache);
        self
    }
}

impl std::fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("cache", &self.cache).finish_non_exhaustive()
    }
}

pub(crate) fn stream(hook: &mut dyn Hook, site: Stream, x: Tensor<3>) -> Tensor<3> {
    if hook.wants(site.into()) { hook.on_stream(site, x) } else { x }
}

pub(crate) fn heads(hook: &mut dyn Hook, site: Heads, x: Tensor<4>) -> Tensor<4> {
    if hook.wants(site.into()) { hook.on_heads(site, x) } else { x }
}

impl Qwen {
    /// Runs the model on `batch`.
    ///
    /// # Shapes
    /// Returns logits `[batch, seq, vocab]`, or of as many positions as the batch asks for.
    ///
    /// # Panics
    /// If a token id is not below the vocabulary size: check input with [`Qwen::check`].
    pub fn forward(&self, batch: &Batch, mut pass: Pass<'_>) -> Tensor<3> {
        let x = self.final_hidden(batch, &mut pass);
        stream(pass.hook, Stream::Logits, linear(&x, self.unembed(), None))
    }

    /// Runs the model up to and including the final norm: what the output projection reads.
    ///
    /// # Shapes
    /// Returns `[batch, seq, d_model]`, or as many positions as the batch asks for.
    pub fn final_hidden(&self, batch: &Batch, pass: &mut Pass<'_>) -> Tensor<3> {
        pass.hook.begin(batch, pass.cache.as_ref().map_or(0, |cache| cache.len()));
        let x = stream(pass.hook, Stream::Embed, self.embedded(batch));
        let x = self.blocks(batch, 0..self.blocks.len(), x, pass);
        if let Some(cache) = &mut pass.cache {
            cache.advance(batch.seq());
        }
        self.final_norm(batch, x, pass.hook)
    }

    /// Runs blocks `range` on the residual stream `x` `[batch, seq, d_model]`. With [`embedded`](Self::embedded) and
    /// [`final_norm`](Self::final_norm) these are the parts of [`final_hidden`](Self::final_hidden), for a caller
    /// that keeps the stream between them.
    pub fn blocks(
        &self,
        batch: &Batch,
        range: Range<usize>,
        mut x: Tensor<3>,
        pass: &mut Pass<'_>,
    ) -> Tensor<3> {
        let offset = pass.cache.as_ref().map_or(0, |cache| cache.len());
        assert!(offset == 0 || batch.documents().is_none(), "packed rows are not continued from a cache");
        let rope = Rope::new(&self.config, batch, offset, &self.device());
        for layer in range {
            let block = &self.blocks[layer];
            x = stream(pass.hook, Stream::ResidPre(layer), x);
            let window = self.config.windows[layer];
            let documents = batch.documents().map(<[_]>::to_vec);
            let mask = CausalMask { seq: batch.seq(), first: batch.first().to_vec(), window, documents };
            let attention = Attention { config: &self.config, block, layer, rope: &rope, mask };
            let attn_out = attention.run(&x, pass);
            let attn_out = stream(pass.hook, Stream::AttnOut(layer), attn_out);
            x = stream(pass.hook, Stream::ResidMid(layer), x + attn_out);
            let mlp_in = stream(pass.hook, Stream::MlpIn(layer), x.clone());
            let normed = kernels::rms_norm(mlp_in, block.mlp_norm.clone(), self.config.norm_eps);
            let neurons = kernels::swiglu(
                block.linear(Projection::Gate, &normed),
                block.linear(Projection::Up, &normed),
            );
            let neurons = stream(pass.hook, Stream::Neurons(layer), neurons);
            let mlp_out = stream(pass.hook, Stream::MlpOut(layer), block.linear(Projection::Down, &neurons));
            x = stream(pass.hook, Stream::ResidPost(layer), x + mlp_out);
        }
        x
    }

    /// The final norm of the positions that the batch asks for; `x` is the residual stream after the last block.
    pub fn final_norm(&self, batch: &Batch, x: Tensor<3>, hook: &mut dyn Hook) -> Tensor<3> {
        let x = tail(x, batch);
        let (weight, eps) = (self.norm.clone(), self.config.norm_eps);
        let normed = if hook.wants(Stream::Normalized.into()) {
            let one = weight.ones_like();
            hook.on_stream(Stream::Normalized, kernels::rms_norm(x, one, eps)) * weight.unsqueeze()
        } else {
            kernels::rms_norm(x, weight, eps)
        };
        stream(hook, Stream::FinalNorm, normed)
    }

    /// Checks that every token of `batch` is in the vocabulary.
    ///
    /// # Errors
    /// The first token that is not, with its row.
    pub fn check(&self, batch: &Batch) -> Result<(), crate::Error> {
        let vocab = self.config.vocab;
        match batch.ids().iter().position(|&id| id as usize >= vocab) {
            None => Ok(()),
            Some(at) => Err(crate::Error::input(format!(
                "input_ids: row {} has token {}, expected ids below the vocabulary size {vocab}",
                at / batch.seq(),
                batch.ids()[at]
            ))),
        }
    }

    /// The embeddings of the tokens, the residual stream before the first block, `[batch, seq, d_model]`.
    pub fn embedded(&self, batch: &Batch) -> Tensor<3> {
        let device = &self.device();
        let ids: Vec<i64> = batch.ids().iter().map(|&id| i64::from(id)).collect();
        let n = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), device);
        let rows = self.embed.clone().select(0, ids).cast(DType::F32);
        rows.reshape([batch.batch(), batch.seq(), self.config.d_model])
    }
}

/// Each row's last real positions, as many as the batch asks for, `[batch, n, d_model]`.
fn tail(x: Tensor<3>, batch: &Batch) -> Tensor<3> {
    let Some((n, starts)) = batch.wanted_tail() else { return x };
    let [rows, seq, d_model] = x.dims();
    if starts.iter().all(|&start| start == seq - n) {
        return x.slice([0..rows, seq - n..seq, 0..d_model]);
    }
    let index: Vec<i64> = starts
        .iter()
        .enumerate()
        .flat_map(|(row, &start)| (start..start + n).map(move |at| (row * seq + at) as i64))
        .collect();
    let index = TensorData::new(index, [rows * n]);
    let index = Tensor::<1, Int>::from_data(index, &x.device().without_autodiff());
    x.reshape([rows * seq, d_model]).select(0, index).reshape([rows, n, d_model])
}
