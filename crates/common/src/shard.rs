//! Shards: the part of the rows of a job that one process works on.

use std::fmt;

use crate::Error;

/// Missing shards that a message names.
const MOST_NAMED: usize = 20;

/// One of `count` shards. Row `i` belongs to shard `i mod count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// Number of shards.
    pub count: usize,
}

impl Shard {
    /// Whether row `i` belongs to this shard.
    pub fn has(self, i: usize) -> bool {
        i % self.count == self.index
    }

    /// The rows of this shard, of `n`.
    pub fn rows(self, n: usize) -> impl ExactSizeIterator<Item = usize> {
        (self.index..n).step_by(self.count)
    }

    /// Every `count`-th of the rows of this shard, from the `index`-th: a shard as well.
    #[must_use]
    pub fn split(self, index: usize, count: usize) -> Self {
        Self { index: self.index + self.count * index, count: self.count * count }
    }

    /// Checks that these are all shards of one number, each once; the names are of files or folders, for messages.
    ///
    /// # Errors
    /// A shard of another number, a repeated or a missing one.
    pub fn check_all(given: &[(Self, String)]) -> Result<(), Error> {
        let Some(&(Self { count, .. }, ref first)) = given.first() else { return Ok(()) };
        if let Some((shard, name)) = given.iter().find(|(shard, _)| shard.count != count) {
            return Err(Error::input(format!("shard {shard}, but {first} is one of {count}")).within(name));
        }
        for (i, (shard, name)) in given.iter().enumerate() {
            if let Some((_, earlier)) = given[..i].iter().find(|(other, _)| other == shard) {
                return Err(
                    Error::input(format!("shard {shard} is given twice, first as {earlier}")).within(name)
                );
            }
        }
        let missing: Vec<String> = (0..count)
            .map(|index| Self { index, count })
            .filter(|shard| given.iter().all(|(other, _)| other != shard))
            .map(|shard| shard.to_string())
            .take(MOST_NAMED)
            .collect();
        if !missing.is_empty() {
            let (n, missing) = (given.len(), missing.join(", "));
            return Err(Error::input(format!("{n} given, expected all {count} shards; missing: {missing}")));
        }
        Ok(())
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_of_one_shard_however_shards_are_split() {
        let parts = (0..3).flat_map(|index| (0..2).map(move |k| Shard { index, count: 3 }.split(k, 2)));
        let mut rows: Vec<usize> = parts.clone().flat_map(|shard| shard.rows(20)).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..20).collect::<Vec<_>>());
        assert!(
            parts.clone().all(|shard| (0..20).all(|i| shard.has(i) == shard.rows(20).any(|row| row == i)))
        );
        let names: Vec<(Shard, String)> = parts.map(|shard| (shard, shard.to_string())).collect();
        Shard::check_all(&names).unwrap();
        assert_eq!(
            Shard::check_all(&names[1..]).unwrap_err().to_string(),
            "5 given, expected all 6 shards; missing: 0/6"
        );
    }
}
