//! The one forward pass.
//!
//! Every site of [`hooks`] is shown here, in the order of the computation. Where a hook wants what a head
//! reads (`QueryIn`, …) the norm and the projection are done once for each head; else once for all.

use std::ops::Range;

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use hooks::{Batch, Head, HeadWeights, Heads, Hook, HookedModel, KeyValue, Part, Site, Stream, Wiring};
use kernels::{CausalMask, portable};

use crate::rope::Rope;
use crate::{Block, KvCache, Projection, Qwen};

/// What a run takes beside its tokens: a hook, and in generation a cache.
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

fn stream(hook: &mut dyn Hook, site: Stream, x: Tensor<3>) -> Tensor<3> {
    if hook.wants(site.into()) { hook.on_stream(site, x) } else { x }
}

fn heads(hook: &mut dyn Hook, site: Heads, x: Tensor<4>) -> Tensor<4> {
    if hook.wants(site.into()) { hook.on_heads(site, x) } else { x }
}

/// `x W^T (+ bias)`: `x` `[batch, seq, in]`, `weight` `[out, in]`.
pub(crate) fn linear(x: &Tensor<3>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> Tensor<3> {
    let [batch, seq, d_in] = x.dims();
    let y = kernels::linear(x.clone().reshape([batch * seq, d_in]), weight);
    let y = match bias {
        Some(bias) => y + bias.clone().unsqueeze(),
        None => y,
    };
    let d_out = y.dims()[1];
    y.reshape([batch, seq, d_out])
}

pub(crate) fn in_f32(weight: &Tensor<2>) -> Tensor<2> {
    if weight.dtype() == DType::F32 { weight.clone() } else { weight.clone().cast(DType::F32) }
}

/// `[batch, seq, heads * d_head]` to the view `[batch, heads, seq, d_head]`.
fn split_heads(x: Tensor<3>, n_heads: usize) -> Tensor<4> {
    let [batch, seq, width] = x.dims();
    x.reshape([batch, seq, n_heads, width / n_heads]).swap_dims(1, 2)
}

/// One copy of each key/value head for each of its query heads.
fn ungroup(x: Tensor<4>, n_heads: usize) -> Tensor<4> {
    let [batch, n_kv, seq, d_head] = x.dims();
    if n_kv == n_heads {
        return x;
    }
    let group = n_heads / n_kv;
    let x: Tensor<5> = x.unsqueeze_dim(2);
    x.expand([batch, n_kv, group, seq, d_head]).reshape([batch, n_heads, seq, d_head])
}

/// A projection split by output head, `[1, heads, d_model, d_head]`, each key/value head repeated for its
/// query heads where `ungrouped` says how many those are.
fn per_head(weight: &Tensor<2>, d_head: usize, ungrouped: Option<usize>) -> Tensor<4> {
    let [out, d_model] = weight.dims();
    let weight: Tensor<4> = in_f32(weight).reshape([1, out / d_head, d_head, d_model]);
    let weight = ungrouped.map_or(weight.clone(), |n_heads| ungroup(weight, n_heads));
    weight.swap_dims(2, 3)
}

impl Block {
    /// A projection of `x` `[batch, seq, in]`, its bias and its adapter's term included.
    fn linear(&self, which: Projection, x: &Tensor<3>) -> Tensor<3> {
        let y = linear(x, self.weight(which), self.bias(which));
        match self.lora.get(which) {
            None => y,
            Some(term) => {
                let low = linear(x, &term.a, None);
                y + linear(&low, &term.b, None) * term.scale
            }
        }
    }

    /// Query, key or value of `x` `[batch, heads, seq, d_model]`, where each head has a stream of its own:
    /// `[batch, heads, seq, d_head]` without bias.
    fn read_per_head(
        &self,
        which: Projection,
        x: Tensor<4>,
        d_head: usize,
        ungrouped: Option<usize>,
    ) -> Tensor<4> {
        let y = x.clone().matmul(per_head(self.weight(which), d_head, ungrouped));
        match self.lora.get(which) {
            None => y,
            Some(term) => {
                let low = x.matmul(term.a.clone().transpose().unsqueeze());
                y + low.matmul(per_head(&term.b, d_head, ungrouped)) * term.scale
            }
        }
    }

    /// What each head writes, `[batch, n_heads, seq, d_model]`, of `z` `[batch, n_heads, seq, d_head]`.
    fn write_per_head(&self, z: Tensor<4>) -> Tensor<4> {
        let [_, n_heads, _, d_head] = z.dims();
        // [out, n_heads * d_head] to [1, n_heads, d_head, out]
        let split = |weight: &Tensor<2>| {
            let out = weight.dims()[0];
            in_f32(weight).reshape([1, out, n_heads, d_head]).permute([0, 2, 3, 1])
        };
        let y = z.clone().matmul(split(&self.output));
        match self.lora.get(Projection::Output) {
            None => y,
            Some(term) => {
                let low = z.matmul(split(&term.a));
                y + low.matmul(term.b.clone().transpose().unsqueeze()) * term.scale
            }
        }
    }

    /// The transpose of [`read_per_head`](Self::read_per_head): from a gradient at a projection to the
    /// gradient at what it read.
    fn pull_per_head(&self, which: Projection, grad: Tensor<4>, d_head: usize, n_heads: usize) -> Tensor<4> {
        // grad W_h: [batch, n_heads, seq, d_head] x [1, n_heads, d_head, d_model]
        let split = |weight| per_head(weight, d_head, Some(n_heads)).swap_dims(2, 3);
        let y = grad.clone().matmul(split(self.weight(which)));
        match self.lora.get(which) {
            None => y,
            Some(term) => y + grad.matmul(split(&term.b)).matmul(term.a.clone().unsqueeze()) * term.scale,
        }
    }
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
        let x = stream(pass.hook, Stream::Embed, self.embed_tokens(batch, &self.device()));
        let x = self.blocks(batch, 0..self.blocks.len(), x, pass);
        if let Some(cache) = &mut pass.cache {
            cache.advance(batch.seq());
        }
        self.final_norm(batch, x, pass.hook)
    }

    /// Runs blocks `range` on the residual stream `x`.
    fn blocks(&self, batch: &Batch, range: Range<usize>, mut x: Tensor<3>, pass: &mut Pass<'_>) -> Tensor<3> {
        let offset = pass.cache.as_ref().map_or(0, |cache| cache.len());
        let rope = Rope::new(&self.config, batch.first(), offset, batch.seq(), &self.device());
        for layer in range {
            let block = &self.blocks[layer];
            x = stream(pass.hook, Stream::ResidPre(layer), x);
            let window = self.config.windows[layer];
            let mask = CausalMask { seq: batch.seq(), first: batch.first().to_vec(), window };
            let attn_out = self.attention(layer, block, &x, &rope, &mask, pass);
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

    /// The final norm of the positions that the batch asks for.
    fn final_norm(&self, batch: &Batch, x: Tensor<3>, hook: &mut dyn Hook) -> Tensor<3> {
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

    /// Whether every token of `batch` is in the vocabulary.
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

    fn embed_tokens(&self, batch: &Batch, device: &Device) -> Tensor<3> {
        let ids: Vec<i64> = batch.ids().iter().map(|&id| i64::from(id)).collect();
        let n = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), device);
        let rows = self.embed.clone().select(0, ids).cast(DType::F32);
        rows.reshape([batch.batch(), batch.seq(), self.config.d_model])
    }

    /// What one projection gives before any per-head norm, `[batch, heads, seq, d_head]`.
    fn project(
        &self,
        layer: usize,
        which: Projection,
        resid: &Tensor<3>,
        normed: Option<&Tensor<3>>,
        ungrouped: bool,
        hook: &mut dyn Hook,
    ) -> Tensor<4> {
        let (c, block) = (&self.config, &self.blocks[layer]);
        let (n, site, ungrouped_site) = match which {
            Projection::Key => (c.n_kv_heads, Heads::KeyIn(layer), Heads::KeyInUngrouped(layer)),
            Projection::Value => (c.n_kv_heads, Heads::ValueIn(layer), Heads::ValueInUngrouped(layer)),
            _ => (c.n_heads, Heads::QueryIn(layer), Heads::QueryIn(layer)),
        };
        let ungrouped = ungrouped && which != Projection::Query;
        let (site, n_heads) = if ungrouped { (ungrouped_site, c.n_heads) } else { (site, n) };
        if hook.wants(site.into()) {
            let [batch, seq, d_model] = resid.dims();
            let resid: Tensor<4> = resid.clone().unsqueeze_dim(1);
            let x = hook.on_heads(site, resid.expand([batch, n_heads, seq, d_model]));
            let x = kernels::rms_norm(x, block.attn_norm.clone(), c.norm_eps);
            let y = block.read_per_head(which, x, c.d_head, ungrouped.then_some(c.n_heads));
            return match block.bias(which) {
                Some(bias) => {
                    let bias: Tensor<4> = bias.clone().reshape([1, n, 1, c.d_head]);
                    y + if ungrouped { ungroup(bias, c.n_heads) } else { bias }
                }
                None => y,
            };
        }
        let computed;
        let normed = match normed {
            Some(normed) => normed,
            None => {
                computed = kernels::rms_norm(resid.clone(), block.attn_norm.clone(), c.norm_eps);
                &computed
            }
        };
        let y = split_heads(block.linear(which, normed), n);
        if ungrouped { ungroup(y, c.n_heads) } else { y }
    }

    fn attention(
        &self,
        layer: usize,
        block: &Block,
        resid: &Tensor<3>,
        rope: &Rope,
        mask: &CausalMask,
        pass: &mut Pass<'_>,
    ) -> Tensor<3> {
        let c = &self.config;
        let hook = &mut *pass.hook;
        let wants = |hook: &dyn Hook, site: Heads| hook.wants(Site::Heads(site));
        let key_ungrouped =
            wants(hook, Heads::KeyInUngrouped(layer)) || wants(hook, Heads::KeyUngrouped(layer));
        let value_ungrouped =
            wants(hook, Heads::ValueInUngrouped(layer)) || wants(hook, Heads::ValueUngrouped(layer));
        let ungrouped = key_ungrouped || value_ungrouped;

        let own_reads = wants(hook, Heads::QueryIn(layer))
            && (wants(hook, Heads::KeyInUngrouped(layer)) || wants(hook, Heads::KeyIn(layer)))
            && (wants(hook, Heads::ValueInUngrouped(layer)) || wants(hook, Heads::ValueIn(layer)));
        let normed =
            (!own_reads).then(|| kernels::rms_norm(resid.clone(), block.attn_norm.clone(), c.norm_eps));
        let q = self.project(layer, Projection::Query, resid, normed.as_ref(), false, hook);
        let k = self.project(layer, Projection::Key, resid, normed.as_ref(), ungrouped, hook);
        let v = self.project(layer, Projection::Value, resid, normed.as_ref(), ungrouped, hook);

        let (key_site, value_site) = if ungrouped {
            (Heads::KeyUngrouped(layer), Heads::ValueUngrouped(layer))
        } else {
            (Heads::Key(layer), Heads::Value(layer))
        };
        let mut q = heads(hook, Heads::Query(layer), q);
        let mut k = heads(hook, key_site, k);
        let v = heads(hook, value_site, v);
        if let Some([q_norm, k_norm]) = &block.qk_norms {
            q = kernels::rms_norm(q, q_norm.clone(), c.norm_eps);
            k = kernels::rms_norm(k, k_norm.clone(), c.norm_eps);
        }
        let q =
            heads(hook, Heads::QueryRotary(layer), kernels::rotary(q, rope.cos.clone(), rope.sin.clone()));
        let k = heads(hook, Heads::KeyRotary(layer), kernels::rotary(k, rope.cos.clone(), rope.sin.clone()));
        let (k, v) = match &mut pass.cache {
            Some(cache) => {
                assert!(!ungrouped, "ungrouped key and value sites are not kept in a cache");
                cache.extend(layer, k, v)
            }
            None => (k, v),
        };

        let z = self.mix(layer, q, k, v, mask, hook);
        let z = heads(hook, Heads::Z(layer), z);
        if wants(hook, Heads::Write(layer)) {
            let writes = block.write_per_head(z);
            let [batch, _, seq, _] = writes.dims();
            let sum = hook.on_heads(Heads::Write(layer), writes).sum_dim(1).reshape([batch, seq, c.d_model]);
            match block.bias(Projection::Output) {
                Some(bias) => sum + bias.clone().unsqueeze(),
                None => sum,
            }
        } else {
            let [batch, n_heads, seq, d_head] = z.dims();
            block.linear(Projection::Output, &z.swap_dims(1, 2).reshape([batch, seq, n_heads * d_head]))
        }
    }

    /// Attention itself: `[batch, n_heads, seq, d_head]` from queries, keys and values.
    fn mix(
        &self,
        layer: usize,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        mask: &CausalMask,
        hook: &mut dyn Hook,
    ) -> Tensor<4> {
        let ([batch, n_heads, seq, d_head], [_, n_kv, kv_seq, _]) = (q.dims(), k.dims());
        let grouped = [batch, n_kv, n_heads / n_kv * seq, kv_seq];
        let all_heads = [batch, n_heads, seq, kv_seq];
        let scale = 1.0 / (d_head as f64).sqrt();
        let scores = q.reshape([batch, n_kv, n_heads / n_kv * seq, d_head]).matmul(k.swap_dims(2, 3));
        let pattern = if hook.wants(Heads::Scores(layer).into()) {
            let hidden: Tensor<4, Bool> = portable::hidden_keys(mask, grouped, &scores.device());
            let masked = (scores * scale).mask_fill(hidden, portable::HIDDEN);
            let shown = hook.on_heads(Heads::Scores(layer), masked.reshape(all_heads));
            kernels::causal_softmax(shown.reshape(grouped), 1.0, mask)
        } else {
            kernels::causal_softmax(scores, scale, mask)
        };
        let pattern = if hook.wants(Heads::Pattern(layer).into()) {
            hook.on_heads(Heads::Pattern(layer), pattern.reshape(all_heads)).reshape(grouped)
        } else {
            pattern
        };
        pattern.matmul(v).reshape([batch, n_heads, seq, d_head])
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

impl HookedModel for Qwen {
    fn wiring(&self) -> Wiring {
        let c = &self.config;
        Wiring {
            n_layers: c.n_layers,
            n_heads: c.n_heads,
            n_kv_heads: c.n_kv_heads,
            d_model: c.d_model,
            key_value: KeyValue::Ungrouped,
        }
    }

    fn device(&self) -> Device {
        Qwen::device(self)
    }

    fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        self.forward(batch, Pass::new(hook))
    }

    fn run_part(
        &self,
        batch: &Batch,
        part: Part,
        resid: Tensor<3>,
        hook: &mut dyn Hook,
    ) -> Option<Tensor<3>> {
        hook.begin(batch, 0);
        Some(match part {
            Part::Blocks(range) => self.blocks(batch, range, resid, &mut Pass::new(hook)),
            Part::ReadOut => {
                let x = self.final_norm(batch, resid, hook);
                stream(hook, Stream::Logits, linear(&x, self.unembed(), None))
            }
        })
    }

    fn d_head(&self) -> Option<usize> {
        Some(self.config.d_head)
    }

    fn pull_back(&self, site: Heads, resid: &Tensor<3>, grad: Tensor<4>) -> Option<Tensor<4>> {
        let c = &self.config;
        let (layer, which) = match site {
            Heads::Query(layer) => (layer, Projection::Query),
            Heads::KeyUngrouped(layer) => (layer, Projection::Key),
            Heads::ValueUngrouped(layer) => (layer, Projection::Value),
            _ => return None,
        };
        let block = &self.blocks[layer];
        let grad = block.pull_per_head(which, grad, c.d_head, c.n_heads);
        Some(kernels::rms_norm_pull_back(resid.clone(), block.attn_norm.clone(), grad, c.norm_eps))
    }

    fn read_out(&self, resid: &Tensor<3>, write: &Tensor<3>, tokens: Option<&[u32]>) -> Option<Tensor<3>> {
        Some(self.read(resid, write, tokens))
    }

    fn head_weights(&self, head: Head) -> Option<HeadWeights> {
        Some(self.weights_of(head))
    }
}
