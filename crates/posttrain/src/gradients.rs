//! Gradients by parameter, in the order of the trained parameters: added up over micro-batches, measured, not
//! clipped (the optimiser multiplies by the coefficient as it reads them).

use burn::tensor::{IndexingUpdateOp, Int, Tensor};
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
    /// No gradients yet, of a model's tracked parameters.
    pub(crate) fn none(tracked: &mut Qwen) -> Self {
        Self::named(params(tracked).map(|(name, _)| name).collect())
    }

    /// No gradients yet, of parameters by name.
    pub(crate) fn named(names: Vec<String>) -> Self {
        Self { by_param: names.iter().map(|_| None).collect(), names }
    }

    /// Takes the gradients of a model's tracked parameters out of what a backward pass left.
    pub(crate) fn take(&mut self, tracked: &mut Qwen, left: &mut burn::tensor::Gradients) {
        for (slot, (_, param)) in self.by_param.iter_mut().zip(params(tracked)) {
            let grad = match param {
                Param::Matrix(w) => w.grad_remove(left).map(flat),
                Param::Vector(w) => w.grad_remove(left),
            };
            if let Some(grad) = grad {
                add_to(slot, grad);
            }
        }
    }

    /// Adds the gradient of the output projection, `[vocab, d_model]`, wherever it lives.
    pub(crate) fn add_unembed(&mut self, grad: Tensor<2>) {
        let at = self.place(HEAD).or_else(|| self.place(EMBEDDING));
        if let Some(slot) = at.map(|at| &mut self.by_param[at]) {
            add_to(slot, flat(grad));
        }
    }

    /// Adds the gradients `rows` `[tokens, d_model]` of the embeddings of `ids` `[tokens]`, in place: a tied
    /// embedding has one gradient, and no second one of its size is made.
    pub(crate) fn add_embedded(&mut self, ids: Tensor<1, Int>, rows: Tensor<2>, vocab: usize) {
        let Some(at) = self.place(EMBEDDING) else { panic!("a tracked embedding is a trained parameter") };
        let shape = [vocab, rows.dims()[1]];
        let sum = match self.by_param[at].take() {
            Some(grad) => grad.reshape(shape),
            None => Tensor::zeros(shape, &rows.device()),
        };
        self.by_param[at] = Some(flat(sum.select_assign(0, ids, rows, IndexingUpdateOp::Add)));
    }

    /// The place of a parameter; an adapter that holds it whole has it by a longer name.
    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n.ends_with(name))
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

    /// In words, the parameters whose gradient has NaN or infinity in it, a few of them where there are many.
    pub fn not_finite_names(&mut self) -> Option<String> {
        let squares = self.squares();
        not_finite_names(&self.names, &squares)
    }

    /// Each parameter's name and gradient `[n]`, `None` where it got none.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Tensor<1>>)> {
        self.names.iter().zip(&self.by_param).map(|(name, grad)| (name.as_str(), grad.as_ref()))
    }

    /// The sum of squares of each parameter's gradient, accumulated in f64; 0 where it got none.
    pub(crate) fn squares(&mut self) -> Vec<f64> {
        let first = self.by_param.iter().flatten().next();
        if first.is_some_and(|grad| !kernels::is_cpu(&grad.device())) {
            return self.squares_on_device();
        }
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

    /// As [`squares`](Self::squares), in f32, with one transfer for all.
    fn squares_on_device(&self) -> Vec<f64> {
        let sums = self.by_param.iter().flatten().map(|grad| grad.clone().square().sum()).collect();
        let mut sums = Tensor::<1>::cat(sums, 0).into_data().iter::<f64>().collect::<Vec<_>>().into_iter();
        self.by_param.iter().map(|grad| grad.as_ref().and_then(|_| sums.next()).unwrap_or(0.0)).collect()
    }
}

/// In words, the parameters whose sum of squares is not finite.
pub(crate) fn not_finite_names(names: &[String], squares: &[f64]) -> Option<String> {
    let bad = names.iter().zip(squares).filter(|(_, s)| !s.is_finite());
    let bad: Vec<&str> = bad.map(|(name, _)| name.as_str()).collect();
    let more = bad.len().saturating_sub(3);
    let more = if more > 0 { format!(" and of {more} more parameters") } else { String::new() };
    let few = bad.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    (!bad.is_empty()).then(|| format!("the gradient of {few}{more} is not finite"))
}

fn params(tracked: &mut Qwen) -> impl Iterator<Item = (String, Param<'_>)> {
    trained::params(tracked).into_iter().filter(|(_, param)| param.is_tracked())
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
