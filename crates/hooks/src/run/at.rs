//! A hook made from a closure.

use burn::tensor::Tensor;

use crate::{Heads, Hook, Site, Stream};

/// A kind of site, which fixes the shape of the activation there: [`Stream`] or [`Heads`].
pub trait SiteKind: Copy + PartialEq + Into<Site> {
    /// `Tensor<3>` `[batch, seq, _]` at a stream, `Tensor<4>` `[batch, heads, seq, _]` at heads.
    type Activation;
}

impl SiteKind for Stream {
    type Activation = Tensor<3>;
}

impl SiteKind for Heads {
    type Activation = Tensor<4>;
}

/// A hook that applies a closure at one site. Made by [`at`].
#[derive(Debug, Clone)]
pub struct HookAt<S, F> {
    site: S,
    change: F,
}

/// A hook that gives `change` the activation at `site`; the run goes on with the tensor that it returns, which must
/// have the same shape.
///
/// ```
/// use hooks::{Batch, Heads, HookedModel, Stream, at};
///
/// # let model = test_models::Toy::random(0, Default::default(), &Default::default());
/// let batch = Batch::new(&[vec![1, 2, 3]])?;
/// // Remove the second MLP, and halve what the first layer's heads mix.
/// let mut hook = (at(Stream::MlpOut(1), |x| x.zeros_like()), at(Heads::Z(0), |z| z * 0.5));
/// let logits = model.run(&batch, &mut hook);
/// assert_eq!(logits.dims()[..2], [1, 3]);
/// # Ok::<(), hooks::Error>(())
/// ```
pub fn at<S: SiteKind, F: FnMut(S::Activation) -> S::Activation>(site: S, change: F) -> HookAt<S, F> {
    HookAt { site, change }
}

impl<F: FnMut(Tensor<3>) -> Tensor<3>> Hook for HookAt<Stream, F> {
    fn wants(&self, site: Site) -> bool {
        site == self.site.into()
    }
    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        if site == self.site { (self.change)(x) } else { x }
    }
}

impl<F: FnMut(Tensor<4>) -> Tensor<4>> Hook for HookAt<Heads, F> {
    fn wants(&self, site: Site) -> bool {
        site == self.site.into()
    }
    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        if site == self.site { (self.change)(x) } else { x }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn lists_of_hooks_run_in_order() {
        let site = Stream::Embed;
        let mut list: Vec<Box<dyn Hook>> = vec![
            Box::new(at(site, |x| x + 1.0)),
            Box::new(at(Heads::Z(0), |z| z * 0.0)),
            Box::new(at(site, |x| x * 10.0)),
        ];
        assert!(list.wants(site.into()) && list.wants(Heads::Z(0).into()) && !list.wants(Heads::Z(1).into()));
        let x = Tensor::<3>::ones([1, 1, 2], &Device::default());
        assert_eq!(list.on_stream(site, x).into_data().try_to_vec::<f32>().unwrap(), [20.0, 20.0]);
        let z = Tensor::<4>::ones([1, 1, 1, 1], &Device::default());
        assert_eq!(list.on_heads(Heads::Z(0), z).into_scalar::<f32>(), 0.0);
    }
}
