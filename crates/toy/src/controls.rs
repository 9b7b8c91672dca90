//! Pairs of checkpoints of which it is known what changed between them: controls of a study of emergent heads.

use burn::tensor::Tensor;
use hooks::Head;
use model_qwen::{Projection, Qwen};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Error;

/// Two checkpoints of one function.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The model with head `to` silenced: it writes nothing.
    pub before: Qwen,
    /// The same function to rounding: `to` does what `from` did, and `from` writes nothing.
    pub after: Qwen,
}

/// The positive control: what head `from` does is done by head `to` afterwards, and nothing else changes. A study
/// of `before` and `after` has to find that `to` is new and `from` lost.
///
/// `to` is silenced first, in both checkpoints; then the two exchange their query rows and output columns. Keys
/// and values stay, so both heads must read the same key/value head.
///
/// # Errors
/// A head that the model does not have; heads of two layers or of two key/value groups, or one head twice; a model
/// with an adapter.
pub fn moved_head(model: &Qwen, from: Head, to: Head) -> Result<Moved, Error> {
    let c = &model.config;
    for (name, head) in [("from", from), ("to", to)] {
        if head.layer >= c.n_layers || head.head >= c.n_heads {
            let (layers, heads) = (c.n_layers, c.n_heads);
            return Err(Error::input(format!(
                "{name}: {head}, expected a head of {layers} layers × {heads} heads"
            )));
        }
    }
    let group = |head: Head| head.head / (c.n_heads / c.n_kv_heads);
    if from == to || from.layer != to.layer || group(from) != group(to) {
        return Err(Error::input(format!(
            "from {from}, to {to}: expected two heads of one layer that read the same key/value head"
        )));
    }
    let mut before = model.clone();
    let block = &mut before.blocks[from.layer];
    let (d, width) = (c.d_head, c.d_model);
    let (a, b) = (from.head * d..(from.head + 1) * d, to.head * d..(to.head + 1) * d);
    let silent = Tensor::zeros([width, d], &block.output.device());
    block.output = block.output.clone().slice_assign([0..width, b.clone()], silent);
    let mut after = before.clone();
    let block = &mut after.blocks[from.layer];
    block.output = exchanged(block.output.clone().transpose(), [a.clone(), b.clone()]).transpose();
    block.query = exchanged(block.query.clone(), [a.clone(), b.clone()]);
    if let Some(bias) = &mut block.biases[Projection::Query as usize] {
        *bias = exchanged(bias.clone().unsqueeze_dim::<2>(1), [a, b]).squeeze_dim(1);
    }
    Ok(Moved { before, after })
}

/// The matrix with two ranges of rows exchanged.
fn exchanged(matrix: Tensor<2>, [a, b]: [std::ops::Range<usize>; 2]) -> Tensor<2> {
    let columns = 0..matrix.dims()[1];
    let rows = |range: &std::ops::Range<usize>| matrix.clone().slice([range.clone(), columns.clone()]);
    let (first, second) = (rows(&a), rows(&b));
    matrix.slice_assign([a, columns.clone()], second).slice_assign([b, columns], first)
}

/// The negative control: every entry of the blocks' matrices moved by uniform noise of mean 0 whose standard
/// deviation is `relative` times the matrix's root mean square. A study of the model and this has to find nothing.
///
/// # Errors
/// `relative` is negative or not finite; weights that are not f32.
pub fn noisy(model: &Qwen, relative: f64, seed: u64) -> Result<Qwen, Error> {
    noisy_by(model, &vec![relative; model.blocks.len() * Projection::ALL.len()], seed)
}

/// How far each matrix of the blocks is from `before` to `after`: the root mean square of the difference over that of the
/// matrix before; block by block, in the order of [`Projection::ALL`].
///
/// # Errors
/// Models of different sizes; weights that are not f32.
pub fn changes(before: &Qwen, after: &Qwen) -> Result<Vec<f64>, Error> {
    let pairs = before.blocks.iter().zip(&after.blocks);
    let all = pairs.flat_map(|(a, b)| Projection::ALL.map(|which| (a.weight(which), b.weight(which))));
    let one = |(a, b): (&Tensor<2>, &Tensor<2>)| {
        let values =
            |x: &Tensor<2>| x.to_data().try_to_vec::<f32>().map_err(|e| Error::input(format!("{e:?}")));
        if a.dims() != b.dims() {
            return Err(Error::input(format!(
                "matrices of {:?} and {:?}: another model",
                a.dims(),
                b.dims()
            )));
        }
        let (a, b) = (values(a)?, values(b)?);
        let moved: f64 = a.iter().zip(&b).map(|(a, b)| (f64::from(*b) - f64::from(*a)).powi(2)).sum();
        let whole: f64 = a.iter().map(|&a| f64::from(a).powi(2)).sum();
        Ok((moved / whole.max(f64::MIN_POSITIVE)).sqrt())
    };
    if before.blocks.len() != after.blocks.len() {
        return Err(Error::input("models with different numbers of blocks"));
    }
    all.map(one).collect()
}

/// As [`noisy`], with a size for each matrix, in the order of [`changes`].
///
/// # Errors
/// As [`noisy`]; another number of sizes than matrices.
pub fn noisy_by(model: &Qwen, sizes: &[f64], seed: u64) -> Result<Qwen, Error> {
    if let Some(size) = sizes.iter().find(|size| !(size.is_finite() && **size >= 0.0)) {
        return Err(Error::input(format!("noise: {size}, expected a finite number, at least 0")));
    }
    if sizes.len() != model.blocks.len() * Projection::ALL.len() {
        return Err(Error::input(format!("noise: {} sizes, expected one a matrix", sizes.len())));
    }
    let mut sizes = sizes.iter();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut model = model.clone();
    for block in &mut model.blocks {
        for which in Projection::ALL {
            let weight = block.weight_mut(which);
            let mut data = weight.to_data();
            let values = data.as_mut_slice::<f32>().map_err(|e| Error::input(format!("{which:?}: {e:?}")))?;
            let square = values.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / values.len() as f64;
            // Uniform numbers of [-1, 1) have a variance of one third.
            let size = sizes.next().copied().unwrap_or_default();
            let scale = (size * (3.0 * square).sqrt()) as f32;
            values.iter_mut().for_each(|w| *w += scale * rng.random_range(-1.0f32..1.0));
            *weight = Tensor::from_data(data, &weight.device());
        }
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use hooks::Batch;
    use model_qwen::{Pass, random};

    use super::*;

    fn model() -> Qwen {
        let mut model = random(crate::config().expect("parses"), 1, &burn::tensor::Device::flex());
        // Weights large enough that heads differ, and biases that are not zero.
        for block in &mut model.blocks {
            for which in Projection::ALL {
                *block.weight_mut(which) = block.weight(which).clone() * 4.0;
            }
            let bias = block.query.clone().slice([0..128, 0..1]).squeeze_dim(1);
            block.biases[Projection::Query as usize] = Some(bias * 10.0);
        }
        model
    }

    fn logits(model: &Qwen) -> Vec<f32> {
        let ids = crate::encode("47+28+36=<think>47+28=75;75+36=").expect("known");
        let batch = Batch::new(&[ids]).expect("a batch");
        model.forward(&batch, Pass::new(&mut ())).into_data().try_to_vec().expect("f32")
    }

    fn distance(a: &Qwen, b: &Qwen) -> f32 {
        logits(a).iter().zip(logits(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    fn head(layer: usize, head: usize) -> Head {
        Head { layer, head }
    }

    /// The model in which a head's output columns are zero.
    fn without(model: &Qwen, at: Head) -> Qwen {
        let mut model = model.clone();
        let output = &mut model.blocks[at.layer].output;
        let zeros = Tensor::zeros([128, 16], &output.device());
        *output = output.clone().slice_assign([0..128, 16 * at.head..16 * at.head + 16], zeros);
        model
    }

    #[test]
    fn the_function_stays_and_another_head_does_it() {
        let (model, from, to) = (model(), head(2, 1), head(2, 3));
        let Moved { before, after } = moved_head(&model, from, to).expect("one group");
        let unit = logits(&before).iter().fold(0f32, |m, x| m.max(x.abs())) * 1e-5;
        assert!(distance(&before, &after) < unit, "one function");
        assert!(distance(&model, &before) > 100.0 * unit, "the silenced head did something");
        assert!(distance(&before, &without(&before, to)) == 0.0, "silent before");
        assert!(distance(&after, &without(&after, from)) == 0.0, "silent after");
        let (old, new) = (without(&before, from), without(&after, to));
        assert!(distance(&before, &old) > 100.0 * unit, "needed");
        assert!(distance(&old, &new) < unit, "the same is lost with either");
    }

    #[test]
    fn heads_that_cannot_be_exchanged_are_refused() {
        let model = model();
        for (from, to) in
            [((0, 1), (1, 1)), ((0, 3), (0, 4)), ((0, 2), (0, 2)), ((6, 0), (6, 1)), ((0, 0), (0, 8))]
        {
            assert!(moved_head(&model, head(from.0, from.1), head(to.0, to.1)).is_err(), "{from:?} {to:?}");
        }
    }

    #[test]
    fn noise_has_the_size_asked_for() {
        let model = model();
        assert_eq!(distance(&model, &noisy(&model, 0.0, 0).expect("valid")), 0.0);
        let noisy_model = noisy(&model, 0.01, 0).expect("valid");
        let gate = |m: &Qwen| m.blocks[3].gate.to_data().try_to_vec::<f32>().expect("f32");
        let (old, new) = (gate(&model), gate(&noisy_model));
        let square =
            |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
        let ratio = square(&mut old.iter().zip(&new).map(|(a, b)| a - b)) / square(&mut old.iter().copied());
        // 49,152 entries: the standard error of the ratio is below 1 %.
        assert!((ratio.sqrt() / 0.01 - 1.0).abs() < 0.02, "{ratio}");
        assert_eq!(logits(&noisy_model), logits(&noisy(&model, 0.01, 0).expect("valid")));
        assert!(noisy(&model, -1.0, 0).is_err() && noisy(&model, f64::NAN, 0).is_err());
    }

    #[test]
    fn noise_as_large_as_a_change_has_its_size_in_every_matrix() {
        let (before, mut after) = (model(), model());
        for (b, block) in after.blocks.iter_mut().enumerate() {
            for (p, which) in Projection::ALL.into_iter().enumerate() {
                *block.weight_mut(which) = block.weight(which).clone() * (1.0 + 0.01 * (b + 6 * p) as f64);
            }
        }
        let sizes = changes(&before, &after).expect("one model");
        for (at, size) in sizes.iter().enumerate() {
            let (b, p) = (at / Projection::ALL.len(), at % Projection::ALL.len());
            assert!((size - 0.01 * (b + 6 * p) as f64).abs() < 1e-6, "{at}: {size}");
        }
        let noise = changes(&before, &noisy_by(&before, &sizes, 3).expect("valid")).expect("one model");
        // The smallest matrix has 4,096 entries: a standard error of 0.7 %.
        assert!(
            noise.iter().zip(&sizes).all(|(found, size)| (found - size).abs() <= 0.03 * size),
            "{noise:?}"
        );
        assert!(noisy_by(&before, &sizes[1..], 3).is_err());
    }
}
