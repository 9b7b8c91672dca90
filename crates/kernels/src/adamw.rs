//! The AdamW update, and the sum of squares for gradient clipping: one pass over memory each.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::ops::FusedOps as _;
use crate::{cpu, fused, on_cpu, portable};

/// The numbers of one AdamW update (Loshchilov and Hutter 2019, algorithm 2, as torch computes it: epsilon
/// outside the square root, decay decoupled and scaled by the rate).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this update.
    pub lr: f64,
    /// Decay of the first and of the second moment.
    pub betas: [f64; 2],
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Updates so far, this one included: 1 at the first.
    pub t: u64,
    /// The gradient is multiplied by it first: the coefficient of clipping.
    pub scale: f64,
}

/// Weight and both moments after one update. Arguments that are uniquely owned are updated in place.
///
/// # Shapes
/// All `[n]`.
pub fn adamw(
    weight: Tensor<1>,
    grad: Tensor<1>,
    [m, v]: [Tensor<1>; 2],
    how: &AdamW,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let all = [&weight, &grad, &m, &v];
    if !all.into_iter().all(fused) || all.into_iter().any(Tensor::is_autodiff) {
        return portable::adamw(weight, grad, [m, v], how);
    }
    let [weight, grad, m, v] = [weight, grad, m, v].map(Tensor::into_dispatch);
    let (weight, m, v) = Dispatch::adamw(weight, grad, m, v, *how);
    (Tensor::from_dispatch(weight), [m, v].map(Tensor::from_dispatch))
}

/// The sum of squares of all elements, accumulated in f64 on the CPU, and the tensor itself: passing it through
/// leaves it uniquely owned, so that nothing is copied.
pub fn sum_of_squares(x: Tensor<1>) -> (f64, Tensor<1>) {
    if !on_cpu(&x) || x.is_autodiff() {
        let sum = x.clone().square().sum().into_data();
        return (sum.iter::<f64>().sum(), x);
    }
    let device = x.device();
    let data = x.into_data();
    let sum = data.as_slice().map_or(f64::NAN, cpu::adamw::sum_of_squares);
    (sum, Tensor::from_data(data, &device))
}
