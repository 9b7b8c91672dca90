//! Products of matrices whose factors keep their f32 digits on every device.

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;

/// Product of matrices, batched: `a b`, in f32.
///
/// A GPU may round the factors of burn's product to TF32 (10 bits of fraction), which is too coarse for scores: sums of
/// small differences. There the rows of `a` are multiplied one after another and summed.
///
/// # Shapes
/// `a` `[.., n, k]`, `b` `[.., k, m]`, whose sizes before are equal; returns `[.., n, m]`.
pub fn matmul_f32<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let device = a.device().without_autodiff();
    if matches!(device.as_dispatch(), DispatchDevice::Flex(_)) {
        return a.matmul(b);
    }
    by_rows(a, b)
}

fn by_rows<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let row = |i: usize| {
        let row = a.clone().narrow(D - 2, i, 1).swap_dims(D - 2, D - 1);
        (b.clone() * row).sum_dim(D - 2)
    };
    Tensor::cat((0..a.dims()[D - 2]).map(row).collect(), D - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_rows_is_the_product() {
        let device = burn::tensor::Device::default();
        let values = |n: usize, m: i64| {
            Tensor::<1, burn::tensor::Int>::arange(0..n as i64, &device).remainder_scalar(m).float()
        };
        let (a, b) = (values(24, 7).reshape([2, 3, 4]), values(40, 11).reshape([2, 4, 5]));
        let found = by_rows(a.clone(), b.clone()) - a.matmul(b);
        // Whole numbers below 2^24: no rounding.
        assert_eq!(found.abs().max().into_scalar::<f32>(), 0.0);
    }
}
