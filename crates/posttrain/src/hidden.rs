//! The hidden states that log-probabilities are made of, and the way of their gradient back through the blocks:
//! over the graph of the whole run, or block by block with each block run a second time.

use burn::tensor::{Int, Tensor, TensorData};
use hooks::Batch;
use model_qwen::{Pass, Qwen};

use crate::Gradients;

/// Hidden states at some positions of a run.
#[derive(Debug)]
pub(crate) struct Hidden {
    batch: Batch,
    /// `[tokens]`, into `[batch * seq]`.
    positions: Tensor<1, Int>,
    /// `[tokens, d_model]`, untracked.
    states: Tensor<2>,
    kept: Kept,
}

/// What is kept of a run for its backward pass.
#[derive(Debug)]
enum Kept {
    /// The graph from the embeddings, `[batch, seq, d_model]`, to the states.
    Graph { embedded: Box<Tensor<3>>, states: Box<Tensor<2>> },
    /// The residual stream before each block and after the last, each `[batch, seq, d_model]`.
    Streams(Vec<Tensor<3>>),
}

impl Hidden {
    /// Runs `model` and keeps its graph, where it is tracked.
    pub(crate) fn new(model: &Qwen, batch: &Batch, positions: &[usize]) -> Self {
        let positions = int(positions.iter().map(|&p| p as i64).collect(), model);
        let embedded = model.embedded(batch);
        // A leaf: the embedding's own gradient is that of its rows.
        let trained = embedded.is_autodiff();
        let embedded = if trained { embedded.inner().autodiff().require_grad() } else { embedded };
        let x = model.blocks(batch, 0..model.blocks.len(), embedded.clone(), &mut Pass::new(&mut ()));
        let states = read(model, batch, x, &positions);
        let plain = if states.is_autodiff() { states.clone().inner() } else { states.clone() };
        Self {
            batch: batch.clone(),
            positions,
            states: plain,
            kept: Kept::Graph { embedded: Box::new(embedded), states: Box::new(states) },
        }
    }

    /// Runs `model`, which is not tracked, and keeps the residual stream between blocks.
    pub(crate) fn recomputed(model: &Qwen, batch: &Batch, positions: &[usize]) -> Self {
        let positions = int(positions.iter().map(|&p| p as i64).collect(), model);
        let mut streams = vec![model.embedded(batch)];
        for layer in 0..model.blocks.len() {
            let x = streams[layer].clone();
            streams.push(model.blocks(batch, layer..layer + 1, x, &mut Pass::new(&mut ())));
        }
        let states = read(model, batch, streams[model.blocks.len()].clone(), &positions);
        Self { batch: batch.clone(), positions, states, kept: Kept::Streams(streams) }
    }

    /// The states `[tokens, d_model]`, untracked.
    pub(crate) fn states(&self) -> &Tensor<2> {
        &self.states
    }

    /// Whether a backward pass may follow.
    pub(crate) fn is_tracked(&self) -> bool {
        match &self.kept {
            Kept::Graph { states, .. } => states.is_autodiff(),
            Kept::Streams(_) => true,
        }
    }

    /// Whether the states depend on a trained parameter of `tracked`.
    pub(crate) fn reaches(&self, tracked: &Qwen) -> bool {
        match &self.kept {
            Kept::Graph { states, .. } => states.is_autodiff(),
            Kept::Streams(_) => lowest(tracked).is_some() || tracked.norm.is_autodiff(),
        }
    }

    /// The gradients of the trained parameters of `tracked`, where those of the states are `to_states`
    /// `[tokens, d_model]`, if it [reaches](Self::reaches) any, and that of the output projection is `to_unembed`,
    /// if it is trained.
    pub(crate) fn backward(
        self,
        tracked: &mut Qwen,
        to_states: Option<Tensor<2>>,
        to_unembed: Option<Tensor<2>>,
    ) -> Gradients {
        let (batch, positions) = (self.batch, self.positions);
        let mut gradients = Gradients::none(tracked);
        if let Some(grad) = to_unembed {
            gradients.add_unembed(grad);
        }
        let Some(to_states) = to_states else { return gradients };
        let to_embedded = match self.kept {
            Kept::Graph { embedded, states } => {
                let mut left = (*states * to_states.autodiff()).sum().backward();
                gradients.take(tracked, &mut left);
                embedded.grad_remove(&mut left)
            }
            Kept::Streams(mut streams) => {
                let lowest = lowest(tracked);
                let read = |model: &Qwen, x| read(model, &batch, x, &positions);
                let last = streams.pop().map(|x| Part { x, wanted: lowest.is_some() });
                let mut to_x = last.and_then(|part| part.backward(tracked, read, to_states, &mut gradients));
                while let Some(x) = streams.pop() {
                    // Below the first trained block nothing has a gradient.
                    let Some(grad) = to_x.take() else { break };
                    let layer = streams.len();
                    let part = Part { x, wanted: tracked.embed.is_autodiff() || lowest < Some(layer) };
                    let run =
                        |model: &Qwen, x| model.blocks(&batch, layer..layer + 1, x, &mut Pass::new(&mut ()));
                    to_x = part.backward(tracked, run, grad, &mut gradients);
                }
                to_x
            }
        };
        if let Some(rows) = to_embedded {
            let [n, seq, d_model] = rows.dims();
            let ids = int(batch.ids().iter().map(|&id| i64::from(id)).collect(), tracked);
            gradients.add_embedded(ids, rows.reshape([n * seq, d_model]), tracked.config.vocab);
        }
        gradients
    }
}

/// A part of a run that is run again: its input `[batch, seq, d_model]`, and whether a gradient is wanted there.
struct Part {
    x: Tensor<3>,
    wanted: bool,
}

impl Part {
    /// Runs the part on `tracked`, adds its parameters' gradients for the gradient `to_y` of its output, and returns
    /// the gradient at its input.
    fn backward<const D: usize>(
        self,
        tracked: &mut Qwen,
        run: impl FnOnce(&Qwen, Tensor<3>) -> Tensor<D>,
        to_y: Tensor<D>,
        gradients: &mut Gradients,
    ) -> Option<Tensor<3>> {
        let x = if self.wanted { self.x.autodiff().require_grad() } else { self.x };
        let y = run(tracked, x.clone());
        let mut left = (y * to_y.autodiff()).sum().backward();
        gradients.take(tracked, &mut left);
        x.grad_remove(&mut left)
    }
}

/// The lowest block through which a gradient goes.
fn lowest(tracked: &Qwen) -> Option<usize> {
    if tracked.embed.is_autodiff() { Some(0) } else { tracked.first_tracked_block() }
}

/// The final norm of the residual stream `x`, at `positions`, `[tokens, d_model]`.
fn read(model: &Qwen, batch: &Batch, x: Tensor<3>, positions: &Tensor<1, Int>) -> Tensor<2> {
    let x = model.final_norm(batch, x, &mut ());
    let [n, seq, d_model] = x.dims();
    x.reshape([n * seq, d_model]).select(0, positions.clone())
}

fn int(values: Vec<i64>, model: &Qwen) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(&values[..]), &model.device())
}
