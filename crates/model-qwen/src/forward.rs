//! The one forward pass.
//!
//! Every site of [`hooks`] is shown here, in the order of the computation. Where a hook wants what a head
//! reads (`QueryIn`, …) the norm and the projection are done once for each head; else once for all.

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use hooks::{Batch, Head, HeadWeights, Heads, Hook, HookedModel, KeyValue, Rows, Site, Stream, Wiring};
use kernels::{CausalMask, portable};

use crate::rope::Rope;
use crate::{Block, KvCache, Qwen};

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
    let weight = in_f32(weight);
    let y = x.clone().reshape([batch * seq, d_in]).matmul(weight.transpose());
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

/// The three projections of a block, to name them in one place.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Query,
    Key,
    Value,
}

impl Qwen {
    /// Runs the model on `batch`.
    ///
    /// # Shapes
    /// Returns logits `[batch, seq, vocab]`, or `[batch, 1, vocab]` where the batch asks for last rows only.
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
    /// Returns `[batch, seq, d_model]`, or `[batch, 1, d_model]` where the batch asks for last rows only.
    pub fn final_hidden(&self, batch: &Batch, pass: &mut Pass<'_>) -> Tensor<3> {
        let device = self.device();
        let offset = pass.cache.as_ref().map_or(0, |cache| cache.len());
        pass.hook.begin(batch, offset);
        let seq = batch.seq();
        let rope = Rope::new(&self.config, batch.first(), offset, seq, &device);
        let mut x = stream(pass.hook, Stream::Embed, self.embed_tokens(batch, &device));
        for (layer, block) in self.blocks.iter().enumerate() {
            x = stream(pass.hook, Stream::ResidPre(layer), x);
            let window = self.config.windows[layer];
            let mask = CausalMask { seq, first: batch.first().to_vec(), window };
            let attn_out = self.attention(layer, block, &x, &rope, &mask, pass);
            let attn_out = stream(pass.hook, Stream::AttnOut(layer), attn_out);
            x = stream(pass.hook, Stream::ResidMid(layer), x + attn_out);
            let mlp_in = stream(pass.hook, Stream::MlpIn(layer), x.clone());
            let normed = kernels::rms_norm(mlp_in, block.mlp_norm.clone(), self.config.norm_eps);
            let neurons =
                kernels::swiglu(linear(&normed, &block.gate, None), linear(&normed, &block.up, None));
            let neurons = stream(pass.hook, Stream::Neurons(layer), neurons);
            let mlp_out = stream(pass.hook, Stream::MlpOut(layer), linear(&neurons, &block.down, None));
            x = stream(pass.hook, Stream::ResidPost(layer), x + mlp_out);
        }
        if let Some(cache) = &mut pass.cache {
            cache.advance(seq);
        }
        if batch.wanted_rows() == Rows::Last {
            x = last_rows(x, batch);
        }
        stream(pass.hook, Stream::FinalNorm, kernels::rms_norm(x, self.norm.clone(), self.config.norm_eps))
    }

    /// Whether every token of `batch` is in the vocabulary.
    ///
    /// # Errors
    /// The first token that is not, with its row.
    pub fn check(&self, batch: &Batch) -> Result<(), crate::Error> {
        let vocab = self.config.vocab;
        match batch.ids().iter().position(|&id| id as usize >= vocab) {
            None => Ok(()),
            Some(at) => Err(crate::Error::new(format!(
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
        role: Role,
        resid: &Tensor<3>,
        normed: Option<&Tensor<3>>,
        ungrouped: bool,
        hook: &mut dyn Hook,
    ) -> Tensor<4> {
        let (c, block) = (&self.config, &self.blocks[layer]);
        let (weight, n, bias) = match role {
            Role::Query => (&block.query, c.n_heads, 0),
            Role::Key => (&block.key, c.n_kv_heads, 1),
            Role::Value => (&block.value, c.n_kv_heads, 2),
        };
        let bias = block.biases.as_ref().map(|biases| &biases[bias]);
        let (site, ungrouped_site) = match role {
            Role::Query => (Heads::QueryIn(layer), Heads::QueryIn(layer)),
            Role::Key => (Heads::KeyIn(layer), Heads::KeyInUngrouped(layer)),
            Role::Value => (Heads::ValueIn(layer), Heads::ValueInUngrouped(layer)),
        };
        let ungrouped = ungrouped && role != Role::Query;
        let (site, n_heads) = if ungrouped { (ungrouped_site, c.n_heads) } else { (site, n) };
        if hook.wants(site.into()) {
            let [batch, seq, d_model] = resid.dims();
            let resid: Tensor<4> = resid.clone().unsqueeze_dim(1);
            let x = hook.on_heads(site, resid.expand([batch, n_heads, seq, d_model]));
            let x = kernels::rms_norm(x, block.attn_norm.clone(), c.norm_eps);
            let y = x.matmul(per_head(weight, c.d_head, ungrouped.then_some(c.n_heads)));
            return match bias {
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
        let y = split_heads(linear(normed, weight, bias), n);
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
        let q = self.project(layer, Role::Query, resid, normed.as_ref(), false, hook);
        let k = self.project(layer, Role::Key, resid, normed.as_ref(), ungrouped, hook);
        let v = self.project(layer, Role::Value, resid, normed.as_ref(), ungrouped, hook);

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
            let d_model = c.d_model;
            let output = in_f32(&block.output).reshape([1, d_model, c.n_heads, c.d_head]);
            let writes = z.matmul(output.permute([0, 2, 3, 1]));
            let [batch, _, seq, _] = writes.dims();
            hook.on_heads(Heads::Write(layer), writes).sum_dim(1).reshape([batch, seq, d_model])
        } else {
            let [batch, n_heads, seq, d_head] = z.dims();
            linear(&z.swap_dims(1, 2).reshape([batch, seq, n_heads * d_head]), &block.output, None)
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

/// Each row's last real position, `[batch, 1, d_model]`.
fn last_rows(x: Tensor<3>, batch: &Batch) -> Tensor<3> {
    let [n, seq, d_model] = x.dims();
    if batch.end().iter().all(|&end| end == seq) {
        return x.slice([0..n, seq - 1..seq, 0..d_model]);
    }
    let index: Vec<i64> =
        batch.end().iter().enumerate().map(|(row, &end)| (row * seq + end - 1) as i64).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [n]), &x.device().without_autodiff());
    x.reshape([n * seq, d_model]).select(0, index).reshape([n, 1, d_model])
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

    fn d_head(&self) -> Option<usize> {
        Some(self.config.d_head)
    }

    fn pull_back(&self, site: Heads, resid: &Tensor<3>, grad: Tensor<4>) -> Option<Tensor<4>> {
        let c = &self.config;
        let (layer, weight) = match site {
            Heads::Query(layer) => (layer, &self.blocks[layer].query),
            Heads::KeyUngrouped(layer) => (layer, &self.blocks[layer].key),
            Heads::ValueUngrouped(layer) => (layer, &self.blocks[layer].value),
            _ => return None,
        };
        // grad W_h: [batch, n_heads, seq, d_head] x [1, n_heads, d_head, d_model]
        let weight = per_head(weight, c.d_head, Some(c.n_heads)).swap_dims(2, 3);
        let grad = grad.matmul(weight);
        Some(kernels::rms_norm_pull_back(
            resid.clone(),
            self.blocks[layer].attn_norm.clone(),
            grad,
            c.norm_eps,
        ))
    }

    fn read_out(&self, resid: &Tensor<3>, write: &Tensor<3>, tokens: Option<&[u32]>) -> Option<Tensor<3>> {
        Some(self.read(resid, write, tokens))
    }

    fn head_weights(&self, head: Head) -> Option<HeadWeights> {
        Some(self.weights_of(head))
    }
}
