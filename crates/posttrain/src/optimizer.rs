//! AdamW over the parameters of a model, by name, with clipping by the global norm.

use std::path::Path;

use burn::tensor::{DType, Tensor};
use kernels::AdamW;
use model_qwen::{Entry, Param, Qwen, TensorReader, write_tensors};

use crate::config::{Decay, OptimizerConfig};
use crate::{Error, Gradients, trained};

/// AdamW and its state: the moments of each parameter and the number of updates.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    /// Updates done.
    t: u64,
    /// Name and moments, in the order of the trained parameters.
    moments: Vec<(String, [Tensor<1>; 2])>,
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Global L2 norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
}

impl Optimizer {
    /// An optimiser with moments of zero for every trained parameter of `model`: the factors of its adapter,
    /// where one is attached, else all weights.
    ///
    /// # Errors
    /// Trained parameters that are not f32: an update would be rounded away.
    pub fn new(model: &Qwen, config: &OptimizerConfig) -> Result<Self, Error> {
        let device = model.device();
        let mut view = model.clone();
        let mut moments = Vec::new();
        for (name, param) in trained::params(&mut view) {
            let (n, dtype) = match param {
                Param::Matrix(w) => (w.dims().iter().product::<usize>(), w.dtype()),
                Param::Vector(w) => (w.dims()[0], w.dtype()),
            };
            if dtype != DType::F32 {
                return Err(Error::input(format!(
                    "`{name}` is held in {dtype:?}: trained parameters are f32; load the model in f32, or train an adapter"
                )));
            }
            moments.push((name, [Tensor::zeros([n], &device), Tensor::zeros([n], &device)]));
        }
        Ok(Self { config: config.clone(), t: 0, moments })
    }

    /// Trained numbers.
    pub fn n_params(&self) -> usize {
        self.moments.iter().map(|(_, [m, _])| m.dims()[0]).sum()
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.t
    }

    /// Clips `gradients` by their global norm (`torch.nn.utils.clip_grad_norm_`: coefficient
    /// `min(1, max / (norm + 1e-6))`) and updates `model`. A parameter without a gradient stays as it is.
    ///
    /// # Errors
    /// NaN or infinity in a gradient, with the parameters' names; the model is then unchanged.
    ///
    /// # Panics
    /// If `model` is not of the shape that this optimiser was made for.
    pub fn step(&mut self, model: &mut Qwen, mut gradients: Gradients, lr: f64) -> Result<Update, Error> {
        let grad_norm = gradients.norm();
        if !grad_norm.is_finite() {
            let names = gradients.not_finite_names().unwrap_or_default();
            return Err(Error::internal(format!("the norm of the gradient is {grad_norm}; {names}")));
        }
        let max = self.config.max_grad_norm;
        let scale = if max > 0.0 { (max / (grad_norm + 1e-6)).min(1.0) } else { 1.0 };
        self.t += 1;
        let OptimizerConfig { betas, eps, weight_decay, decay, .. } = self.config;
        let how = AdamW { lr, betas, eps, weight_decay, t: self.t, scale };
        let grads = std::mem::take(&mut gradients.by_param);
        assert_eq!(
            grads.len(),
            self.moments.len(),
            "gradients of the model that this optimiser was made for"
        );
        for (((_, param), (_, moments)), grad) in
            trained::params(model).into_iter().zip(&mut self.moments).zip(grads)
        {
            let Some(grad) = grad else { continue };
            // Taken out and put back: what nobody else holds is updated in place.
            let state = std::mem::replace(moments, [empty(&grad), empty(&grad)]);
            match param {
                Param::Matrix(w) => {
                    let shape = w.dims();
                    let placeholder = empty(&grad).reshape([0, 1]);
                    let taken = std::mem::replace(w, placeholder).reshape([shape[0] * shape[1]]);
                    let (new, state) = kernels::adamw(taken, grad, state, &how);
                    (*w, *moments) = (new.reshape(shape), state);
                }
                Param::Vector(w) => {
                    let weight_decay = if decay == Decay::All { weight_decay } else { 0.0 };
                    let taken = std::mem::replace(w, empty(&grad));
                    (*w, *moments) = kernels::adamw(taken, grad, state, &AdamW { weight_decay, ..how });
                }
            }
        }
        Ok(Update { grad_norm, lr })
    }

    /// Writes the state as a safetensors file, one tensor at a time: `t` and, for each parameter, `m.NAME` and
    /// `v.NAME`.
    ///
    /// # Errors
    /// What the file system or the format refuses.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let mut named: Vec<(String, &Tensor<1>)> = Vec::with_capacity(2 * self.moments.len());
        for (kind, at) in [("m", 0), ("v", 1)] {
            named.extend(self.moments.iter().map(|(name, m)| (format!("{kind}.{name}"), &m[at])));
        }
        // The order of the safetensors libraries: the widest dtype first, then by name.
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        let moments = named.into_iter().map(|(name, moment)| Entry::vector(name, moment));
        let entries: Vec<Entry<'_>> = std::iter::once(Entry::number("t", self.t)).chain(moments).collect();
        write_tensors(path, &entries, &[])
    }

    /// Reads back what [`Optimizer::save`] wrote, one tensor at a time.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or belongs to another model. Some moments are the file's then: the
    /// optimiser is of no further use.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let file = TensorReader::open(path)?;
        self.t = file.number("t")?;
        for (name, [m, v]) in &mut self.moments {
            let (n, device) = (m.dims()[0], m.device());
            for (kind, moment) in [("m", m), ("v", v)] {
                *moment = file.vector(&format!("{kind}.{name}"), n, &device)?;
            }
        }
        Ok(())
    }
}

fn empty(like: &Tensor<1>) -> Tensor<1> {
    Tensor::empty([0], &like.device())
}
