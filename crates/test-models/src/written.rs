//! A transformer whose weights are written down: compiled programs and logic gates, whose true circuit is
//! known. No norm, ReLU neurons, absolute positions, scores scaled by `1/sqrt(d_head)`. It trains nothing.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use hooks::{Batch, Heads, Hook, HookedModel, KeyValue, Rows, Stream, Wiring};

use crate::{heads, stream};

/// `x W + b`; `weight` is `[n_in, n_out]`, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// `n_in * n_out` numbers.
    pub weight: Vec<f32>,
    /// `n_out` numbers.
    pub bias: Vec<f32>,
}

impl Affine {
    /// All zeros.
    pub fn zeros(n_in: usize, n_out: usize) -> Self {
        Self { weight: vec![0.0; n_in * n_out], bias: vec![0.0; n_out] }
    }

    /// The same with `weight[from, to] = value` for each entry.
    #[must_use]
    pub fn with(mut self, entries: &[(usize, usize, f32)]) -> Self {
        let n_out = self.bias.len();
        entries.iter().for_each(|&(from, to, value)| self.weight[from * n_out + to] = value);
        self
    }
}

/// One attention head: `d_model` to `d_head` three times, and back without a bias of its own.
#[derive(Debug, Clone)]
pub struct WrittenHead {
    /// Query projection.
    pub q: Affine,
    /// Key projection.
    pub k: Affine,
    /// Value projection.
    pub v: Affine,
    /// Output projection; its bias is the block's.
    pub o: Affine,
}

/// One block: heads side by side, then an MLP.
#[derive(Debug, Clone)]
pub struct WrittenBlock {
    /// The heads, all of one width.
    pub heads: Vec<WrittenHead>,
    /// Into the neurons.
    pub up: Affine,
    /// Out of the neurons.
    pub down: Affine,
}

/// All weights. The logits are `x unembed`.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Whether a position sees the earlier ones only.
    pub causal: bool,
    /// `[vocab, d_model]`, row by row.
    pub tokens: Vec<f32>,
    /// `[max_seq, d_model]`, row by row.
    pub positions: Vec<f32>,
    /// The blocks, each with as many heads as the others.
    pub blocks: Vec<WrittenBlock>,
    /// `[d_model, n_logits]`.
    pub unembed: Affine,
}

struct Block {
    q: [Tensor<4>; 2],
    k: [Tensor<4>; 2],
    v: [Tensor<4>; 2],
    o: Tensor<4>,
    attn_bias: Tensor<3>,
    up: [Tensor<3>; 2],
    down: [Tensor<3>; 2],
}

/// A model made of written weights.
#[allow(missing_debug_implementations)]
pub struct Written {
    d_model: usize,
    n_heads: usize,
    causal: bool,
    device: Device,
    tokens: Tensor<2>,
    positions: Tensor<2>,
    blocks: Vec<Block>,
    unembed: [Tensor<3>; 2],
}

impl Written {
    /// A model on `device`.
    ///
    /// # Panics
    /// If sizes do not fit each other, or there is no block or no head.
    pub fn new(weights: &Weights, device: &Device) -> Self {
        let d = weights.d_model;
        let plain = device.clone().without_autodiff();
        let data = |values: &[f32], shape: &[usize]| TensorData::new(values.to_vec(), shape.to_vec());
        let affine = |a: &Affine, n_in: usize| -> [Tensor<3>; 2] {
            let n_out = a.bias.len();
            [
                Tensor::from_data(data(&a.weight, &[1, n_in, n_out]), &plain),
                Tensor::from_data(data(&a.bias, &[1, 1, n_out]), &plain),
            ]
        };
        // One projection of all heads, weights [1, heads, n_in, n_out] and biases [1, heads, 1, n_out].
        let stack = |parts: Vec<&Affine>, n_in: usize| -> [Tensor<4>; 2] {
            let (n, n_out) = (parts.len(), parts[0].bias.len());
            let weights: Vec<f32> = parts.iter().flat_map(|a| a.weight.clone()).collect();
            let biases: Vec<f32> = parts.iter().flat_map(|a| a.bias.clone()).collect();
            [
                Tensor::from_data(data(&weights, &[1, n, n_in, n_out]), &plain),
                Tensor::from_data(data(&biases, &[1, n, 1, n_out]), &plain),
            ]
        };
        let block = |b: &WrittenBlock| {
            let d_head = b.heads[0].q.bias.len();
            let [o, biases] = stack(b.heads.iter().map(|h| &h.o).collect(), d_head);
            Block {
                q: stack(b.heads.iter().map(|h| &h.q).collect(), d),
                k: stack(b.heads.iter().map(|h| &h.k).collect(), d),
                v: stack(b.heads.iter().map(|h| &h.v).collect(), d),
                o,
                attn_bias: biases.sum_dim(1).reshape([1, 1, d]),
                up: affine(&b.up, d),
                down: affine(&b.down, b.up.bias.len()),
            }
        };
        let table = |values: &[f32]| Tensor::from_data(data(values, &[values.len() / d, d]), &plain);
        Self {
            d_model: d,
            n_heads: weights.blocks[0].heads.len(),
            causal: weights.causal,
            device: device.clone(),
            tokens: table(&weights.tokens),
            positions: table(&weights.positions),
            blocks: weights.blocks.iter().map(block).collect(),
            unembed: affine(&weights.unembed, d),
        }
    }

    fn attend(&self, l: usize, resid: &Tensor<3>, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        let block = &self.blocks[l];
        let mut project = |[weight, bias]: &[Tensor<4>; 2], before: [Heads; 2], after: [Heads; 2]| {
            let x = resid.clone().unsqueeze_dim::<4>(1).repeat_dim(1, self.n_heads);
            let x = before.into_iter().fold(x, |x, site| heads(hook, site, x));
            let x = x.matmul(weight.clone()) + bias.clone();
            after.into_iter().fold(x, |x, site| heads(hook, site, x))
        };
        // A query head has key and value heads of its own, so both ways of counting see the same.
        let q = project(&block.q, [Heads::QueryIn(l); 2], [Heads::Query(l), Heads::QueryRotary(l)]);
        let k = project(
            &block.k,
            [Heads::KeyIn(l), Heads::KeyInUngrouped(l)],
            [Heads::Key(l), Heads::KeyUngrouped(l)],
        );
        let v = project(
            &block.v,
            [Heads::ValueIn(l), Heads::ValueInUngrouped(l)],
            [Heads::Value(l), Heads::ValueUngrouped(l)],
        );
        let k = heads(hook, Heads::KeyRotary(l), k);
        let [b, h, s, d_head] = q.dims();
        let scores = q.matmul(k.swap_dims(2, 3)) / (d_head as f64).sqrt();
        let scores = scores.mask_fill(self.hidden(batch).expand([b, h, s, s]), -1e9);
        let scores = heads(hook, Heads::Scores(l), scores);
        let pattern = heads(hook, Heads::Pattern(l), softmax(scores, 3));
        let z = heads(hook, Heads::Z(l), pattern.matmul(v));
        let write = heads(hook, Heads::Write(l), z.matmul(block.o.clone()));
        let out = write.sum_dim(1).squeeze_dim::<3>(1) + block.attn_bias.clone();
        stream(hook, Stream::AttnOut(l), out)
    }

    /// Which keys a query may not see, `[batch, 1, seq, seq]`: padding, and later ones where causal.
    fn hidden(&self, batch: &Batch) -> Tensor<4, Bool> {
        let (rows, seq) = (batch.batch(), batch.seq());
        let mut hidden = Vec::with_capacity(rows * seq * seq);
        for (&first, &end) in batch.first().iter().zip(batch.end()) {
            let unseen = |q: usize, k: usize| k != q && (k < first || k >= end || (self.causal && k > q));
            hidden.extend((0..seq).flat_map(|q| (0..seq).map(move |k| (q, k))).map(|(q, k)| unseen(q, k)));
        }
        let data = TensorData::new(hidden, [rows, 1, seq, seq]);
        Tensor::from_data(data, &self.device.clone().without_autodiff())
    }
}

impl HookedModel for Written {
    fn wiring(&self) -> Wiring {
        Wiring {
            n_layers: self.blocks.len(),
            n_heads: self.n_heads,
            n_kv_heads: self.n_heads,
            d_model: self.d_model,
            key_value: KeyValue::Ungrouped,
        }
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        assert!(batch.documents().is_none(), "packed rows are not known here");
        hook.begin(batch, 0);
        let (rows, seq, d) = (batch.batch(), batch.seq(), self.d_model);
        let pick = |table: &Tensor<2>, ids: Vec<i64>| {
            let plain = self.device.clone().without_autodiff();
            let ids = Tensor::<1, Int>::from_data(TensorData::from(&ids[..]), &plain);
            table.clone().select(0, ids).reshape([rows, seq, d])
        };
        let ids = batch.ids().iter().map(|&id| i64::from(id)).collect();
        let first = batch.first().iter();
        let places = first.flat_map(|&f| (0..seq).map(move |i| i.saturating_sub(f) as i64)).collect();
        let embed = pick(&self.tokens, ids) + pick(&self.positions, places);
        let mut resid = stream(hook, Stream::Embed, embed);
        for (l, block) in self.blocks.iter().enumerate() {
            resid = stream(hook, Stream::ResidPre(l), resid);
            let attn = self.attend(l, &resid, batch, hook);
            resid = stream(hook, Stream::ResidMid(l), resid + attn);
            let x = stream(hook, Stream::MlpIn(l), resid.clone());
            let x = relu(x.matmul(block.up[0].clone()) + block.up[1].clone());
            let x = stream(hook, Stream::Neurons(l), x);
            let mlp =
                stream(hook, Stream::MlpOut(l), x.matmul(block.down[0].clone()) + block.down[1].clone());
            resid = stream(hook, Stream::ResidPost(l), resid + mlp);
        }
        if batch.wanted_rows() == Rows::Last {
            let last = |(i, &end): (usize, &usize)| resid.clone().slice([i..i + 1, end - 1..end, 0..d]);
            resid = Tensor::cat(batch.end().iter().enumerate().map(last).collect(), 0);
        }
        let x = stream(hook, Stream::FinalNorm, resid);
        stream(hook, Stream::Logits, x.matmul(self.unembed[0].clone()) + self.unembed[1].clone())
    }
}
