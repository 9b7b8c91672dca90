//! A small GPT-2: learned positions, LayerNorm, GELU, tied embeddings; random weights. It is what a reader of
//! this project's documentation would write to have circuits found in a model of their own.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use hooks::{Batch, Heads, Hook, HookedModel, KeyValue, Rows, Stream, Wiring};

const LAYERS: usize = 2;
const HEADS: usize = 4;
const D_MODEL: usize = 32;
const D_HEAD: usize = D_MODEL / HEADS;
const MAX_SEQ: usize = 16;

struct Block {
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    o: Tensor<4>,
    up: Tensor<3>,
    down: Tensor<3>,
}

pub struct Gpt2 {
    device: Device,
    tokens: Tensor<2>,
    positions: Tensor<2>,
    blocks: Vec<Block>,
}

impl Gpt2 {
    pub fn random(vocab: usize, device: &Device) -> Self {
        let mut state = 1u64;
        let mut draw = |n: usize, scale: f32| -> Vec<f32> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                scale * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
            };
            (0..n).map(|_| next()).collect()
        };
        let mut two = |rows: usize, cols: usize, scale: f32| -> Tensor<2> {
            Tensor::from_data(TensorData::new(draw(rows * cols, scale), [rows, cols]), device)
        };
        let (tokens, positions) = (two(vocab, D_MODEL, 1.0), two(MAX_SEQ, D_MODEL, 0.5));
        let mut heads =
            |rows: usize, cols: usize| two(HEADS * rows, cols, 0.4).reshape([1, HEADS, rows, cols]);
        let mut blocks = Vec::new();
        for _ in 0..LAYERS {
            let (q, k, v) = (heads(D_MODEL, D_HEAD), heads(D_MODEL, D_HEAD), heads(D_MODEL, D_HEAD));
            let (o, up) = (heads(D_HEAD, D_MODEL), heads(D_MODEL, D_MODEL));
            let down = heads(D_MODEL, D_MODEL).reshape([1, 4 * D_MODEL, D_MODEL]);
            let up = up.reshape([1, D_MODEL, 4 * D_MODEL]);
            blocks.push(Block { q, k, v, o, up, down });
        }
        Self { device: device.clone(), tokens, positions, blocks }
    }

    fn attend(&self, l: usize, resid: &Tensor<3>, hook: &mut dyn Hook) -> Tensor<3> {
        let block = &self.blocks[l];
        // What each head reads, before the norm, is a copy of its own that a hook may change.
        let mut read = |weight: &Tensor<4>, sites: &[Heads]| {
            let copies = resid.clone().unsqueeze_dim::<4>(1).repeat_dim(1, HEADS);
            norm(sites.iter().fold(copies, |x, &site| heads(hook, site, x))).matmul(weight.clone())
        };
        let q = read(&block.q, &[Heads::QueryIn(l)]);
        let k = read(&block.k, &[Heads::KeyIn(l), Heads::KeyInUngrouped(l)]);
        let v = read(&block.v, &[Heads::ValueIn(l), Heads::ValueInUngrouped(l)]);
        let [b, h, s, d] = q.dims();
        let later = (0..s * s).map(|i| i % s > i / s).collect::<Vec<bool>>();
        let later = Tensor::<4, Bool>::from_data(TensorData::new(later, [1, 1, s, s]), &q.device());
        let scores = q.matmul(k.swap_dims(2, 3)) / (d as f64).sqrt();
        let pattern = softmax(scores.mask_fill(later.expand([b, h, s, s]), -1e9), 3);
        let pattern = heads(hook, Heads::Pattern(l), pattern);
        let z = heads(hook, Heads::Z(l), pattern.matmul(v));
        let write = heads(hook, Heads::Write(l), z.matmul(block.o.clone()));
        stream(hook, Stream::AttnOut(l), write.sum_dim(1).squeeze_dim(1))
    }
}

impl HookedModel for Gpt2 {
    fn wiring(&self) -> Wiring {
        let (n_layers, n_heads, n_kv_heads, d_model) = (LAYERS, HEADS, HEADS, D_MODEL);
        Wiring { n_layers, n_heads, n_kv_heads, d_model, key_value: KeyValue::Ungrouped }
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        assert!(batch.documents().is_none(), "packed rows are not known here");
        hook.begin(batch, 0);
        let (rows, seq) = (batch.batch(), batch.seq());
        let pick = |table: &Tensor<2>, ids: Vec<i64>| {
            let ids = Tensor::<1, Int>::from_data(TensorData::from(&ids[..]), &self.device);
            table.clone().select(0, ids).reshape([rows, seq, D_MODEL])
        };
        let tokens = pick(&self.tokens, batch.ids().iter().map(|&id| i64::from(id)).collect());
        let positions = pick(&self.positions, (0..rows * seq).map(|i| (i % seq) as i64).collect());
        let mut resid = stream(hook, Stream::Embed, tokens + positions);
        for (l, block) in self.blocks.iter().enumerate() {
            resid = stream(hook, Stream::ResidPre(l), resid);
            let attn = self.attend(l, &resid, hook);
            resid = stream(hook, Stream::ResidMid(l), resid + attn);
            let x = norm(stream(hook, Stream::MlpIn(l), resid.clone()));
            let x = stream(hook, Stream::Neurons(l), gelu(x.matmul(block.up.clone())));
            let mlp = stream(hook, Stream::MlpOut(l), x.matmul(block.down.clone()));
            resid = stream(hook, Stream::ResidPost(l), resid + mlp);
        }
        if batch.wanted_rows() == Rows::Last {
            let last = |(i, &end): (usize, &usize)| resid.clone().slice([i..i + 1, end - 1..end, 0..D_MODEL]);
            resid = Tensor::cat(batch.end().iter().enumerate().map(last).collect(), 0);
        }
        let unembed = self.tokens.clone().transpose().unsqueeze();
        let x = stream(hook, Stream::FinalNorm, norm(resid));
        stream(hook, Stream::Logits, x.matmul(unembed))
    }
}

/// LayerNorm over the last axis.
fn norm<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let x = x.clone() - x.mean_dim(D - 1);
    let scale = (x.clone().powf_scalar(2.0).mean_dim(D - 1) + 1e-5).sqrt();
    x / scale
}

fn stream(hook: &mut dyn Hook, site: Stream, x: Tensor<3>) -> Tensor<3> {
    if hook.wants(site.into()) { hook.on_stream(site, x) } else { x }
}

fn heads(hook: &mut dyn Hook, site: Heads, x: Tensor<4>) -> Tensor<4> {
    if hook.wants(site.into()) { hook.on_heads(site, x) } else { x }
}
