//! The passes of a step, in groups over the ranks: each group is summed in order, and the sums are added in the order
//! of the groups, so that the number of ranks changes no bit.

use std::ops::Range;

use super::Ranks;
use crate::{Error, Gradients, Optimizer};

/// Passes of a step, and the contiguous groups of as equal a size as there can be that they are summed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    /// Forward and backward passes.
    pub count: usize,
    /// Groups: `train.groups`, a multiple of the ranks.
    pub groups: usize,
}

impl Passes {
    fn of(self, group: usize) -> Range<usize> {
        let start = |group: usize| group * self.count / self.groups;
        start(group)..start(group + 1)
    }
}

/// What the passes of a step gave.
#[derive(Debug)]
pub struct Summed<const N: usize> {
    /// The numbers of each pass that was made, in the order of the passes; the same on every rank.
    pub numbers: Vec<[f64; N]>,
    /// The sum of their gradients, for [`Optimizer::step`]: those of this rank's parameters.
    pub gradients: Gradients,
}

impl Optimizer {
    /// Makes this rank's passes of a step by `pass`, which gives nothing where there is nothing to train on, and adds
    /// up what all ranks have. Collective.
    ///
    /// # Errors
    /// The first error of a pass of this rank: the other ranks then wait, and the caller must end the job.
    pub fn sum<const N: usize>(
        &self,
        passes: Passes,
        mut pass: impl FnMut(usize) -> Result<Option<([f64; N], Gradients)>, Error>,
    ) -> Result<Summed<N>, Error> {
        let (mut gradients, mut numbers) = (self.no_gradients(), Vec::new());
        for group in self.groups(passes) {
            let mut sum = Gradients::default();
            for at in passes.of(group) {
                let Some((row, part)) = pass(at)? else { continue };
                numbers.push((at, row.to_vec()));
                sum.add(part);
            }
            self.reduce(&mut gradients, sum);
        }
        let rows = gather(self.ranks(), &numbers).into_iter();
        Ok(Summed { numbers: rows.map(|row: Vec<f64>| std::array::from_fn(|i| row[i])).collect(), gradients })
    }

    /// Makes this rank's passes by `pass` and returns the values of all, in the order of the passes. Collective.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub fn values(
        &self,
        passes: Passes,
        mut pass: impl FnMut(usize) -> Result<Vec<f32>, Error>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mine = self.groups(passes).flat_map(|group| passes.of(group));
        let values: Vec<(usize, Vec<f32>)> =
            mine.map(|at| Ok((at, pass(at)?))).collect::<Result<_, Error>>()?;
        Ok(gather(self.ranks(), &values))
    }

    /// The groups of this rank.
    fn groups(&self, passes: Passes) -> impl Iterator<Item = usize> + use<> {
        (self.ranks().rank()..passes.groups).step_by(self.ranks().count())
    }
}

/// Values that the ranks have at different places, in the order of the places; the same on every rank. Collective.
pub fn gather<T: bytemuck::Pod>(ranks: &dyn Ranks, mine: &[(usize, Vec<T>)]) -> Vec<Vec<T>> {
    let mut bytes = Vec::new();
    for (at, values) in mine {
        bytes.extend((*at as u64).to_le_bytes());
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend_from_slice(bytemuck::cast_slice(values));
    }
    let all = ranks.all_gather(bytes).concat();
    let number = |at: usize| bytemuck::pod_read_unaligned::<u64>(&all[at..at + 8]) as usize;
    let (mut at, mut rows) = (0, Vec::new());
    while at < all.len() {
        let (place, n, size) = (number(at), number(at + 8), size_of::<T>());
        at += 16;
        let values = all[at..at + n * size].chunks_exact(size).map(bytemuck::pod_read_unaligned).collect();
        rows.push((place, values));
        at += n * size;
    }
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, values)| values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_contiguous_and_cover_the_passes() {
        for (count, groups) in [(7, 3), (2, 4), (0, 2), (8, 4), (5, 1)] {
            let passes = Passes { count, groups };
            let all: Vec<usize> = (0..groups).flat_map(|group| passes.of(group)).collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            let sizes = (0..groups).map(|group| passes.of(group).len());
            assert!(sizes.clone().max() <= sizes.min().map(|least| least + 1));
        }
    }
}
