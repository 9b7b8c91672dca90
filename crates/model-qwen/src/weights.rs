//! The weights of a model and their names in a checkpoint.
//!
//! Matrices keep Hugging Face's layout `[out, in]` and are multiplied through a transposed view. This is the
//! only module that knows checkpoint key names.

use burn::tensor::{DType, Device, Tensor};

use crate::{Config, Error, Lora};

/// A decoder-only transformer.
#[derive(Debug, Clone)]
pub struct Qwen {
    /// Sizes and switches.
    pub config: Config,
    /// Token embeddings `[vocab, d_model]`.
    pub embed: Tensor<2>,
    /// Blocks, first to last.
    pub blocks: Vec<Block>,
    /// Weight of the final norm `[d_model]`.
    pub norm: Tensor<1>,
    /// Output projection `[vocab, d_model]`; the embedding where `None`.
    pub head: Option<Tensor<2>>,
    /// What parameters held before an attached adapter put its own there (`modules_to_save`), by their names in a
    /// checkpoint; empty in a checkpoint.
    pub replaced: Vec<(String, Weight)>,
}

/// One block: attention, then MLP, each behind its norm.
#[derive(Debug, Clone)]
pub struct Block {
    /// Weight of the norm before attention `[d_model]`.
    pub attn_norm: Tensor<1>,
    /// Query projection `[n_heads * d_head, d_model]`.
    pub query: Tensor<2>,
    /// Key projection `[n_kv_heads * d_head, d_model]`.
    pub key: Tensor<2>,
    /// Value projection `[n_kv_heads * d_head, d_model]`.
    pub value: Tensor<2>,
    /// Output projection `[d_model, n_heads * d_head]`.
    pub output: Tensor<2>,
    /// Biases of the projections that have one, `[out]`, in the order of [`Projection::ALL`].
    pub biases: [Option<Tensor<1>>; 7],
    /// Weights of the norms of query and key heads `[d_head]`, where the family has them.
    pub qk_norms: Option<[Tensor<1>; 2]>,
    /// Weight of the norm before the MLP `[d_model]`.
    pub mlp_norm: Tensor<1>,
    /// Gate projection `[d_mlp, d_model]`.
    pub gate: Tensor<2>,
    /// Up projection `[d_mlp, d_model]`.
    pub up: Tensor<2>,
    /// Down projection `[d_model, d_mlp]`.
    pub down: Tensor<2>,
    /// Low-rank terms beside the projections; empty in a checkpoint.
    pub lora: Lora,
}

/// The linear maps of a block: what an adapter may sit beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    /// From the residual stream to the queries.
    Query,
    /// From the residual stream to the keys.
    Key,
    /// From the residual stream to the values.
    Value,
    /// From the mixed values to the residual stream.
    Output,
    /// From the residual stream to the gates of the neurons.
    Gate,
    /// From the residual stream to the neurons.
    Up,
    /// From the neurons to the residual stream.
    Down,
}

impl Projection {
    /// All of them, in the order of the computation.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The name of its module within a block of a checkpoint.
    fn module(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// The name of its module in a checkpoint: `model.layers.3.self_attn.q_proj`.
    pub(crate) fn path(self, layer: usize) -> String {
        format!("model.layers.{layer}.{}", self.module())
    }

    /// Whether it has a bias in models of configuration `c`.
    fn has_bias(self, c: &Config) -> bool {
        match self {
            Self::Query | Self::Key | Self::Value => c.qkv_bias,
            Self::Output => c.output_bias,
            Self::Gate | Self::Up | Self::Down => c.mlp_bias,
        }
    }

    /// The shape of its weight, `[out, in]`.
    pub(crate) fn shape(self, c: &Config) -> [usize; 2] {
        let (d, q, kv) = (c.d_model, c.n_heads * c.d_head, c.n_kv_heads * c.d_head);
        match self {
            Self::Query => [q, d],
            Self::Key | Self::Value => [kv, d],
            Self::Output => [d, q],
            Self::Gate | Self::Up => [c.d_mlp, d],
            Self::Down => [d, c.d_mlp],
        }
    }
}

impl Block {
    /// The weight of a projection, `[out, in]`.
    pub fn weight(&self, which: Projection) -> &Tensor<2> {
        match which {
            Projection::Query => &self.query,
            Projection::Key => &self.key,
            Projection::Value => &self.value,
            Projection::Output => &self.output,
            Projection::Gate => &self.gate,
            Projection::Up => &self.up,
            Projection::Down => &self.down,
        }
    }

    /// The weight of a projection, to replace it.
    pub fn weight_mut(&mut self, which: Projection) -> &mut Tensor<2> {
        match which {
            Projection::Query => &mut self.query,
            Projection::Key => &mut self.key,
            Projection::Value => &mut self.value,
            Projection::Output => &mut self.output,
            Projection::Gate => &mut self.gate,
            Projection::Up => &mut self.up,
            Projection::Down => &mut self.down,
        }
    }

    /// The bias of a projection, where it has one.
    pub fn bias(&self, which: Projection) -> Option<&Tensor<1>> {
        self.biases[which as usize].as_ref()
    }
}

/// A parameter to read or replace.
#[derive(Debug)]
pub enum Param<'a> {
    /// A weight matrix `[out, in]`.
    Matrix(&'a mut Tensor<2>),
    /// A bias or the weight of a norm.
    Vector(&'a mut Tensor<1>),
}

impl Param<'_> {
    /// Makes the parameter collect gradients in f32. The values are shared, not copied, where they are f32 already.
    pub fn track(&mut self) {
        match self {
            Self::Matrix(w) => **w = w.clone().cast(DType::F32).autodiff().require_grad(),
            Self::Vector(w) => **w = w.clone().cast(DType::F32).autodiff().require_grad(),
        }
    }

    /// Makes a matrix that is read by [`kernels::linear`] alone collect gradients in f32 and stay held as it is.
    pub fn track_as_held(&mut self) {
        match self {
            Self::Matrix(w) => **w = w.clone().autodiff().require_grad(),
            Self::Vector(_) => self.track(),
        }
    }

    /// Whether it collects gradients.
    pub fn is_tracked(&self) -> bool {
        match self {
            Self::Matrix(w) => w.is_autodiff(),
            Self::Vector(w) => w.is_autodiff(),
        }
    }

    /// How its numbers are held.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Matrix(w) => w.dtype(),
            Self::Vector(w) => w.dtype(),
        }
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Matrix(w) => w.dims().iter().product(),
            Self::Vector(w) => w.dims()[0],
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A parameter's values by themselves.
#[derive(Debug, Clone)]
pub enum Weight {
    /// A weight matrix `[out, in]`.
    Matrix(Tensor<2>),
    /// A bias or the weight of a norm.
    Vector(Tensor<1>),
}

impl Weight {
    /// The values of a parameter, shared and not copied.
    pub fn of(param: &Param<'_>) -> Self {
        match param {
            Param::Matrix(w) => Self::Matrix((*w).clone()),
            Param::Vector(w) => Self::Vector((*w).clone()),
        }
    }

    /// A parameter that stands for these values.
    pub fn param(&mut self) -> Param<'_> {
        match self {
            Self::Matrix(w) => Param::Matrix(w),
            Self::Vector(w) => Param::Vector(w),
        }
    }

    pub(crate) fn cast(&self, dtype: DType) -> Self {
        match self {
            Self::Matrix(w) => Self::Matrix(w.clone().cast(dtype)),
            Self::Vector(w) => Self::Vector(w.clone().cast(dtype)),
        }
    }

    /// Makes `param` have these values.
    ///
    /// # Errors
    /// Another shape.
    pub(crate) fn put(self, param: &mut Param<'_>) -> Result<(), Error> {
        let bad = |found: &[usize], expected: &[usize]| {
            Err(Error::input(format!("has shape {found:?}, expected {expected:?}")))
        };
        match (self, param) {
            (Self::Matrix(a), Param::Matrix(b)) if a.dims() != b.dims() => bad(&a.dims(), &b.dims()),
            (Self::Vector(a), Param::Vector(b)) if a.dims() != b.dims() => bad(&a.dims(), &b.dims()),
            (Self::Matrix(a), Param::Matrix(b)) => {
                **b = a;
                Ok(())
            }
            (Self::Vector(a), Param::Vector(b)) => {
                **b = a;
                Ok(())
            }
            (Self::Matrix(a), Param::Vector(b)) => bad(&a.dims(), &b.dims()),
            (Self::Vector(a), Param::Matrix(b)) => bad(&a.dims(), &b.dims()),
        }
    }
}

/// Where weights come from: each is asked for by name and shape.
pub(crate) trait Source {
    type Error;
    fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Tensor<2>, Self::Error>;
    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor<1>, Self::Error>;
}

impl Qwen {
    /// Builds a model from a source of weights.
    pub(crate) fn build<S: Source>(config: Config, source: &mut S) -> Result<Self, S::Error> {
        let c = &config;
        let matrix = |source: &mut S, layer: usize, which: Projection| {
            source.matrix(&format!("{}.weight", which.path(layer)), which.shape(c))
        };
        let embed = source.matrix("model.embed_tokens.weight", [c.vocab, c.d_model])?;
        let mut blocks = Vec::with_capacity(c.n_layers);
        for layer in 0..c.n_layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            let mut biases = [const { None }; 7];
            for which in Projection::ALL.into_iter().filter(|which| which.has_bias(c)) {
                let bias = source.vector(&format!("{}.bias", which.path(layer)), which.shape(c)[0])?;
                biases[which as usize] = Some(bias);
            }
            let qk_norms = if c.qk_norm {
                Some([
                    source.vector(&name("self_attn.q_norm.weight"), c.d_head)?,
                    source.vector(&name("self_attn.k_norm.weight"), c.d_head)?,
                ])
            } else {
                None
            };
            blocks.push(Block {
                attn_norm: source.vector(&name("input_layernorm.weight"), c.d_model)?,
                query: matrix(source, layer, Projection::Query)?,
                key: matrix(source, layer, Projection::Key)?,
                value: matrix(source, layer, Projection::Value)?,
                output: matrix(source, layer, Projection::Output)?,
                biases,
                qk_norms,
                mlp_norm: source.vector(&name("post_attention_layernorm.weight"), c.d_model)?,
                gate: matrix(source, layer, Projection::Gate)?,
                up: matrix(source, layer, Projection::Up)?,
                down: matrix(source, layer, Projection::Down)?,
                lora: Lora::default(),
            });
        }
        let norm = source.vector("model.norm.weight", c.d_model)?;
        let head = if c.tied { None } else { Some(source.matrix("lm_head.weight", [c.vocab, c.d_model])?) };
        Ok(Self { config, embed, blocks, norm, head, replaced: Vec::new() })
    }

    /// Every parameter with its name in a checkpoint, in a fixed order; a tied output projection is not
    /// listed twice.
    pub fn params(&mut self) -> Vec<(String, Param<'_>)> {
        let [params, _] = self.params_and_factors();
        params
    }

    /// The parameters, and the factors of an attached adapter by their names in PEFT's files.
    pub(crate) fn params_and_factors(&mut self) -> [Vec<(String, Param<'_>)>; 2] {
        let mut factors = Vec::new();
        let mut all = vec![("model.embed_tokens.weight".to_owned(), Param::Matrix(&mut self.embed))];
        for (layer, block) in self.blocks.iter_mut().enumerate() {
            let mut add = |part: &str, param| all.push((format!("model.layers.{layer}.{part}"), param));
            add("input_layernorm.weight", Param::Vector(&mut block.attn_norm));
            add("self_attn.q_proj.weight", Param::Matrix(&mut block.query));
            add("self_attn.k_proj.weight", Param::Matrix(&mut block.key));
            add("self_attn.v_proj.weight", Param::Matrix(&mut block.value));
            add("self_attn.o_proj.weight", Param::Matrix(&mut block.output));
            for (which, bias) in Projection::ALL.into_iter().zip(&mut block.biases) {
                if let Some(bias) = bias {
                    add(&format!("{}.bias", which.module()), Param::Vector(bias));
                }
            }
            if let Some([q, k]) = &mut block.qk_norms {
                add("self_attn.q_norm.weight", Param::Vector(q));
                add("self_attn.k_norm.weight", Param::Vector(k));
            }
            add("post_attention_layernorm.weight", Param::Vector(&mut block.mlp_norm));
            add("mlp.gate_proj.weight", Param::Matrix(&mut block.gate));
            add("mlp.up_proj.weight", Param::Matrix(&mut block.up));
            add("mlp.down_proj.weight", Param::Matrix(&mut block.down));
            factors.extend(block.lora.params(layer));
        }
        all.push(("model.norm.weight".to_owned(), Param::Vector(&mut self.norm)));
        if let Some(head) = &mut self.head {
            all.push(("lm_head.weight".to_owned(), Param::Matrix(head)));
        }
        [all, factors]
    }

    /// A view of this model whose parameters collect gradients in f32. The values are shared, not copied,
    /// where they are f32 already.
    #[must_use]
    pub fn tracked(&self) -> Self {
        let mut model = self.clone();
        model.params().iter_mut().for_each(|(_, param)| param.track());
        model
    }

    /// The first block with a weight, a norm or an adapter's factor that collects gradients.
    pub fn first_tracked_block(&self) -> Option<usize> {
        let projection = |block: &Block, which| {
            let lora = block.lora.get(which);
            block.weight(which).is_autodiff()
                || block.bias(which).is_some_and(Tensor::is_autodiff)
                || lora.is_some_and(|term| term.a.is_autodiff() || term.b.is_autodiff())
        };
        self.blocks.iter().position(|block| {
            let norms =
                [&block.attn_norm, &block.mlp_norm].into_iter().chain(block.qk_norms.iter().flatten());
            Projection::ALL.into_iter().any(|which| projection(block, which))
                || norms.into_iter().any(Tensor::is_autodiff)
        })
    }

    /// The device that the weights are on.
    pub fn device(&self) -> Device {
        self.norm.device().without_autodiff()
    }

    /// The output projection `[vocab, d_model]`.
    pub fn unembed(&self) -> &Tensor<2> {
        self.head.as_ref().unwrap_or(&self.embed)
    }
}
