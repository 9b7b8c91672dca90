//! The hook trait: see and replace activations at the sites of one run.

use burn::tensor::Tensor;

use crate::{Batch, Heads, Site, Stream};

/// An argument of one run of a model: it is shown activations, and returns what the run goes on with.
///
/// The model calls a hook at the sites that it [`wants`](Hook::wants), in the order of the computation, and goes on with
/// the tensor that it returns, which must have the same shape. Costly sites (per-head reads
/// and writes, scores and patterns) are computed only when wanted: ask for few.
pub trait Hook {
    /// Whether to compute and show `site`.
    fn wants(&self, site: Site) -> bool;

    /// Called once at the start of each forward pass: in generation the prompt is one pass, and then each
    /// new token is one. `offset` is how many positions the cache already holds; [`Batch::first`] is the position, in
    /// the cache, of each row's first token.
    fn begin(&mut self, _batch: &Batch, _offset: usize) {}

    /// Sees `x` `[batch, seq, _]` at `site` and returns what the run goes on with.
    fn on_stream(&mut self, _site: Stream, x: Tensor<3>) -> Tensor<3> {
        x
    }

    /// Sees `x` `[batch, heads, seq, _]` at `site` and returns what the run goes on with.
    fn on_heads(&mut self, _site: Heads, x: Tensor<4>) -> Tensor<4> {
        x
    }

    /// A copy that does to rows of a batch what this hook does to them beside other rows, so that both run at the same
    /// time: generation is faster with it. `None` for a hook that keeps what it sees or mixes rows.
    fn fork(&self) -> Option<Box<dyn Hook + Send>> {
        None
    }
}

/// The empty hook: wants nothing, costs nothing.
impl Hook for () {
    fn wants(&self, _site: Site) -> bool {
        false
    }
    fn fork(&self) -> Option<Box<dyn Hook + Send>> {
        Some(Box::new(()))
    }
}

macro_rules! pass_through {
    ($($pointer:ty),*) => {$(
        impl<H: Hook + ?Sized> Hook for $pointer {
            fn wants(&self, site: Site) -> bool {
                (**self).wants(site)
            }
            fn begin(&mut self, batch: &Batch, offset: usize) {
                (**self).begin(batch, offset);
            }
            fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
                (**self).on_stream(site, x)
            }
            fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
                (**self).on_heads(site, x)
            }
            fn fork(&self) -> Option<Box<dyn Hook + Send>> {
                (**self).fork()
            }
        }
    )*};
}

pass_through!(&mut H, Box<H>);

fn stream(hook: &mut impl Hook, site: Stream, x: Tensor<3>) -> Tensor<3> {
    if hook.wants(site.into()) { hook.on_stream(site, x) } else { x }
}

fn heads(hook: &mut impl Hook, site: Heads, x: Tensor<4>) -> Tensor<4> {
    if hook.wants(site.into()) { hook.on_heads(site, x) } else { x }
}

/// Two hooks on one run: the second sees what the first returned.
impl<A: Hook, B: Hook> Hook for (A, B) {
    fn wants(&self, site: Site) -> bool {
        self.0.wants(site) || self.1.wants(site)
    }
    fn begin(&mut self, batch: &Batch, offset: usize) {
        self.0.begin(batch, offset);
        self.1.begin(batch, offset);
    }
    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let x = stream(&mut self.0, site, x);
        stream(&mut self.1, site, x)
    }
    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        let x = heads(&mut self.0, site, x);
        heads(&mut self.1, site, x)
    }
    fn fork(&self) -> Option<Box<dyn Hook + Send>> {
        Some(Box::new((self.0.fork()?, self.1.fork()?)))
    }
}

/// A list of hooks on one run, in order: each sees what the one before returned. Hooks of different types go into
/// one list as `Vec<Box<dyn Hook>>`.
impl<H: Hook> Hook for Vec<H> {
    fn wants(&self, site: Site) -> bool {
        self.iter().any(|hook| hook.wants(site))
    }
    fn begin(&mut self, batch: &Batch, offset: usize) {
        self.iter_mut().for_each(|hook| hook.begin(batch, offset));
    }
    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        self.iter_mut().fold(x, |x, hook| stream(hook, site, x))
    }
    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        self.iter_mut().fold(x, |x, hook| heads(hook, site, x))
    }
    fn fork(&self) -> Option<Box<dyn Hook + Send>> {
        Some(Box::new(self.iter().map(Hook::fork).collect::<Option<Vec<_>>>()?))
    }
}
