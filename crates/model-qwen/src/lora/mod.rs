//! Low-rank adapters (Hu et al. 2021, LoRA): `y = W x + s B A x` with `A` `[r, in]` and `B` `[out, r]`.
//!
//! An [`Adapter`] is a value beside a model. Attached, it is applied as two thin products, never as a dense
//! `B A`; merged, it becomes part of the weights. Files are in PEFT's format.
//!
//! ```
//! # use model_qwen::{Adapter, Config, LoraConfig, Pass, random};
//! # let text = r#"{"architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 2, "hidden_size": 16,
//! #   "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 20, "tie_word_embeddings": true}"#;
//! let (config, device) = (Config::parse(text)?, burn::tensor::Device::default());
//! let model = random(config, 0, &device);
//! let adapter = Adapter::new(LoraConfig::new(4, 8.0, &["q_proj", "v_proj"]), &model, 0)?;
//! // A new adapter changes nothing: its B is zero.
//! let adapted = adapter.attach(&model)?;
//! let batch = hooks::Batch::new(&[vec![1, 2, 3]])?;
//! let difference = adapted.forward(&batch, Pass::new(&mut ())) - model.forward(&batch, Pass::new(&mut ()));
//! assert_eq!(difference.abs().max().into_scalar::<f32>(), 0.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod dropout;
mod file;
mod places;

pub use config::{LoraConfig, Targets};

use burn::tensor::{DType, Tensor, TensorData};
use kernels::Dropout;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Block, Error, Param, Projection, Qwen, Weight};

/// The low-rank term of one projection.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// The first factor, `[rank, in]`, f32.
    pub a: Tensor<2>,
    /// The second factor, `[out, rank]`, f32.
    pub b: Tensor<2>,
    /// What the product is multiplied by.
    pub scale: f64,
    /// Dropout before the first factor. It has no keys, and nothing is dropped, but in a pass of training: see
    /// [`Qwen::with_dropout`].
    pub dropout: Dropout,
}

impl LowRank {
    /// The term in a run under a hook.
    ///
    /// # Panics
    /// If dropout is on: hooks see a model at rest.
    pub(crate) fn at_rest(&self) -> &Self {
        assert!(self.dropout.keys.is_empty(), "dropout is for passes of training, without a hook");
        self
    }

    /// `s B A`, `[out, in]`: dense, for merging only.
    fn dense(&self) -> Tensor<2> {
        kernels::matmul(self.b.clone(), self.a.clone()) * self.scale
    }
}

/// The low-rank terms of one block; `Lora::default()` has none.
#[derive(Debug, Clone, Default)]
pub struct Lora {
    terms: [Option<LowRank>; 7],
}

impl Lora {
    /// The term of a projection, where it has one.
    pub fn get(&self, which: Projection) -> Option<&LowRank> {
        self.terms[which as usize].as_ref()
    }

    pub(crate) fn get_mut(&mut self, which: Projection) -> Option<&mut LowRank> {
        self.terms[which as usize].as_mut()
    }

    /// Puts a term beside a projection.
    pub fn set(&mut self, which: Projection, term: LowRank) {
        self.terms[which as usize] = Some(term);
    }

    /// Whether no projection has a term.
    pub fn is_empty(&self) -> bool {
        self.terms.iter().all(Option::is_none)
    }

    /// The factors with their names in PEFT's files, for a block that is `layer`.
    pub(crate) fn params(&mut self, layer: usize) -> Vec<(String, Param<'_>)> {
        let mut all = Vec::new();
        for (which, term) in Projection::ALL.into_iter().zip(&mut self.terms) {
            if let Some(term) = term {
                let [a, b] = file::names(layer, which);
                all.extend([(a, Param::Matrix(&mut term.a)), (b, Param::Matrix(&mut term.b))]);
            }
        }
        all
    }
}

/// A configuration and the factors that go with it.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Ranks, scales and places.
    pub config: LoraConfig,
    /// The terms of each block.
    pub blocks: Vec<Lora>,
    /// Parameters that it holds whole, in the order of `Qwen::params`, by their names there (`modules_to_save`).
    pub modules: Vec<(String, Weight)>,
}

impl Adapter {
    /// A new adapter for `model`: `A` uniform within `1 / sqrt(in)` as PEFT draws it (Kaiming with a = sqrt 5),
    /// `B` zero. The same seed gives the same factors.
    ///
    /// # Errors
    /// A configuration that names no projection of this model.
    pub fn new(config: LoraConfig, model: &Qwen, seed: u64) -> Result<Self, Error> {
        let device = model.device();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut blocks = vec![Lora::default(); model.config.n_layers];
        for place in config.places(&model.config)? {
            let [d_out, d_in] = place.projection.shape(&model.config);
            let bound = 1.0 / (d_in as f32).sqrt();
            let values: Vec<f32> = (0..place.rank * d_in).map(|_| rng.random_range(-bound..=bound)).collect();
            let a = Tensor::from_data(TensorData::new(values, [place.rank, d_in]), &device);
            let b = Tensor::zeros([d_out, place.rank], &device);
            let dropout = Dropout { p: config.dropout, keys: Vec::new() };
            blocks[place.layer].set(place.projection, LowRank { a, b, scale: place.scale, dropout });
        }
        let (whole, mut view) = (config.whole(model)?, model.clone());
        let params = view.params().into_iter().filter(|(name, _)| whole.contains(name));
        let modules = params.map(|(name, param)| (name, Weight::of(&param).cast(DType::F32))).collect();
        Ok(Self { config, blocks, modules })
    }

    /// The adapter that is attached to `model`, for example after training it.
    pub fn of(config: LoraConfig, model: &Qwen) -> Self {
        let blocks = model.blocks.iter().map(|block| block.lora.clone()).collect();
        let names: Vec<&String> = model.replaced.iter().map(|(name, _)| name).collect();
        let mut view = model.clone();
        let params = view.params().into_iter().filter(|(name, _)| names.contains(&name));
        Self { config, blocks, modules: params.map(|(name, param)| (name, Weight::of(&param))).collect() }
    }

    /// `model` with this adapter applied beside its weights, which are shared and not copied. An adapter that
    /// was attached before is replaced.
    ///
    /// # Errors
    /// An adapter of another number of blocks or of other widths.
    pub fn attach(&self, model: &Qwen) -> Result<Qwen, Error> {
        let mut model = self.each(&model.without_adapter(), |block, lora| block.lora = lora.clone())?;
        model.replaced = self.put_modules(&mut model, |weight, _| weight.clone())?;
        Ok(model)
    }

    /// `model` with this adapter in its weights, `W + s B A` in f32, rounded to the weights' own dtype; modules that
    /// it holds whole take the place of the model's. The model given stays as it is: keep it to have the original
    /// bits back.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn merge(&self, model: &Qwen) -> Result<Qwen, Error> {
        let mut model = self.each(model, |block, lora| add(block, lora, 1.0))?;
        self.put_modules(&mut model, Weight::cast)?;
        Ok(model)
    }

    /// The inverse of [`merge`](Self::merge), up to the rounding of two additions.
    ///
    /// # Errors
    /// As [`attach`](Self::attach); an adapter that holds whole modules, since what was in their place is not known.
    pub fn unmerge(&self, model: &Qwen) -> Result<Qwen, Error> {
        match self.modules.first() {
            None => self.each(model, |block, lora| add(block, lora, -1.0)),
            Some((name, _)) => Err(Error::input(format!(
                "`modules_to_save` has {name}, and what it replaced is not in the adapter: keep the base model"
            ))),
        }
    }

    /// Puts the whole modules in the place of the model's, and returns what was there.
    fn put_modules(
        &self,
        model: &mut Qwen,
        value: impl Fn(&Weight, DType) -> Weight,
    ) -> Result<Vec<(String, Weight)>, Error> {
        let (mut params, mut before) = (model.params().into_iter(), Vec::new());
        for (name, weight) in &self.modules {
            let Some((_, mut param)) = params.find(|(n, _)| n == name) else {
                return Err(Error::input(format!("the model has no `{name}` for `modules_to_save`")));
            };
            before.push((name.clone(), Weight::of(&param)));
            value(weight, param.dtype()).put(&mut param).map_err(|e| e.within(name))?;
        }
        Ok(before)
    }

    fn each(&self, model: &Qwen, f: impl Fn(&mut Block, &Lora)) -> Result<Qwen, Error> {
        let (found, expected) = (self.blocks.len(), model.blocks.len());
        if found != expected {
            return Err(Error::input(format!("an adapter of {found} blocks, expected {expected}")));
        }
        let mut model = model.clone();
        for (layer, (block, lora)) in model.blocks.iter_mut().zip(&self.blocks).enumerate() {
            for which in Projection::ALL {
                let Some(term) = lora.get(which) else { continue };
                let (expected, found) = (which.shape(&model.config), [term.b.dims()[0], term.a.dims()[1]]);
                if expected != found {
                    return Err(Error::input(format!(
                        "an adapter of shape {found:?} beside {}, expected {expected:?}",
                        which.path(layer)
                    )));
                }
            }
            f(block, lora);
        }
        Ok(model)
    }
}

/// Adds `sign` times the dense terms to a block's weights.
fn add(block: &mut Block, lora: &Lora, sign: f64) {
    for which in Projection::ALL {
        if let Some(term) = lora.get(which) {
            let weight = block.weight_mut(which);
            let dtype = weight.dtype();
            *weight = (weight.clone().cast(DType::F32) + term.dense() * sign).cast(dtype);
        }
    }
}

impl Qwen {
    /// What an attached adapter trains, with names in PEFT's files and in a fixed order: its factors, then the
    /// parameters that it holds whole.
    pub fn adapter_params(&mut self) -> Vec<(String, Param<'_>)> {
        let whole: Vec<String> = self.replaced.iter().map(|(name, _)| name.clone()).collect();
        let [params, mut factors] = self.params_and_factors();
        let whole = params.into_iter().filter(|(name, _)| whole.contains(name));
        factors.extend(whole.map(|(name, param)| (file::whole_name(&name), param)));
        factors
    }

    /// A view of this model in which what [`adapter_params`](Self::adapter_params) lists collects gradients, and the
    /// other weights, shared and not copied, do not.
    #[must_use]
    pub fn tracked_adapter(&self) -> Self {
        let mut model = self.clone();
        model.adapter_params().iter_mut().for_each(|(_, param)| param.track());
        model
    }

    /// Whether an adapter is attached.
    pub fn has_adapter(&self) -> bool {
        !self.replaced.is_empty() || self.blocks.iter().any(|block| !block.lora.is_empty())
    }

    /// This model without an attached adapter; weights are shared, not copied.
    #[must_use]
    pub fn without_adapter(&self) -> Self {
        let mut model = self.clone();
        let replaced = std::mem::take(&mut model.replaced);
        model.blocks.iter_mut().for_each(|block| block.lora = Lora::default());
        for (name, mut param) in model.params() {
            if let Some((_, weight)) = replaced.iter().find(|(n, _)| *n == name) {
                // The shape is that of the parameter that it was taken from.
                let _ = weight.clone().put(&mut param);
            }
        }
        model
    }
}
