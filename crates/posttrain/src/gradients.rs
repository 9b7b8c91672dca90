//! Gradients by parameter, in the order of the trained parameters: added up over micro-batches, measured, not
//! clipped (the optimiser multiplies by the coefficient as it reads them).

use burn::tensor::Tensor;
use model_qwen::{Param, Qwen};

use crate::trained;

/// The name of the output projection in a checkpoint; a tied model has none and its embedding takes the
/// gradient.
const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// One flat gradient for each parameter that got any.
#[derive(Debug, Default)]
pub struct Gradients {
    pub(crate) by_param: Vec<Option<Tensor<1>>>,
    pub(crate) names: Vec<String>,
}

impl Gradients {
    /// Takes the gradients of a model's tracked parameters out of what a backward pass left, if there was one.
    pub(crate) fn take(tracked: &mut Qwen, mut left: Option<burn::tensor::Gradients>) -> Self {
        let (mut by_param, mut names) = (Vec::new(), Vec::new());
        for (name, param) in trained::params(tracked).into_iter().filter(|(_, param)| param.is_tracked()) {
            by_param.push(left.as_mut().and_then(|left| match param {
                Param::Matrix(w) => w.grad_remove(left).map(flat),
                Param::Vector(w) => w.grad_remove(left),
            }));
            names.push(name);
        }
        Self { by_param, names }
    }

    /// Adds the gradient of the output projection, `[vocab, d_model]`, wherever it lives.
    pub(crate) fn add_unembed(&mut self, grad: Tensor<2>) {
        // An adapter that holds it whole has it by a longer name.
        let find = |end: &str| self.names.iter().position(|name| name.ends_with(end));
        let at = find(HEAD).or_else(|| find(EMBEDDING));
        if let Some(slot) = at.map(|at| &mut self.by_param[at]) {
            add_to(slot, flat(grad));
        }
    }

    /// Adds another micro-batch's gradients.
    pub fn add(&mut self, other: Self) {
        if self.by_param.is_empty() {
            *self = other;
            return;
        }
        for (slot, grad) in self.by_param.iter_mut().zip(other.by_param) {
            if let Some(grad) = grad {
                add_to(slot, grad);
            }
        }
    }

    /// The global L2 norm, accumulated in f64.
    pub fn norm(&mut self) -> f64 {
        self.squares().iter().sum::<f64>().sqrt()
    }

    /// Names of parameters whose gradient has NaN or infinity in it.
    pub fn not_finite(&mut self) -> Vec<String> {
        let squares = self.squares();
        let bad = self.names.iter().zip(squares).filter(|(_, s)| !s.is_finite());
        bad.map(|(name, _)| name.clone()).collect()
    }

    /// The names of [`not_finite`](Self::not_finite) in words, a few of them where there are many.
    pub fn not_finite_names(&mut self) -> Option<String> {
        let names = self.not_finite();
        let more = names.len().saturating_sub(3);
        let more = if more > 0 { format!(" and of {more} more parameters") } else { String::new() };
        let few = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("the gradient of {few}{more} is not finite"))
    }

    /// Each parameter's name and gradient `[n]`, `None` where it got none.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Tensor<1>>)> {
        self.names.iter().zip(&self.by_param).map(|(name, grad)| (name.as_str(), grad.as_ref()))
    }

    fn squares(&mut self) -> Vec<f64> {
        let one = |slot: &mut Option<Tensor<1>>| match slot.take() {
            Some(grad) => {
                let (sum, grad) = kernels::sum_of_squares(grad);
                *slot = Some(grad);
                sum
            }
            None => 0.0,
        };
        self.by_param.iter_mut().map(one).collect()
    }
}

fn flat(grad: Tensor<2>) -> Tensor<1> {
    let n = grad.dims().iter().product::<usize>();
    grad.reshape([n])
}

fn add_to(slot: &mut Option<Tensor<1>>, grad: Tensor<1>) {
    *slot = Some(match slot.take() {
        Some(sum) => sum + grad,
        None => grad,
    });
}
