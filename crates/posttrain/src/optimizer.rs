//! AdamW over the parameters of a model, by name, with clipping by the global norm.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor};
use kernels::AdamW;
use model_qwen::{Param, Qwen};

use crate::config::{Decay, Group, OptimizerConfig};
use crate::ranks::{Alone, Ranks, Shares};
use crate::{Error, Gradients, gradients, trained};

/// AdamW and its state: the moments of each trained parameter and the number of updates. Among several ranks, each
/// keeps the moments of its share of the parameters.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    pub(crate) shares: Shares,
    pub(crate) device: Device,
    /// Updates done.
    pub(crate) t: u64,
    /// In the order of the trained parameters.
    pub(crate) slots: Vec<Slot>,
}

/// One trained parameter.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// Kept by another rank where absent.
    pub(crate) state: Option<State>,
    /// Whether the state has a master.
    pub(crate) has_master: bool,
    /// Its full learning rate over `optimizer.lr`.
    rate: f64,
    weight_decay: f64,
}

/// What an update reads and writes of a parameter beside its weights.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) moments: [Tensor<1>; 2],
    /// The f32 weights whose rounding the model holds, where that is in bf16.
    pub(crate) master: Option<Tensor<1>>,
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
        Self::among(model, config, Arc::new(Alone))
    }

    /// As [`new`](Self::new), for one of several ranks with the same model.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn among(model: &Qwen, config: &OptimizerConfig, ranks: Arc<dyn Ranks>) -> Result<Self, Error> {
        let device = model.device();
        let patterns: Vec<_> = config.groups.iter().map(Group::compiled).collect::<Result<_, _>>()?;
        let (mut fits, mut names) = (vec![0; patterns.len()], Vec::new());
        let (mut slots, mut held) = (Vec::new(), Vec::new());
        let mut model = model.clone();
        for (name, param) in trained::params(&mut model) {
            let at = patterns.iter().position(|pattern| pattern.matches(&name));
            at.into_iter().for_each(|at| fits[at] += 1);
            names.push(name.clone());
            let group = at.map(|at| &config.groups[at]);
            if group.is_some_and(|group| group.frozen) {
                continue;
            }
            if !matches!((param.dtype(), &param), (DType::F32, _) | (DType::BF16, Param::Matrix(_))) {
                let dtype = param.dtype();
                return Err(Error::input(format!(
                    "`{name}` is held in {dtype:?}: trained parameters are f32 or bf16; load the model in one of \
                     them, or train an adapter"
                )));
            }
            let decays = config.decay == Decay::All || matches!(param, Param::Matrix(_));
            let weight_decay = if decays { config.weight_decay } else { 0.0 };
            slots.push(Slot {
                name,
                state: None,
                has_master: param.dtype() == DType::BF16,
                rate: group.and_then(|group| group.lr).map_or(1.0, |lr| lr / config.lr),
                weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(weight_decay),
            });
            held.push(param);
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
        let shares = Shares::new(held.iter().map(Param::len).collect(), ranks);
        for (_, (slot, param)) in
            slots.iter_mut().zip(&held).enumerate().filter(|(at, _)| shares.is_mine(*at))
        {
            slot.state = Some(State {
                moments: [0, 1].map(|_| Tensor::zeros([param.len()], &device)),
                master: match param {
                    Param::Matrix(w) if slot.has_master => {
                        Some((**w).clone().cast(DType::F32).reshape([param.len()]))
                    }
                    _ => None,
                },
            });
        }
        Ok(Self { config: config.clone(), shares, device, t: 0, slots })
    }

    /// The ranks that train together.
    pub fn ranks(&self) -> &dyn Ranks {
        &*self.shares.ranks
    }

    /// No gradients yet.
    pub(crate) fn no_gradients(&self) -> Gradients {
        Gradients::named(self.slots.iter().map(|slot| slot.name.clone()).collect())
    }

    /// Adds the gradients of a group of passes on each rank, in rank order.
    pub(crate) fn reduce(&self, total: &mut Gradients, group: Gradients) {
        self.shares.reduce(total, group, &self.device);
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
        self.shares.sizes().iter().sum()
    }

    /// Trained numbers whose moments this rank keeps.
    pub fn n_owned(&self) -> usize {
        self.shares.owned()
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.t
    }

    /// Clips `gradients` by their global norm (`torch.nn.utils.clip_grad_norm_`: coefficient
    /// `min(1, max / (norm + 1e-6))`) and updates `model`. A parameter without a gradient stays as it is. Among
    /// several ranks, collective: each updates its parameters by the `gradients` of [`sum`](Self::sum), and all get
    /// all of them.
    ///
    /// # Errors
    /// NaN or infinity in a gradient, with the parameters' names; the model is then unchanged.
    ///
    /// # Panics
    /// If `model` or `gradients` are not of the parameters that this optimiser was made for.
    pub fn step(&mut self, model: &mut Qwen, mut gradients: Gradients, lr: f64) -> Result<Update, Error> {
        let squares = self.shares.of_owners(&gradients.squares());
        let grad_norm = squares.iter().sum::<f64>().sqrt();
        if !grad_norm.is_finite() {
            let names = gradients::not_finite_names(&gradients.names, &squares).unwrap_or_default();
            return Err(Error::internal(format!("the norm of the gradient is {grad_norm}; {names}")));
        }
        let max = self.config.max_grad_norm;
        let scale = if max > 0.0 { (max / (grad_norm + 1e-6)).min(1.0) } else { 1.0 };
        self.t += 1;
        let OptimizerConfig { betas, eps, .. } = self.config;
        let same = gradients.names.iter().eq(self.slots.iter().map(|slot| &slot.name));
        assert!(same, "gradients of the parameters that this optimiser was made for");
        let mut params = self.params(model);
        for ((slot, grad), param) in self.slots.iter_mut().zip(gradients.by_param).zip(&mut params) {
            let (Some(grad), Some(of)) = (grad, &mut slot.state) else { continue };
            let weight_decay = slot.weight_decay;
            let how = AdamW { lr: lr * slot.rate, betas, eps, weight_decay, t: self.t, scale };
            // Taken out and put back: what nobody else holds is updated in place.
            let state = std::mem::replace(&mut of.moments, [empty(&grad), empty(&grad)]);
            match param {
                Param::Matrix(w) => {
                    let (shape, dtype) = (w.dims(), w.dtype());
                    let placeholder = empty(&grad).reshape([0, 1]);
                    let held = std::mem::replace(&mut **w, placeholder);
                    let n = shape[0] * shape[1];
                    let taken = of.master.take().unwrap_or_else(|| held.reshape([n]));
                    let (new, state) = kernels::adamw(taken, grad, state, &how);
                    of.moments = state;
                    if dtype == DType::F32 {
                        **w = new.reshape(shape);
                    } else {
                        **w = new.clone().cast(dtype).reshape(shape);
                        of.master = Some(new);
                    }
                }
                Param::Vector(w) => {
                    let taken = std::mem::replace(&mut **w, empty(&grad));
                    (**w, of.moments) = kernels::adamw(taken, grad, state, &how);
                }
            }
        }
        self.shares.spread(params);
        Ok(Update { grad_norm, lr })
    }

    /// Gradients of 0, of the parameters whose state this process keeps.
    pub fn zero_gradients(&self, model: &mut Qwen) -> Gradients {
        let mut gradients = Gradients::named(self.slots.iter().map(|slot| slot.name.clone()).collect());
        let device = model.device();
        for ((slot, grad), param) in self.slots.iter().zip(&mut gradients.by_param).zip(self.params(model)) {
            *grad = slot.state.as_ref().map(|_| Tensor::zeros([param.len()], &device));
        }
        gradients
    }

    /// The trained parameters of `model`.
    fn params<'a>(&self, model: &'a mut Qwen) -> Vec<Param<'a>> {
        let mut all = trained::params(model).into_iter();
        let find = |slot: &Slot| match all.find(|(name, _)| *name == slot.name) {
            Some((_, param)) => param,
            None => panic!("the model has no parameter `{}`", slot.name),
        };
        self.slots.iter().map(find).collect()
    }
}

fn empty(like: &Tensor<1>) -> Tensor<1> {
    Tensor::empty([0], &like.device())
}
