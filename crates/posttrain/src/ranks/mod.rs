//! Processes that train one model together: what they say to each other, and nothing of how.

mod shares;
mod sum;
mod threads;

pub(crate) use shares::Shares;
pub use sum::{Passes, Summed, gather};
pub use threads::Threads;

use std::fmt;

/// The processes of one training run. Each holds the whole model and sees the whole batch; each makes some of the
/// forward and backward passes of a step, and has the optimiser state of some of the parameters.
///
/// [`exchange`](Self::exchange) and [`all_gather`](Self::all_gather) are collective: every rank makes the same calls
/// in the same order. A rank that cannot go on ends the job; there is no error to return.
pub trait Ranks: fmt::Debug + Send + Sync {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn count(&self) -> usize;

    /// Gives `parts[r]` to rank `r`, and returns what each rank gave to this one, in rank order. Parts may differ in
    /// length, and have at most 2³⁰ values together.
    fn exchange(&self, parts: Vec<Vec<f32>>) -> Vec<Vec<f32>>;

    /// What each rank gives, in rank order: at most 2³⁰ bytes together.
    fn all_gather(&self, part: Vec<u8>) -> Vec<Vec<u8>>;

    /// Whether `flag` is set on any rank.
    fn any(&self, flag: bool) -> bool {
        self.all_gather(vec![u8::from(flag)]).concat().contains(&1)
    }

    /// Whether the `at`-th of some parts of work is this rank's: they go by turns.
    fn has(&self, at: usize) -> bool {
        at % self.count() == self.rank()
    }

    /// Whether this is the rank that writes.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }
}

/// One process alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn exchange(&self, parts: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        parts
    }

    fn all_gather(&self, part: Vec<u8>) -> Vec<Vec<u8>> {
        vec![part]
    }
}
