//! Rows of a forward pass.

use hooks::Batch;

use crate::{Error, Example};

/// Rows and their trained tokens.
pub(crate) struct Rows {
    pub(crate) batch: Batch,
    /// `[tokens]`, into `[batch * seq]`: where each is predicted.
    pub(crate) positions: Vec<usize>,
    /// `[tokens]`.
    pub(crate) targets: Vec<u32>,
    /// `[tokens]`, in the loss.
    pub(crate) weights: Vec<f32>,
}

impl Rows {
    /// Right-padded rows, packed where any has several documents.
    pub(crate) fn new(examples: &[Example]) -> Result<Self, Error> {
        let texts: Vec<Vec<Vec<u32>>> = examples.iter().map(Example::texts).collect();
        let batch = match texts.iter().any(|texts| texts.len() > 1) {
            true => Batch::packed(&texts)?,
            false => Batch::new(&texts.concat())?,
        };
        let (mut positions, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (row, example) in examples.iter().enumerate() {
            for (at, weight) in example.targets() {
                positions.push(row * batch.seq() + at - 1);
                targets.push(example.ids[at]);
                weights.push(weight);
            }
        }
        Ok(Self { batch, positions, targets, weights })
    }
}
