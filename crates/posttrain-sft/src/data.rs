//! Examples and their order.

use std::collections::BTreeSet;
use std::path::Path;

use posttrain::Order;
use posttrain::rows::{DataRow, read_rows};
use rayon::prelude::*;

use crate::pack::pack;
use crate::{DataConfig, Encoder, Error, Example, Packing, Truncation};

/// Examples in a deterministic order without end: see [`Order`]. Packed rows are made once, of examples in file order;
/// what is shuffled is the order of the rows.
#[derive(Debug, Clone)]
pub struct Dataset {
    examples: Vec<Example>,
    /// `None` keeps the file's order.
    seed: Option<u64>,
    /// How the examples came about.
    pub report: Report,
}

/// How examples came about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows of the file.
    pub rows: usize,
    /// Examples that are trained on, before they are packed into rows.
    pub examples: usize,
    /// Examples that were cut to `max_length`, or split into pieces of it.
    pub truncated: usize,
    /// Examples left out because they are longer than `max_length`.
    pub dropped: usize,
    /// Examples left out because no token of theirs is trained, or with a weight of 0.
    pub untrained: usize,
    /// Columns that nothing reads.
    pub unused: BTreeSet<String>,
    /// Tokens of the longest document.
    pub longest: usize,
}

impl Dataset {
    /// Reads the rows of a file: `{"messages"}` (also ShareGPT's `conversations`), `{"prompt","completion"}` as
    /// texts or as messages, `{"text"}`, `{"problem","solution"}`, `{"question","answer"}`, Alpaca's
    /// `{"instruction","input","output"}`, `{"input_ids"}` with labels or masks, or what `columns` names.
    ///
    /// # Errors
    /// A file that cannot be read, a row that is not an example (with its place), or no example at all.
    pub fn open(path: &Path, config: &DataConfig, seed: u64, encoder: &Encoder) -> Result<Self, Error> {
        config.check()?;
        let rows = read_rows(path)?;
        let n = rows.len();
        let one = |row: DataRow| {
            let (place, mut unused) = (row.place.clone(), BTreeSet::new());
            let made = encoder.row(row, &config.columns, config.turns, &mut unused);
            let made = made.map_err(|e| e.within(&place).within(path.display()))?;
            Ok((made.into_iter().map(|e| Example { place: place.clone(), ..e }).collect::<Vec<_>>(), unused))
        };
        // All rows, and then the first error: the same one in every run.
        let made: Vec<Result<_, Error>> = rows.into_par_iter().map(one).collect();
        let (mut examples, mut unused) = (Vec::with_capacity(n), BTreeSet::new());
        for row in made {
            let (more, mut names) = row?;
            examples.extend(more);
            unused.append(&mut names);
        }
        let data = Self::new(examples, config, seed).map_err(|e| e.within(path.display()))?;
        Ok(Self { report: Report { rows: n, unused, ..data.report }, ..data })
    }

    /// A data set of examples, none longer than `config.max_length`, or of rows into which they are packed.
    ///
    /// # Errors
    /// No example with a trained token; an example that is too long with [`Truncation::Error`].
    pub fn new(examples: Vec<Example>, config: &DataConfig, seed: u64) -> Result<Self, Error> {
        let mut report = Report { rows: examples.len(), ..Report::default() };
        let (mut kept, max) = (Vec::with_capacity(examples.len()), config.max_length);
        for mut example in examples {
            let n = example.ids.len();
            if n > max {
                match config.truncation {
                    _ if config.packing == Packing::BfdSplit => {}
                    Truncation::KeepStart => example = example.part(0..max),
                    Truncation::KeepEnd => example = example.part(n - max..n),
                    Truncation::Drop => {
                        report.dropped += 1;
                        continue;
                    }
                    Truncation::Error => {
                        return Err(Error::input(format!(
                            "example {} has {n} tokens, expected at most data.max_length = {max}",
                            example.id
                        )));
                    }
                }
                report.truncated += 1;
            }
            if example.weight() == 0.0 {
                report.untrained += 1;
                continue;
            }
            report.longest = report.longest.max(n.min(max));
            kept.push(example);
        }
        report.examples = kept.len();
        let examples = match config.packing {
            Packing::None => kept,
            Packing::Bfd => pack(kept, max, false),
            Packing::BfdSplit => pack(kept, max, true),
        };
        if examples.is_empty() {
            return Err(Error::input("no example with a trained token"));
        }
        Ok(Self { examples, seed: config.shuffle.then_some(seed), report })
    }

    /// All examples in file order, or all packed rows in the order in which they were begun.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Examples or packed rows of an epoch.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Tokens of an epoch, prompts included and padding not.
    pub fn tokens(&self) -> usize {
        self.examples.iter().map(|example| example.ids.len()).sum()
    }

    /// Never: see [`Dataset::new`].
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Up to `n` of them from `position` on, counted over all epochs; a batch ends with its epoch.
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
    fn long_examples_are_cut_left_out_or_refused_and_counted() {
        let examples = vec![Example::new("a", vec![1, 2, 3, 4], 3), Example::new("b", vec![1, 2], 1)];
        let with = |truncation, max_length| {
            let config = DataConfig { truncation, max_length, shuffle: false, ..DataConfig::default() };
            Dataset::new(examples.clone(), &config, 0)
        };
        let start = with(Truncation::KeepStart, 3).unwrap();
        assert_eq!((start.len(), start.report.truncated, start.report.untrained), (1, 1, 1));
        let end = with(Truncation::KeepEnd, 3).unwrap();
        assert_eq!((end.len(), end.examples()[0].ids.as_slice()), (2, &[2, 3, 4][..]));
        assert_eq!(end.examples()[0].trained, [false, false, true]);
        let drop = with(Truncation::Drop, 3).unwrap();
        assert_eq!((drop.len(), drop.report.dropped, drop.report.longest), (1, 1, 2));
        let message = with(Truncation::Error, 3).unwrap_err().to_string();
        assert!(message.contains("example a has 4 tokens"), "{message}");
        assert!(with(Truncation::KeepStart, 2).unwrap().len() == 1);
    }
}
