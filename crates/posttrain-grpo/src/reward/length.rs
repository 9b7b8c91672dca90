//! Rewards of the number of tokens, and of repetition.

use std::collections::HashSet;
use std::hash::Hash;

use super::{RepetitionUnit, Reward, Sample};
use crate::Error;

/// 0 up to `max_tokens - cache`, then falling to -1 at `max_tokens` and beyond (DAPO, Yu et al. 2025, equation 13).
pub(super) struct Overlong {
    pub(super) max_tokens: usize,
    pub(super) cache: usize,
}

impl Reward for Overlong {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let soft = self.max_tokens - self.cache;
        let one = |sample: &Sample<'_>| match sample.ids.len() {
            n if n <= soft => 0.0,
            n if n <= self.max_tokens => ((soft as f64 - n as f64) / self.cache as f64) as f32,
            _ => -1.0,
        };
        Ok(samples.iter().map(one).collect())
    }
}

/// `max_penalty` times the share of n-grams that came before (Yeo et al. 2025, appendix C.2).
pub(super) struct Repetition {
    pub(super) n: usize,
    pub(super) max_penalty: f64,
    pub(super) unit: RepetitionUnit,
}

impl Reward for Repetition {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let one = |sample: &Sample<'_>| {
            let share = match self.unit {
                RepetitionUnit::Tokens => repeated(sample.ids, self.n),
                RepetitionUnit::Words => {
                    let text = sample.completion.to_lowercase();
                    repeated(&text.split_whitespace().collect::<Vec<_>>(), self.n)
                }
            };
            if share == 0.0 { 0.0 } else { (share * self.max_penalty) as f32 }
        };
        Ok(samples.iter().map(one).collect())
    }
}

fn repeated<T: Eq + Hash>(all: &[T], n: usize) -> f64 {
    let total = all.windows(n).len();
    if total == 0 {
        return 0.0;
    }
    let distinct: HashSet<&[T]> = all.windows(n).collect();
    1.0 - distinct.len() as f64 / total as f64
}
