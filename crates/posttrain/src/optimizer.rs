//! AdamW over the parameters of a model, by name, with clipping by the global norm.

use std::path::Path;

use burn::tensor::{DType, Tensor};
use kernels::AdamW;
use model_qwen::{Entry, Param, Qwen, TensorReader, write_tensors};

use crate::config::{Decay, Group, OptimizerConfig};
use crate::{Error, Gradients, trained};

/// AdamW and its state: the moments of each trained parameter and the number of updates.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    /// Updates done.
    t: u64,
    /// In the order of the trained parameters.
    slots: Vec<Slot>,
}

/// One trained parameter.
#[derive(Debug)]
struct Slot {
    name: String,
    moments: [Tensor<1>; 2],
    /// The f32 weights whose rounding the model holds, where that is in bf16.
    master: Option<Tensor<1>>,
    /// Its full learning rate over `optimizer.lr`.
    rate: f64,
    weight_decay: f64,
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
    /// where one is attached, else all weights, less what a group freezes. Of a parameter that is held in bf16 it
    /// keeps an f32 copy and updates that: the model gets its rounding.
    ///
    /// # Errors
    /// Trained parameters in f16, whose range is too small for gradients without scaling. A group that fits no
    /// parameter; no parameter left to train.
    pub fn new(model: &Qwen, config: &OptimizerConfig) -> Result<Self, Error> {
        let device = model.device();
        let patterns: Vec<_> = config.groups.iter().map(Group::compiled).collect::<Result<_, _>>()?;
        let (mut fits, mut names, mut slots) = (vec![0; patterns.len()], Vec::new(), Vec::new());
        for (name, param) in trained::params(&mut model.clone()) {
            let at = patterns.iter().position(|pattern| pattern.matches(&name));
            at.into_iter().for_each(|at| fits[at] += 1);
            names.push(name.clone());
            let group = at.map(|at| &config.groups[at]);
            if group.is_some_and(|group| group.frozen) {
                continue;
            }
            let master = match (param.dtype(), &param) {
                (DType::F32, _) => None,
                (DType::BF16, Param::Matrix(w)) => {
                    Some((**w).clone().cast(DType::F32).reshape([param.len()]))
                }
                (dtype, _) => {
                    return Err(Error::input(format!(
                        "`{name}` is held in {dtype:?}: trained parameters are f32 or bf16; load the model in one of \
                         them, or train an adapter"
                    )));
                }
            };
            let decays = config.decay == Decay::All || matches!(param, Param::Matrix(_));
            let weight_decay = if decays { config.weight_decay } else { 0.0 };
            slots.push(Slot {
                name,
                moments: [0, 1].map(|_| Tensor::zeros([param.len()], &device)),
                master,
                rate: group.and_then(|group| group.lr).map_or(1.0, |lr| lr / config.lr),
                weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(weight_decay),
            });
        }
        if let Some(at) = fits.iter().position(|&n| n == 0) {
            return Err(Error::input(format!(
                "optimizer.groups: `{}` fits no parameter that no earlier group fits; one is {}",
                config.groups[at].pattern, names[0]
            )));
        }
        if slots.is_empty() {
            return Err(Error::input("optimizer.groups: every parameter is frozen"));
        }
        Ok(Self { config: config.clone(), t: 0, slots })
    }

    /// A view of `model` whose parameters that this optimiser trains collect gradients; weights are shared, not
    /// copied.
    #[must_use]
    pub fn tracked(&self, model: &Qwen) -> Qwen {
        let mut view = model.clone();
        let mut params = trained::params(&mut view).into_iter();
        for slot in &self.slots {
            let found = params.find(|(name, _)| *name == slot.name);
            found.into_iter().for_each(|(_, mut param)| param.track_as_held());
        }
        view
    }

    /// Trained numbers.
    pub fn n_params(&self) -> usize {
        self.slots.iter().map(|slot| slot.moments[0].dims()[0]).sum()
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
    /// If `model` or `gradients` are not of the parameters that this optimiser was made for.
    pub fn step(&mut self, model: &mut Qwen, mut gradients: Gradients, lr: f64) -> Result<Update, Error> {
        let grad_norm = gradients.norm();
        if !grad_norm.is_finite() {
            let names = gradients.not_finite_names().unwrap_or_default();
            return Err(Error::internal(format!("the norm of the gradient is {grad_norm}; {names}")));
        }
        let max = self.config.max_grad_norm;
        let scale = if max > 0.0 { (max / (grad_norm + 1e-6)).min(1.0) } else { 1.0 };
        self.t += 1;
        let OptimizerConfig { betas, eps, .. } = self.config;
        let same = gradients.names.iter().eq(self.slots.iter().map(|slot| &slot.name));
        assert!(same, "gradients of the parameters that this optimiser was made for");
        let mut params = trained::params(model).into_iter();
        for (slot, grad) in self.slots.iter_mut().zip(gradients.by_param) {
            let Some((_, param)) = params.find(|(name, _)| *name == slot.name) else {
                panic!("the model has no parameter `{}`", slot.name)
            };
            let Some(grad) = grad else { continue };
            let weight_decay = slot.weight_decay;
            let how = AdamW { lr: lr * slot.rate, betas, eps, weight_decay, t: self.t, scale };
            // Taken out and put back: what nobody else holds is updated in place.
            let state = std::mem::replace(&mut slot.moments, [empty(&grad), empty(&grad)]);
            match param {
                Param::Matrix(w) => {
                    let (shape, dtype) = (w.dims(), w.dtype());
                    let placeholder = empty(&grad).reshape([0, 1]);
                    let held = std::mem::replace(w, placeholder);
                    let n = shape[0] * shape[1];
                    let taken = slot.master.take().unwrap_or_else(|| held.reshape([n]));
                    let (new, state) = kernels::adamw(taken, grad, state, &how);
                    slot.moments = state;
                    if dtype == DType::F32 {
                        *w = new.reshape(shape);
                    } else {
                        *w = new.clone().cast(dtype).reshape(shape);
                        slot.master = Some(new);
                    }
                }
                Param::Vector(w) => {
                    let taken = std::mem::replace(w, empty(&grad));
                    (*w, slot.moments) = kernels::adamw(taken, grad, state, &how);
                }
            }
        }
        Ok(Update { grad_norm, lr })
    }

    /// Writes the state as a safetensors file, one tensor at a time: `t` and, for each parameter, `m.NAME`,
    /// `v.NAME` and, where the model holds it in bf16, `w.NAME`: the f32 weights.
    ///
    /// # Errors
    /// What the file system or the format refuses.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let mut named: Vec<(String, &Tensor<1>)> = Vec::with_capacity(3 * self.slots.len());
        for (kind, at) in [("m", 0), ("v", 1)] {
            named.extend(self.slots.iter().map(|slot| (format!("{kind}.{}", slot.name), &slot.moments[at])));
        }
        let masters = self.slots.iter().filter_map(|slot| Some((&slot.name, slot.master.as_ref()?)));
        named.extend(masters.map(|(name, master)| (format!("w.{name}"), master)));
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
        for Slot { name, moments: [m, v], master, .. } in &mut self.slots {
            let (n, device) = (m.dims()[0], m.device());
            for (kind, moment) in [("m", m), ("v", v)] {
                *moment = file.vector(&format!("{kind}.{name}"), n, &device)?;
            }
            if let Some(master) = master {
                *master = file.vector(&format!("w.{name}"), n, &device)?;
            }
        }
        Ok(())
    }
}

fn empty(like: &Tensor<1>) -> Tensor<1> {
    Tensor::empty([0], &like.device())
}
