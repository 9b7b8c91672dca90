//! Examples and their order.

use std::io::BufRead as _;
use std::path::Path;

use posttrain::Order;

use crate::{DataConfig, Encoder, Error};

/// Tokens and which of them are trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Where it came from, for messages: the field `id` of its line, or the line's number from 1.
    pub id: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Whether each token of `ids` is trained, that is predicted from those before it. The first never is.
    pub trained: Vec<bool>,
}

impl Example {
    /// An example whose tokens from `start` on are trained.
    pub fn new(id: impl Into<String>, ids: Vec<u32>, start: usize) -> Self {
        let trained = (0..ids.len()).map(|i| i >= start.max(1)).collect();
        Self { id: id.into(), ids, trained }
    }

    /// Number of trained tokens.
    pub fn tokens(&self) -> usize {
        self.trained.iter().skip(1).filter(|&&t| t).count()
    }

    /// Leaves out what is beyond `max` tokens.
    fn truncate(&mut self, max: usize) {
        self.ids.truncate(max);
        self.trained.truncate(max);
    }
}

/// Examples in a deterministic order without end: see [`Order`].
#[derive(Debug, Clone)]
pub struct Dataset {
    examples: Vec<Example>,
    /// `None` keeps the file's order.
    seed: Option<u64>,
    /// Examples whose end was cut off at `data.max_length`.
    pub truncated: usize,
    /// Examples left out because no trained token was left.
    pub empty: usize,
}

impl Dataset {
    /// Reads a file: JSONL of `{"prompt","completion"}`, `{"text"}`, `{"messages"}` or
    /// `{"input_ids","labels"}`. Blank lines are skipped, what is longer than `data.max_length` loses its
    /// end, what then has no trained token is left out.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is not an example (with its number), or no example at all.
    pub fn open(path: &Path, config: &DataConfig, seed: u64, encoder: &Encoder) -> Result<Self, Error> {
        config.check()?;
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        let mut examples = Vec::new();
        for (at, line) in std::io::BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|e| Error::io(path, e))?;
            if !line.trim().is_empty() {
                let bad = |e: Error| Error::at(path, format!("line {}: {e}", at + 1));
                examples.push(encoder.line(&line, &(at + 1).to_string()).map_err(bad)?);
            }
        }
        let seed = config.shuffle.then_some(seed);
        Self::new(examples, config.max_length, seed).map_err(|e| Error::at(path, e))
    }

    /// A data set of examples, shuffled where there is a seed.
    ///
    /// # Errors
    /// No example with a trained token.
    pub fn new(mut examples: Vec<Example>, max_length: usize, seed: Option<u64>) -> Result<Self, Error> {
        let truncated = examples.iter().filter(|e| e.ids.len() > max_length).count();
        examples.iter_mut().for_each(|e| e.truncate(max_length));
        let all = examples.len();
        examples.retain(|e| e.tokens() > 0);
        if examples.is_empty() {
            return Err(Error::input("no example with a trained token"));
        }
        let empty = all - examples.len();
        Ok(Self { examples, seed, truncated, empty })
    }

    /// All examples, in file order.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Examples of an epoch.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Never: see [`Dataset::new`].
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Up to `n` examples from `position` on, counted over all epochs; a batch ends with its epoch.
    pub fn batch(&self, position: u64, n: usize) -> Vec<Example> {
        let order = Order { len: self.examples.len(), seed: self.seed };
        order.batch(position, n).into_iter().map(|at| self.examples[at].clone()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_has_nothing_to_train_is_left_out() {
        let examples = vec![Example::new("a", vec![1, 2, 3, 4], 3), Example::new("b", vec![1, 2], 1)];
        let data = Dataset::new(examples.clone(), 3, None).unwrap();
        assert_eq!((data.len(), data.truncated, data.empty), (1, 1, 1));
        assert!(Dataset::new(examples, 1, None).is_err());
    }
}
