//! Small transformers in plain burn operations with every site: models for tests and examples, and a second
//! implementation of [`HookedModel`]. They are not fast, have no cache and read no files.
//!
//! Two variants. [`Toy::random`] has RMSNorm, a softmax pattern with a linear distance penalty, and SiLU
//! neurons. [`Toy::linear`] has no norm, a fixed uniform causal pattern (queries and keys are computed and
//! have no effect), and identity neurons: its logits are linear in its embeddings, so every linear
//! attribution method is exact on it.
//!
//! [`Written`] takes its weights as numbers, for compiled programs and logic gates whose true circuit is known.

use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use hooks::{Batch, Head, HeadWeights, Heads, Hook, HookedModel, KeyValue, Stream, Wiring};
use rand::{Rng, SeedableRng};

mod written;

pub use written::{Affine, Weights, Written, WrittenBlock, WrittenHead};

/// Sizes of a toy.
#[derive(Debug, Clone, Copy)]
pub struct ToyConfig {
    /// Blocks.
    pub n_layers: usize,
    /// Query heads in a block.
    pub n_heads: usize,
    /// Key/value heads in a block; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Neurons in a block.
    pub d_mlp: usize,
    /// Tokens.
    pub vocab: usize,
    /// Whether attention's output projection and the MLP have output biases.
    pub bias: bool,
}

impl Default for ToyConfig {
    fn default() -> Self {
        Self {
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            d_model: 16,
            d_head: 5,
            d_mlp: 24,
            vocab: 13,
            bias: false,
        }
    }
}

#[derive(Debug, Clone)]
struct Block {
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    o: Tensor<3>,
    value_bias: Tensor<3>,
    attn_bias: Tensor<1>,
    up: Tensor<2>,
    down: Tensor<2>,
    mlp_bias: Tensor<1>,
}

/// A toy model; its weights are constants on `device`.
#[derive(Debug, Clone)]
pub struct Toy {
    config: ToyConfig,
    linear: bool,
    device: Device,
    key_value: KeyValue,
    embed: Tensor<2>,
    blocks: Vec<Block>,
    unembed: Tensor<2>,
}

impl Toy {
    /// The full variant with weights drawn from `seed`. Inputs are created on `device`; to differentiate,
    /// give an autodiff device.
    pub fn random(seed: u64, config: ToyConfig, device: &Device) -> Self {
        Self::build(seed, config, device, false)
    }

    /// The variant whose logits are linear in its embeddings.
    pub fn linear(seed: u64, config: ToyConfig, device: &Device) -> Self {
        Self::build(seed, config, device, true)
    }

    fn build(seed: u64, c: ToyConfig, device: &Device, linear: bool) -> Self {
        let plain = device.clone().without_autodiff();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |n: usize, scale: f32| -> Vec<f32> {
            // The sum of three uniforms is bell-shaped enough; its variance is 1.
            (0..n).map(|_| scale * (0..3).map(|_| rng.random_range(-1.0f32..1.0)).sum::<f32>()).collect()
        };
        let mut weight2 = |rows: usize, cols: usize, scale: f32| {
            Tensor::<2>::from_data(TensorData::new(draw(rows * cols, scale), [rows, cols]), &plain)
        };
        let mut weight3 = |n: usize, rows: usize, cols: usize, scale: f32| {
            weight2(n * rows, cols, scale).reshape([n, rows, cols])
        };
        let (fan, bias) = (1.0 / (c.d_model as f32).sqrt(), if c.bias { 0.3 } else { 0.0 });
        let blocks = (0..c.n_layers)
            .map(|_| Block {
                q: weight3(c.n_heads, c.d_model, c.d_head, 1.5 * fan),
                k: weight3(c.n_kv_heads, c.d_model, c.d_head, 1.5 * fan),
                v: weight3(c.n_kv_heads, c.d_model, c.d_head, fan),
                o: weight3(c.n_heads, c.d_head, c.d_model, 1.0 / (c.d_head as f32).sqrt()),
                value_bias: weight3(c.n_kv_heads, 1, c.d_head, bias),
                attn_bias: weight3(1, 1, c.d_model, bias).reshape([c.d_model]),
                up: weight3(1, c.d_model, c.d_mlp, fan).reshape([c.d_model, c.d_mlp]),
                down: weight3(1, c.d_mlp, c.d_model, 1.0 / (c.d_mlp as f32).sqrt())
                    .reshape([c.d_mlp, c.d_model]),
                mlp_bias: weight3(1, 1, c.d_model, bias).reshape([c.d_model]),
            })
            .collect();
        Self {
            config: c,
            linear,
            device: device.clone(),
            key_value: KeyValue::Ungrouped,
            embed: weight3(1, c.vocab, c.d_model, 1.0).reshape([c.vocab, c.d_model]),
            unembed: weight3(1, c.d_model, c.vocab, fan).reshape([c.d_model, c.vocab]),
            blocks,
        }
    }

    /// The same model with key and value inputs counted as `key_value` says.
    #[must_use]
    pub fn with(mut self, key_value: KeyValue) -> Self {
        self.key_value = key_value;
        self
    }

    /// `x / rms(x)` over the last axis; nothing in the linear variant.
    fn norm<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if self.linear {
            return x;
        }
        let scale = norm_scale(&x);
        x / scale
    }

    /// One copy of each key/value head for each of its query heads.
    fn ungroup(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, kv, seq, d] = x.dims();
        let group = self.config.n_heads / self.config.n_kv_heads;
        x.unsqueeze_dim::<5>(2).repeat_dim(2, group).reshape([batch, kv * group, seq, d])
    }

    /// A key or value projection, per key/value head, or per query head where a hook watches the copies.
    fn project_kv(
        &self,
        resid: &Tensor<3>,
        weight: &Tensor<3>,
        sites: [Heads; 4],
        hook: &mut dyn Hook,
    ) -> Tensor<4> {
        let [input, input_ungrouped, output, output_ungrouped] = sites;
        let spread = |n: usize| resid.clone().unsqueeze_dim::<4>(1).repeat_dim(1, n);
        let x = if hook.wants(input_ungrouped.into()) {
            let x = heads(hook, input_ungrouped, spread(self.config.n_heads));
            let weight = self.ungroup(weight.clone().unsqueeze_dim::<4>(0));
            self.norm(x).matmul(weight)
        } else {
            let x = heads(hook, input, spread(self.config.n_kv_heads));
            let x = self.norm(x).matmul(weight.clone().unsqueeze_dim::<4>(0));
            self.ungroup(heads(hook, output, x))
        };
        heads(hook, output_ungrouped, x)
    }

    fn attend(&self, l: usize, resid: Tensor<3>, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        let (c, block) = (&self.config, &self.blocks[l]);
        let x = heads(hook, Heads::QueryIn(l), resid.clone().unsqueeze_dim::<4>(1).repeat_dim(1, c.n_heads));
        let q = self.norm(x).matmul(block.q.clone().unsqueeze_dim::<4>(0));
        let q = heads(hook, Heads::Query(l), q);
        let q = heads(hook, Heads::QueryRotary(l), q);
        let sites = [Heads::KeyIn(l), Heads::KeyInUngrouped(l), Heads::Key(l), Heads::KeyUngrouped(l)];
        let k = self.project_kv(&resid, &block.k, sites, hook);
        let k = heads(hook, Heads::KeyRotary(l), k);
        let sites =
            [Heads::ValueIn(l), Heads::ValueInUngrouped(l), Heads::Value(l), Heads::ValueUngrouped(l)];
        let v = self.project_kv(&resid, &block.v, sites, hook)
            + self.ungroup(block.value_bias.clone().unsqueeze_dim(0));
        let (hidden, distance) = mask(batch, &self.device);
        let scores = q.matmul(k.swap_dims(2, 3));
        let scores =
            if self.linear { scores * 0.0 } else { scores / (c.d_head as f64).sqrt() - distance * 0.3 };
        let [b, h, s, _] = scores.dims();
        let scores = scores.mask_fill(hidden.expand([b, h, s, s]), -1e9);
        let scores = heads(hook, Heads::Scores(l), scores);
        let pattern = heads(hook, Heads::Pattern(l), softmax(scores, 3));
        let z = heads(hook, Heads::Z(l), pattern.matmul(v));
        let write = heads(hook, Heads::Write(l), z.matmul(block.o.clone().unsqueeze_dim::<4>(0)));
        let out = write.sum_dim(1).squeeze_dim::<3>(1) + block.attn_bias.clone().unsqueeze();
        stream(hook, Stream::AttnOut(l), out)
    }

    fn mlp(&self, l: usize, resid: Tensor<3>, hook: &mut dyn Hook) -> Tensor<3> {
        let block = &self.blocks[l];
        let x = stream(hook, Stream::MlpIn(l), resid);
        let x = self.norm(x).matmul(block.up.clone().unsqueeze());
        let x = stream(hook, Stream::Neurons(l), if self.linear { x } else { silu(x) });
        let out = x.matmul(block.down.clone().unsqueeze()) + block.mlp_bias.clone().unsqueeze();
        stream(hook, Stream::MlpOut(l), out)
    }
}

impl HookedModel for Toy {
    fn wiring(&self) -> Wiring {
        let ToyConfig { n_layers, n_heads, n_kv_heads, d_model, .. } = self.config;
        Wiring { n_layers, n_heads, n_kv_heads, d_model, key_value: self.key_value }
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        hook.begin(batch, 0);
        let (rows, seq) = (batch.batch(), batch.seq());
        let ids: Vec<i64> = batch.ids().iter().map(|&id| i64::from(id)).collect();
        let plain = self.device.clone().without_autodiff();
        let ids = Tensor::<1, Int>::from_data(TensorData::from(&ids[..]), &plain);
        let embed = self.embed.clone().select(0, ids).reshape([rows, seq, self.config.d_model]);
        let mut resid = stream(hook, Stream::Embed, embed);
        for l in 0..self.config.n_layers {
            resid = stream(hook, Stream::ResidPre(l), resid);
            let attn = self.attend(l, resid.clone(), batch, hook);
            resid = stream(hook, Stream::ResidMid(l), resid + attn);
            let mlp = self.mlp(l, resid.clone(), hook);
            resid = stream(hook, Stream::ResidPost(l), resid + mlp);
        }
        if let Some((n, starts)) = batch.wanted_tail() {
            let d = self.config.d_model;
            let tail = |(i, start): (usize, usize)| resid.clone().slice([i..i + 1, start..start + n, 0..d]);
            resid = Tensor::cat(starts.into_iter().enumerate().map(tail).collect(), 0);
        }
        let x = stream(hook, Stream::FinalNorm, self.norm(resid));
        stream(hook, Stream::Logits, x.matmul(self.unembed.clone().unsqueeze()))
    }

    fn read_out(&self, resid: &Tensor<3>, write: &Tensor<3>, tokens: Option<&[u32]>) -> Option<Tensor<3>> {
        let x = if self.linear { write.clone() } else { write.clone() / norm_scale(resid) };
        let logits = x.matmul(self.unembed.clone().unsqueeze());
        Some(match tokens {
            None => logits,
            Some(tokens) => {
                let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
                logits.select(2, Tensor::from_data(TensorData::from(&ids[..]), &self.unembed.device()))
            }
        })
    }

    fn head_weights(&self, head: Head) -> Option<HeadWeights> {
        let (block, kv) = (&self.blocks[head.layer], self.wiring().kv_head(head.head));
        let of = |weight: &Tensor<3>, at: usize| weight.clone().narrow(0, at, 1).squeeze_dim::<2>(0);
        Some(HeadWeights {
            query: of(&block.q, head.head),
            key: of(&block.k, kv),
            value: of(&block.v, kv),
            output: of(&block.o, head.head),
        })
    }
}

/// What RMSNorm divides by, `[.., 1]`.
fn norm_scale<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    (x.clone().powf_scalar(2.0).mean_dim(D - 1) + 1e-6).sqrt()
}

fn stream(hook: &mut dyn Hook, site: Stream, x: Tensor<3>) -> Tensor<3> {
    if hook.wants(site.into()) { hook.on_stream(site, x) } else { x }
}

fn heads(hook: &mut dyn Hook, site: Heads, x: Tensor<4>) -> Tensor<4> {
    if hook.wants(site.into()) { hook.on_heads(site, x) } else { x }
}

/// Which keys a query may not see, `[batch, 1, seq, seq]`, and how far back each key is.
fn mask(batch: &Batch, device: &Device) -> (Tensor<4, Bool>, Tensor<4>) {
    assert!(batch.documents().is_none(), "packed rows are not known here");
    let (rows, seq) = (batch.batch(), batch.seq());
    let (mut hidden, mut distance) = (Vec::new(), Vec::new());
    for first in batch.first() {
        for q in 0..seq {
            for k in 0..seq {
                // A padding position sees itself, so that no softmax is over nothing.
                hidden.push(k > q || (k < *first && k != q));
                distance.push(q as f32 - k as f32);
            }
        }
    }
    let (plain, shape) = (device.clone().without_autodiff(), [rows, 1, seq, seq]);
    let hidden = Tensor::from_data(TensorData::new(hidden, shape), &plain);
    (hidden, Tensor::from_data(TensorData::new(distance, shape), &plain))
}
