//! See [`crate::token_stats`]: statistics of rows of logits and their gradient, one pass of the device each.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::Cube;

use super::loops;
use super::tensors::{Rows, UNITS, cube_dim, empty, upload};
use crate::{TokenStats, TokenWeights};

#[backend_extension(Cube)]
trait StatsOps: Backend {
    /// Five numbers a row.
    fn stats(logits: FloatTensor<Self>, tokens: Vec<u32>, inverse_temperature: f64) -> FloatTensor<Self>;

    fn stats_backward(
        logits: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        tokens: Vec<u32>,
        weights: Vec<f32>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self>;
}

impl StatsOps for Cube {
    fn stats(logits: FloatTensor<Self>, tokens: Vec<u32>, inverse_temperature: f64) -> FloatTensor<Self> {
        let logits = Rows::new(logits);
        let (tokens, out) = (upload(&tokens, &logits.x), empty(&logits.x, Shape::new([logits.n, 5])));
        // SAFETY: tokens are below the width (checked by the caller), and every unit stays inside its row.
        unsafe {
            loops::token_stats::launch_unchecked(
                &out.client,
                logits.grid(),
                cube_dim(),
                logits.x.into_tensor_arg(),
                tokens.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                logits.n as u32,
                logits.width as u32,
                logits.pitch as u32,
                inverse_temperature as f32,
                UNITS,
            );
        }
        out
    }

    fn stats_backward(
        logits: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        tokens: Vec<u32>,
        weights: Vec<f32>,
        inverse_temperature: f64,
    ) -> FloatTensor<Self> {
        let logits = Rows::new(logits);
        let (tokens, out) = (upload(&tokens, &logits.x), logits.like());
        let bits: Vec<u32> = weights.iter().map(|x| x.to_bits()).collect();
        let mut weights = upload(&bits, &logits.x);
        weights.dtype = DType::F32;
        // SAFETY: as above; stats has five numbers a row and weights three.
        unsafe {
            loops::token_stats_backward::launch_unchecked(
                &out.client,
                logits.grid(),
                cube_dim(),
                logits.x.into_tensor_arg(),
                tokens.into_tensor_arg(),
                stats.into_tensor_arg(),
                weights.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                logits.n as u32,
                logits.width as u32,
                logits.pitch as u32,
                inverse_temperature as f32,
                UNITS,
            );
        }
        out
    }
}

fn on_host(stats: Tensor<2>) -> Vec<TokenStats> {
    let values: Vec<f32> = stats.into_data().iter::<f32>().collect();
    let one =
        |v: &[f32]| TokenStats { log_prob: v[0], entropy: v[1], mean_log_prob: v[2], correct: v[3] == 1.0 };
    values.chunks_exact(5).map(one).collect()
}

pub(crate) fn token_stats(logits: Tensor<2>, tokens: &[u32], inverse_temperature: f64) -> Vec<TokenStats> {
    let stats = Dispatch::stats(logits.into_dispatch(), tokens.to_vec(), inverse_temperature);
    on_host(Tensor::from_dispatch(stats))
}

pub(crate) fn token_stats_backward(
    logits: Tensor<2>,
    tokens: &[u32],
    weights: &[TokenWeights],
    inverse_temperature: f64,
) -> (Vec<TokenStats>, Tensor<2>) {
    let weights = weights.iter().flat_map(|w| [w.log_prob, w.entropy, w.mean_log_prob]).collect();
    let (logits, tokens) = (logits.into_dispatch(), tokens.to_vec());
    let stats = Dispatch::stats(logits.clone(), tokens.clone(), inverse_temperature);
    let grad = Dispatch::stats_backward(logits, stats.clone(), tokens, weights, inverse_temperature);
    (on_host(Tensor::from_dispatch(stats)), Tensor::from_dispatch(grad))
}
