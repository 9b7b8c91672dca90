//! [`Qwen`] as a [`HookedModel`]: what the crates that look inside a model need of it.

use burn::tensor::{Device, Tensor};
use hooks::{Batch, Head, HeadWeights, Heads, Hook, HookedModel, Part, Stream, Wiring};

use crate::forward::{Pass, stream};
use crate::projection::linear;
use crate::{Projection, Qwen};

impl HookedModel for Qwen {
    fn wiring(&self) -> Wiring {
        self.config.wiring()
    }

    fn device(&self) -> Device {
        Qwen::device(self)
    }

    fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        self.forward(batch, Pass::new(hook))
    }

    fn run_part(
        &self,
        batch: &Batch,
        part: Part,
        resid: Tensor<3>,
        hook: &mut dyn Hook,
    ) -> Option<Tensor<3>> {
        hook.begin(batch, 0);
        Some(match part {
            Part::Blocks(range) => self.blocks(batch, range, resid, &mut Pass::new(hook)),
            Part::ReadOut => {
                let x = self.final_norm(batch, resid, hook);
                stream(hook, Stream::Logits, linear(&x, self.unembed(), None))
            }
        })
    }

    fn at_once(&self) -> usize {
        if kernels::is_cpu(&self.device()) { self.config.at_once() } else { 1 }
    }

    fn d_head(&self) -> Option<usize> {
        Some(self.config.d_head)
    }

    fn pull_back(&self, site: Heads, resid: &Tensor<3>, grad: Tensor<4>) -> Option<Tensor<4>> {
        let c = &self.config;
        let (layer, which) = match site {
            Heads::Query(layer) => (layer, Projection::Query),
            Heads::KeyUngrouped(layer) => (layer, Projection::Key),
            Heads::ValueUngrouped(layer) => (layer, Projection::Value),
            _ => return None,
        };
        let block = &self.blocks[layer];
        let grad = block.pull_per_head(which, grad, c.d_head, c.n_heads);
        Some(kernels::rms_norm_pull_back(resid.clone(), block.attn_norm.clone(), grad, c.norm_eps))
    }

    fn read_out(&self, resid: &Tensor<3>, write: &Tensor<3>, tokens: Option<&[u32]>) -> Option<Tensor<3>> {
        Some(self.read(resid, write, tokens))
    }

    fn head_weights(&self, head: Head) -> Option<HeadWeights> {
        Some(self.weights_of(head))
    }
}
