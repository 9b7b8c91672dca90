//! Attention of one block, with every site of [`hooks`] in the order of the computation.
//!
//! Where a hook wants the input of heads (`QueryIn`, …) norm and projection are computed for each head; else once
//! for all.

use burn::tensor::{Bool, Tensor};
use hooks::{Heads, Hook, Site};
use kernels::{CausalMask, portable};

use crate::forward::{Pass, heads};
use crate::projection::{split_heads, ungroup};
use crate::rope::Rope;
use crate::{Block, Config, Projection};

/// One block's attention in one run.
pub(crate) struct Attention<'a> {
    pub(crate) config: &'a Config,
    pub(crate) block: &'a Block,
    pub(crate) layer: usize,
    pub(crate) rope: &'a Rope,
    pub(crate) mask: CausalMask,
}

/// The residual stream and, where it is computed once for all heads, its norm, each `[batch, seq, d_model]`.
struct Input<'a> {
    resid: &'a Tensor<3>,
    normed: Option<Tensor<3>>,
}

fn wants(hook: &dyn Hook, site: Heads) -> bool {
    hook.wants(Site::Heads(site))
}

impl Attention<'_> {
    fn norm<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::rms_norm(x, self.block.attn_norm.clone(), self.config.norm_eps)
    }

    /// What attention adds to the residual stream `resid`, both `[batch, seq, d_model]`.
    pub(crate) fn run(&self, resid: &Tensor<3>, pass: &mut Pass<'_>) -> Tensor<3> {
        let (c, layer, hook) = (self.config, self.layer, &mut *pass.hook);
        let key_ungrouped =
            wants(hook, Heads::KeyInUngrouped(layer)) || wants(hook, Heads::KeyUngrouped(layer));
        let value_ungrouped =
            wants(hook, Heads::ValueInUngrouped(layer)) || wants(hook, Heads::ValueUngrouped(layer));
        let ungrouped = key_ungrouped || value_ungrouped;

        let own_reads = wants(hook, Heads::QueryIn(layer))
            && (wants(hook, Heads::KeyInUngrouped(layer)) || wants(hook, Heads::KeyIn(layer)))
            && (wants(hook, Heads::ValueInUngrouped(layer)) || wants(hook, Heads::ValueIn(layer)));
        let input = Input { resid, normed: (!own_reads).then(|| self.norm(resid.clone())) };
        let q = self.project(Projection::Query, &input, false, hook);
        let k = self.project(Projection::Key, &input, ungrouped, hook);
        let v = self.project(Projection::Value, &input, ungrouped, hook);

        let (key_site, value_site) = if ungrouped {
            (Heads::KeyUngrouped(layer), Heads::ValueUngrouped(layer))
        } else {
            (Heads::Key(layer), Heads::Value(layer))
        };
        let mut q = heads(hook, Heads::Query(layer), q);
        let mut k = heads(hook, key_site, k);
        let v = heads(hook, value_site, v);
        if let Some([q_norm, k_norm]) = &self.block.qk_norms {
            q = kernels::rms_norm(q, q_norm.clone(), c.norm_eps);
            k = kernels::rms_norm(k, k_norm.clone(), c.norm_eps);
        }
        let rotated = |x| kernels::rotary(x, self.rope.cos.clone(), self.rope.sin.clone());
        let q = heads(hook, Heads::QueryRotary(layer), rotated(q));
        let k = heads(hook, Heads::KeyRotary(layer), rotated(k));
        assert!(!ungrouped || pass.cache.is_none(), "ungrouped key and value sites are not kept in a cache");
        let shown = wants(hook, Heads::Scores(layer)) || wants(hook, Heads::Pattern(layer));
        let z = match &mut pass.cache {
            Some(cache) if self.mask.seq == 1 && !shown => {
                cache.attend(layer, [q, k, v], self.scale(), &self.mask)
            }
            Some(cache) => {
                let [k, v] = cache.extend(layer, k, v);
                self.mix([q, k, v], hook)
            }
            None => self.mix([q, k, v], hook),
        };
        let z = heads(hook, Heads::Z(layer), z);
        let [batch, n_heads, seq, d_head] = z.dims();
        if !wants(hook, Heads::Write(layer)) {
            // One position: the heads lie behind each other already.
            let z = if seq == 1 { z } else { z.swap_dims(1, 2) };
            let z = z.reshape([batch, seq, n_heads * d_head]);
            return self.block.linear(Projection::Output, &z);
        }
        let writes = hook.on_heads(Heads::Write(layer), self.block.write_per_head(z));
        let sum = writes.sum_dim(1).reshape([batch, seq, c.d_model]);
        match self.block.bias(Projection::Output) {
            Some(bias) => sum + bias.clone().unsqueeze(),
            None => sum,
        }
    }

    /// A projection before any per-head norm, `[batch, heads, seq, d_head]`.
    fn project(
        &self,
        which: Projection,
        input: &Input<'_>,
        ungrouped: bool,
        hook: &mut dyn Hook,
    ) -> Tensor<4> {
        let (c, block, layer) = (self.config, self.block, self.layer);
        let (n, site, ungrouped_site) = match which {
            Projection::Key => (c.n_kv_heads, Heads::KeyIn(layer), Heads::KeyInUngrouped(layer)),
            Projection::Value => (c.n_kv_heads, Heads::ValueIn(layer), Heads::ValueInUngrouped(layer)),
            _ => (c.n_heads, Heads::QueryIn(layer), Heads::QueryIn(layer)),
        };
        let ungrouped = ungrouped && which != Projection::Query;
        let (site, n_heads) = if ungrouped { (ungrouped_site, c.n_heads) } else { (site, n) };
        if wants(hook, site) {
            let [batch, seq, d_model] = input.resid.dims();
            let resid: Tensor<4> = input.resid.clone().unsqueeze_dim(1);
            let x = self.norm(hook.on_heads(site, resid.expand([batch, n_heads, seq, d_model])));
            let y = block.read_per_head(which, x, c.d_head, ungrouped.then_some(c.n_heads));
            return match block.bias(which) {
                Some(bias) => {
                    let bias: Tensor<4> = bias.clone().reshape([1, n, 1, c.d_head]);
                    y + if ungrouped { ungroup(bias, c.n_heads) } else { bias }
                }
                None => y,
            };
        }
        let normed = input.normed.clone().unwrap_or_else(|| self.norm(input.resid.clone()));
        let y = split_heads(block.linear(which, &normed), n);
        if ungrouped { ungroup(y, c.n_heads) } else { y }
    }

    /// What scores are multiplied by.
    fn scale(&self) -> f64 {
        1.0 / (self.config.d_head as f64).sqrt()
    }

    /// Attention itself: `[batch, n_heads, seq, d_head]` from queries, keys and values.
    fn mix(&self, [q, k, v]: [Tensor<4>; 3], hook: &mut dyn Hook) -> Tensor<4> {
        let (layer, mask) = (self.layer, &self.mask);
        let ([batch, n_heads, seq, d_head], [_, n_kv, kv_seq, _]) = (q.dims(), k.dims());
        let grouped = [batch, n_kv, n_heads / n_kv * seq, kv_seq];
        let all_heads = [batch, n_heads, seq, kv_seq];
        let scale = self.scale();
        if kernels::attends_in_blocks(&q, kv_seq, mask)
            && !wants(hook, Heads::Scores(layer))
            && !wants(hook, Heads::Pattern(layer))
        {
            return kernels::document_attention([q, k, v], scale, mask);
        }
        let q = q.reshape([batch, n_kv, n_heads / n_kv * seq, d_head]);
        let scores = kernels::matmul(q, k.swap_dims(2, 3));
        let pattern = if wants(hook, Heads::Scores(layer)) {
            let hidden: Tensor<4, Bool> = portable::hidden_keys(mask, grouped, &scores.device());
            let masked = (scores * scale).mask_fill(hidden, portable::HIDDEN);
            let shown = hook.on_heads(Heads::Scores(layer), masked.reshape(all_heads));
            kernels::causal_softmax(shown.reshape(grouped), 1.0, mask)
        } else {
            kernels::causal_softmax(scores, scale, mask)
        };
        let pattern = if wants(hook, Heads::Pattern(layer)) {
            hook.on_heads(Heads::Pattern(layer), pattern.reshape(all_heads)).reshape(grouped)
        } else {
            pattern
        };
        kernels::matmul(pattern, v).reshape([batch, n_heads, seq, d_head])
    }
}
