//! Dropout of an adapter's inputs in one pass of training.

use std::ops::Range;

use crate::{Projection, Qwen};

impl Qwen {
    /// This model with the dropout of its adapter turned on for one pass over rows `rows` of a training step: what is
    /// dropped is a function of `draw` (seed and step), the row's number, the projection and the place in the row.
    /// Splitting a step into several passes, or running it again, drops the same.
    #[must_use]
    pub fn with_dropout(mut self, draw: [u64; 2], rows: &Range<usize>) -> Self {
        for (layer, block) in self.blocks.iter_mut().enumerate() {
            for which in Projection::ALL {
                let module = (layer * Projection::ALL.len() + which as usize) as u64;
                if let Some(term) = block.lora.get_mut(which).filter(|term| term.dropout.p > 0.0) {
                    let key = |row: usize| key(&[draw[0], draw[1], row as u64, module]);
                    term.dropout.keys = rows.clone().map(key).collect();
                }
            }
        }
        self
    }
}

/// SplitMix64 (Steele et al. 2014) over the numbers, one after another.
fn key(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |state: u64, number| {
        let mut z = state.wrapping_add(*number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
