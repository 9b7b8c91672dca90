//! Gradients at sites.
//!
//! burn keeps gradients of leaves only, so a probe adds a zero leaf at each site that it watches: the
//! gradient of the leaf is the gradient of the activation. Adding zero changes no value.

use std::collections::HashMap;

use burn::tensor::{Gradients, Tensor};

use crate::{Heads, Hook, Site, Stream};

/// Records the gradient at chosen sites, and the values there.
///
/// Weights need not be tracked: run a frozen model, call `backward` on a scalar made from its logits, and
/// ask the probe. Something upstream must be tracked for sites before the first probe; the probes
/// themselves start the graph. One run has one backward.
#[derive(Debug, Default)]
pub struct Probe {
    sites: Vec<Site>,
    streams: HashMap<Stream, (Tensor<3>, Tensor<3>)>,
    heads: HashMap<Heads, (Tensor<4>, Tensor<4>)>,
}

impl Probe {
    /// A probe of `sites`.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        Self { sites: sites.into_iter().collect(), ..Self::default() }
    }

    /// The gradient at `site` and the value there, both `[batch, seq, _]`. `None` where the loss does not
    /// depend on the site or the run never passed it.
    pub fn stream(&self, site: Stream, grads: &mut Gradients) -> Option<(Tensor<3>, Tensor<3>)> {
        let (leaf, value) = self.streams.get(&site)?;
        Some((leaf.grad_remove(grads)?, value.clone()))
    }

    /// The gradient at `site` and the value there, both `[batch, heads, seq, _]`. `None` where the loss does
    /// not depend on the site or the run never passed it.
    pub fn heads(&self, site: Heads, grads: &mut Gradients) -> Option<(Tensor<4>, Tensor<4>)> {
        let (leaf, value) = self.heads.get(&site)?;
        Some((leaf.grad_remove(grads)?, value.clone()))
    }
}

fn watch<const D: usize>(x: Tensor<D>) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let value = x.clone().inner();
    let leaf = value.zeros_like().autodiff().require_grad();
    (x.autodiff() + leaf.clone(), leaf, value)
}

impl Hook for Probe {
    fn wants(&self, site: Site) -> bool {
        self.sites.contains(&site)
    }
    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let (x, leaf, value) = watch(x);
        self.streams.insert(site, (leaf, value));
        x
    }
    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        let (x, leaf, value) = watch(x);
        self.heads.insert(site, (leaf, value));
        x
    }
}
