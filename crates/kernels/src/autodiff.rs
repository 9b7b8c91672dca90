//! The backward passes of the fused operations, and what is made again in them.

use std::{fmt, marker::PhantomData};

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{
        base::Checkpointer,
        retro_forward::RetroForward,
        state::BackwardStates,
        strategy::{BalancedCheckpointing, CheckpointStrategy},
    },
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use crate::ops::FusedOps;
use crate::{AdamW, CausalMask, Compute, Dropout};

/// An operation done again in the backward pass, where a product wants its result: from the inputs, which the
/// operation keeps for its own backward pass anyway. An input without gradients makes burn keep the result instead.
struct Again<B: Backend, F, const N: usize> {
    inputs: [NodeId; N],
    operation: F,
    backend: PhantomData<fn() -> B>,
}

impl<B: Backend, F: Fn([FloatTensor<B>; N]) -> FloatTensor<B>, const N: usize> Again<B, F, N> {
    fn new(inputs: [NodeId; N], operation: F) -> Self {
        Self { inputs, operation, backend: PhantomData }
    }
}

impl<B: Backend, F, const N: usize> fmt::Debug for Again<B, F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl<B, F, const N: usize> RetroForward for Again<B, F, N>
where
    B: Backend,
    F: Fn([FloatTensor<B>; N]) -> FloatTensor<B> + Send + 'static,
{
    fn forward(&self, states: &mut BackwardStates, result: NodeId) {
        let inputs = self.inputs.map(|input| states.get_state::<FloatTensor<B>>(&input));
        states.save(result, (self.operation)(inputs));
    }
}

/// The backward pass of an operation that is itself part of a backward pass: burn has no second derivatives.
fn no_second_derivative() -> ! {
    panic!("a backward pass is not differentiable")
}

impl<B: FusedOps, C: CheckpointStrategy> FusedOps for Autodiff<B, C> {
    fn project(x: FloatTensor<Self>, weight: FloatTensor<Self>, by_token: bool) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Linear;

        impl<B: FusedOps> Backward<B, 2> for Linear {
            /// The input, where the weight is tracked, and the weight.
            type State = (Option<NodeId>, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, kept: &mut Checkpointer) {
                let (x, weight) = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let [x_node, weight_node] = ops.parents;
                if let (Some(node), Some(x)) = (weight_node, x) {
                    let x = kept.retrieve_node_output::<FloatTensor<B>>(x);
                    grads.register::<B>(node.id, B::project_backward_weight(grad.clone(), x));
                }
                if let Some(node) = x_node {
                    grads.register::<B>(node.id, B::project_backward(grad, weight));
                }
            }
        }

        let weight_is_tracked = weight.is_tracked();
        let (weight, weight_node) = weight.into_parts();
        let out = B::project(x.primitive().clone(), weight.clone(), by_token);
        match Linear.prepare::<C>([x.node(), weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let x = weight_is_tracked.then(|| prep.checkpoint(&x));
                prep.finish((x, weight), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn matmul(a: FloatTensor<Self>, b: FloatTensor<Self>, compute: Compute) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Product;

        impl<B: FusedOps> Backward<B, 2> for Product {
            type State = ([FloatTensor<B>; 2], Compute);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let ([a, b], compute) = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let transposed = |x: FloatTensor<B>| {
                    let rank = x.shape().rank();
                    B::float_swap_dims(x, rank - 2, rank - 1)
                };
                let [a_node, b_node] = ops.parents;
                if let Some(node) = b_node {
                    grads.register::<B>(node.id, B::matmul(transposed(a), grad.clone(), compute));
                }
                if let Some(node) = a_node {
                    grads.register::<B>(node.id, B::matmul(grad, transposed(b), compute));
                }
            }
        }

        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        match Product.prepare::<C>([a_node, b_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish(([a.clone(), b.clone()], compute), B::matmul(a, b, compute))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::matmul(a, b, compute)),
        }
    }

    fn project_backward(_grad: FloatTensor<Self>, _weight: FloatTensor<Self>) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn project_backward_weight(_grad: FloatTensor<Self>, _x: FloatTensor<Self>) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct RmsNorm;

        impl<B: FusedOps> Backward<B, 2> for RmsNorm {
            type State = (FloatTensor<B>, FloatTensor<B>, f64);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (x, weight, eps) = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let [x_node, weight_node] = ops.parents;
                if let Some(node) = weight_node {
                    let dw = B::rms_norm_backward_weight(x.clone(), grad.clone(), eps);
                    grads.register::<B>(node.id, dw);
                }
                if let Some(node) = x_node {
                    grads.register::<B>(node.id, B::rms_norm_backward(x, weight, grad, eps));
                }
            }
        }

        let prep = RmsNorm.prepare::<BalancedCheckpointing>([x.node(), weight.node()]).memory_bound();
        let prep = if weight.is_tracked() {
            let again =
                Again::<B, _, 2>::new([x.id(), weight.id()], move |[x, weight]| B::rms_norm(x, weight, eps));
            prep.retro_forward(again).parents([&x, &weight])
        } else {
            let weight = weight.primitive().clone();
            let again = Again::<B, _, 1>::new([x.id()], move |[x]| B::rms_norm(x, weight.clone(), eps));
            prep.retro_forward(again).parents([&x])
        };
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match prep.stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((x.clone(), weight.clone(), eps), B::rms_norm(x, weight, eps))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rms_norm(x, weight, eps)),
        }
    }

    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct SwiGlu;

        impl<B: FusedOps> Backward<B, 2> for SwiGlu {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (gate, up) = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let [gate_node, up_node] = ops.parents;
                if let Some(node) = up_node {
                    grads.register::<B>(node.id, B::swiglu_backward_up(gate.clone(), grad.clone()));
                }
                if let Some(node) = gate_node {
                    grads.register::<B>(node.id, B::swiglu_backward_gate(gate, up, grad));
                }
            }
        }

        let again = Again::<B, _, 2>::new([gate.id(), up.id()], |[gate, up]| B::swiglu(gate, up));
        let prep = SwiGlu.prepare::<BalancedCheckpointing>([gate.node(), up.node()]).memory_bound();
        let prep = prep.retro_forward(again).parents([&gate, &up]);
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        match prep.stateful() {
            OpsKind::Tracked(prep) => prep.finish((gate.clone(), up.clone()), B::swiglu(gate, up)),
            OpsKind::UnTracked(prep) => prep.finish(B::swiglu(gate, up)),
        }
    }

    fn causal_softmax(scores: FloatTensor<Self>, scale: f64, mask: CausalMask) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct CausalSoftmax;

        impl<B: FusedOps> Backward<B, 1> for CausalSoftmax {
            type State = (FloatTensor<B>, f64);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (probabilities, scale) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::softmax_backward(probabilities, grad, scale)
                });
            }
        }

        let (scores, node) = scores.into_parts();
        let probabilities = B::causal_softmax(scores, scale, mask);
        match CausalSoftmax.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((probabilities.clone(), scale), probabilities),
            OpsKind::UnTracked(prep) => prep.finish(probabilities),
        }
    }

    fn document_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        scale: f64,
        mask: CausalMask,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct DocumentAttention;

        impl<B: FusedOps> Backward<B, 3> for DocumentAttention {
            type State = ([FloatTensor<B>; 3], f64, CausalMask);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let ([q, k, v], scale, mask) = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let (q, k, v) = B::document_attention_backward(q, k, v, grad, scale, mask);
                for (node, grad) in ops.parents.into_iter().zip([q, k, v]) {
                    if let Some(node) = node {
                        grads.register::<B>(node.id, grad);
                    }
                }
            }
        }

        let ((q, q_node), (k, k_node), (v, v_node)) = (q.into_parts(), k.into_parts(), v.into_parts());
        let out = B::document_attention(q.clone(), k.clone(), v.clone(), scale, mask.clone());
        match DocumentAttention.prepare::<C>([q_node, k_node, v_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(([q, k, v], scale, mask), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn rotary(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Rotary;

        impl<B: FusedOps> Backward<B, 1> for Rotary {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (cos, sin) = ops.state;
                // A rotation's transpose is the rotation by minus the angle.
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::rotary(grad, cos, B::float_neg(sin)));
            }
        }

        let ((x, node), cos, sin) = (x.into_parts(), cos.into_primitive(), sin.into_primitive());
        let out = B::rotary(x, cos.clone(), sin.clone());
        match Rotary.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((cos, sin), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn dropout(x: FloatTensor<Self>, how: Dropout) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Dropped;

        impl<B: FusedOps> Backward<B, 1> for Dropped {
            type State = Dropout;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                // The same values of the gradient are dropped.
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::dropout(grad, ops.state));
            }
        }

        let again = how.clone();
        let again = Again::<B, _, 1>::new([x.id()], move |[x]| B::dropout(x, again.clone()));
        let prep = Dropped.prepare::<BalancedCheckpointing>([x.node()]).memory_bound();
        let prep = prep.retro_forward(again).parents([&x]);
        let out = B::dropout(x.into_primitive(), how.clone());
        match prep.stateful() {
            OpsKind::Tracked(prep) => prep.finish(how, out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn token_log_probs(
        logits: FloatTensor<Self>,
        tokens: Vec<u32>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct TokenLogProbs;

        impl<B: FusedOps> Backward<B, 1> for TokenLogProbs {
            type State = (FloatTensor<B>, Vec<u32>, f64);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (logits, tokens, inverse_temperature) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::token_log_probs_backward(logits, tokens, grad, inverse_temperature)
                });
            }
        }

        let (logits, node) = logits.into_parts();
        let out = B::token_log_probs(logits.clone(), tokens.clone(), inverse_temperature);
        match TokenLogProbs.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((logits, tokens, inverse_temperature), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn rms_norm_pull_back(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _eps: f64,
    ) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn rms_norm_backward(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _eps: f64,
    ) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn rms_norm_backward_weight(
        _x: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _eps: f64,
    ) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn swiglu_backward_gate(
        _gate: FloatTensor<Self>,
        _up: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn swiglu_backward_up(_gate: FloatTensor<Self>, _grad: FloatTensor<Self>) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn softmax_backward(
        _probabilities: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _scale: f64,
    ) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn document_attention_backward(
        _q: FloatTensor<Self>,
        _k: FloatTensor<Self>,
        _v: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _scale: f64,
        _mask: CausalMask,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        no_second_derivative()
    }

    fn token_log_probs_backward(
        _logits: FloatTensor<Self>,
        _tokens: Vec<u32>,
        _grad: FloatTensor<Self>,
        _inverse_temperature: f64,
    ) -> FloatTensor<Self> {
        no_second_derivative()
    }

    fn cached_attention(
        _q: FloatTensor<Self>,
        _k: FloatTensor<Self>,
        _v: FloatTensor<Self>,
        _keys: FloatTensor<Self>,
        _values: FloatTensor<Self>,
        _at: usize,
        _scale: f64,
        _mask: CausalMask,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("decoding is not differentiable")
    }

    fn adamw(
        _weight: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _m: FloatTensor<Self>,
        _v: FloatTensor<Self>,
        _how: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("an update is not differentiable")
    }
}
