//! The position of each column of a run in its row's text: counted from the row's first real token, in prefill and
//! in decoding. It holds one number for each row.

use burn::tensor::{Device, Int, Tensor, TensorData};
use hooks::Batch;

/// Positions of the columns of the current forward pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions {
    first: Vec<usize>,
    origins: Vec<usize>,
    offset: usize,
}

impl Positions {
    /// Follows [`hooks::Hook::begin`].
    pub(crate) fn begin(&mut self, batch: &Batch, offset: usize) {
        self.first = batch.first().to_vec();
        self.origins = batch.origins().to_vec();
        self.offset = offset;
    }

    /// Which row of the caller's list row `row` is.
    pub(crate) fn origin(&self, row: usize) -> usize {
        self.origins.get(row).copied().unwrap_or(row)
    }

    /// The position of column `column` in row `row`; padding before the text counts as position 0.
    pub(crate) fn of(&self, row: usize, column: usize) -> usize {
        (self.offset + column).saturating_sub(self.first.get(row).copied().unwrap_or(0))
    }

    /// Rows of a table of positions: `[batch * seq]` indices, each at most `limit`.
    pub(crate) fn indices(&self, batch: usize, seq: usize, limit: usize, device: &Device) -> Tensor<1, Int> {
        let all: Vec<i64> = (0..batch)
            .flat_map(|row| (0..seq).map(move |column| (row, column)))
            .map(|(row, column)| self.of(row, column).min(limit) as i64)
            .collect();
        Tensor::from_data(TensorData::from(&all[..]), device)
    }
}

/// Ones at real tokens and zeros at padding, `[batch, seq]`.
pub(crate) fn real(batch: &Batch, device: &Device) -> Tensor<2> {
    let spans = batch.first().iter().zip(batch.end());
    let ones: Vec<f32> = spans
        .flat_map(|(&first, &end)| {
            (0..batch.seq()).map(move |i| if (first..end).contains(&i) { 1.0 } else { 0.0 })
        })
        .collect();
    Tensor::from_data(TensorData::new(ones, [batch.batch(), batch.seq()]), device)
}
