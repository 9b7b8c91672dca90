//! Clean and corrupt prompts with their answers.

use std::path::Path;

use crate::{Encode, Error, Metric, PairsReader, Rows, Target, Warning};

/// One clean prompt, the corrupt prompt set against it, and what to measure at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// A name, unique in its file; the line number where the file gives none.
    pub id: String,
    /// Token ids of the clean prompt.
    pub clean: Vec<u32>,
    /// Token ids of the corrupt prompt, as many as of the clean one.
    pub corrupt: Vec<u32>,
    /// Right and wrong next tokens after the last position.
    pub target: Target,
    /// The targets of the positions just before the last, where a metric is read there too: see [`PairsReader`].
    pub earlier: Vec<Target>,
}

impl Pair {
    /// A pair that is read at its last position. [`Pairs::new`] checks it.
    pub fn new(
        id: impl Into<String>,
        clean: impl Into<Vec<u32>>,
        corrupt: impl Into<Vec<u32>>,
        target: Target,
    ) -> Self {
        let (id, clean, corrupt) = (id.into(), clean.into(), corrupt.into());
        Self { id, clean, corrupt, target, earlier: Vec::new() }
    }

    /// The targets, position by position; the last is the prompt's end.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.earlier.iter().chain([&self.target])
    }

    /// How many positions a metric is read at.
    pub fn n_targets(&self) -> usize {
        self.earlier.len() + 1
    }

    /// The logits that a metric needs: those of the last positions.
    pub fn rows(&self) -> Rows {
        if self.earlier.is_empty() { Rows::Last } else { Rows::Tail(self.n_targets()) }
    }

    fn check(&self) -> Result<(), Error> {
        let (id, clean, corrupt) = (&self.id, self.clean.len(), self.corrupt.len());
        if clean != corrupt {
            return Err(Error::input(format!(
                "pair {id}: clean has {clean} tokens and corrupt {corrupt}, expected the same number"
            )));
        }
        if clean == 0 {
            return Err(Error::input(format!("pair {id}: clean is empty, expected at least one token")));
        }
        if let Some((field, token)) = self.targets().find_map(Target::repeated) {
            return Err(Error::input(format!(
                "pair {id}: `{field}` lists token {token} more than once, expected each accepted token once"
            )));
        }
        Ok(())
    }
}

/// Pairs of prompts, each of equal length on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs(Vec<Pair>);

impl Pairs {
    /// Checks and keeps `pairs`.
    ///
    /// # Errors
    /// No pairs, an empty prompt, prompts of unequal length, or a token that is listed twice among a target's
    /// answers or distractors; the message names the pair.
    pub fn new(pairs: Vec<Pair>) -> Result<Self, Error> {
        if pairs.is_empty() {
            return Err(Error::input("pairs: none given, expected at least one"));
        }
        pairs.iter().try_for_each(Pair::check)?;
        Ok(Self(pairs))
    }

    /// Reads a pairs file for a metric at the last position; `encode` turns texts into token ids. For other positions
    /// see [`PairsReader`], which also describes the format.
    ///
    /// # Errors
    /// As [`PairsReader::read`].
    pub fn read(path: impl AsRef<Path>, encode: &dyn Encode) -> Result<Self, Error> {
        PairsReader::new(encode).read(path)
    }

    /// Reads the text of a pairs file, as [`read`](Self::read) does.
    ///
    /// # Errors
    /// As [`PairsReader::parse`].
    pub fn parse(text: &str, encode: &dyn Encode) -> Result<Self, Error> {
        PairsReader::new(encode).parse(text)
    }

    /// What a user should know about these pairs before reading numbers made from them.
    pub fn warnings(&self) -> Vec<Warning> {
        let ids = |is: &dyn Fn(&Pair) -> bool| -> Option<Vec<String>> {
            let ids: Vec<String> = self.0.iter().filter(|p| is(p)).map(|p| p.id.clone()).collect();
            (!ids.is_empty()).then_some(ids)
        };
        let alone = |t: &Target| t.distractors.is_empty() && !t.answers.is_empty();
        let shared = |t: &Target| !t.is_void() && t.shared().next().is_some();
        let mut seen = std::collections::HashMap::new();
        self.0.iter().for_each(|pair| *seen.entry(&pair.id).or_insert(0) += 1);
        let mut repeated: Vec<String> = seen.iter().filter(|x| *x.1 > 1).map(|x| x.0.to_string()).collect();
        repeated.sort();
        let repeated = (!repeated.is_empty()).then_some(repeated);
        [
            repeated.map(|pairs| Warning::RepeatedIds { pairs }),
            ids(&|p| p.clean == p.corrupt).map(|pairs| Warning::EqualPrompts { pairs }),
            ids(&|p| alone(&p.target)).map(|pairs| Warning::NoDistractor { pairs }),
            ids(&|p| shared(&p.target)).map(|pairs| Warning::SharedTokens { pairs }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// As [`warnings`](Self::warnings), without those of distractors where `metric` reads none.
    pub fn warnings_for(&self, metric: &Metric) -> Vec<Warning> {
        let mut all = self.warnings();
        let of_distractors =
            |w: &Warning| matches!(w, Warning::NoDistractor { .. } | Warning::SharedTokens { .. });
        all.retain(|warning| metric.reads_distractors() || !of_distractors(warning));
        all
    }

    /// Checks that every token is below `vocab`.
    ///
    /// # Errors
    /// A token beyond the vocabulary; the message names pair, field and token.
    pub fn check_vocab(&self, vocab: usize) -> Result<(), Error> {
        for pair in &self.0 {
            let prompts = [("clean", &pair.clean), ("corrupt", &pair.corrupt)];
            let targets =
                pair.targets().flat_map(|t| [("answer", &t.answers), ("distractor", &t.distractors)]);
            for (field, ids) in prompts.into_iter().chain(targets) {
                if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
                    return Err(Error::input(format!(
                        "pair {}: `{field}` has token {id}, expected ids below the vocabulary size {vocab}",
                        pair.id
                    )));
                }
            }
        }
        Ok(())
    }

    /// The indices of pairs that run together: at most `size` at a time, of like length, and all read at as
    /// many positions.
    pub fn batches(&self, size: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        let key = |i: usize| (self.0[i].n_targets(), self.0[i].clean.len());
        order.sort_by_key(|&i| key(i));
        let alike = order.chunk_by(|&a, &b| key(a).0 == key(b).0);
        alike.flat_map(|run| run.chunks(size.max(1))).map(<[usize]>::to_vec).collect()
    }

    /// The pairs as a slice.
    pub fn as_slice(&self) -> &[Pair] {
        &self.0
    }

    /// How many pairs there are; never 0 for pairs that were checked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none: only the default value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Pair> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Pairs {
    type Item = &'a Pair;
    type IntoIter = std::slice::Iter<'a, Pair>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, corrupt: u32, answers: &[u32], distractors: &[u32]) -> Pair {
        let target = Target { answers: answers.into(), distractors: distractors.into() };
        Pair::new(id, [1, 2], [1, corrupt], target)
    }

    #[test]
    fn a_token_counts_once() {
        let error = Pairs::new(vec![pair("p", 3, &[4, 4, 4], &[])]).unwrap_err().to_string();
        assert_eq!(error, "pair p: `answer` lists token 4 more than once, expected each accepted token once");
    }

    #[test]
    fn warnings_name_their_pairs() {
        let a = [pair("a", 3, &[4], &[5]), pair("b", 2, &[4], &[5]), pair("a", 3, &[4], &[])];
        let pairs = Pairs::new([&a[..], &[pair("d", 3, &[4, 5], &[5])]].concat()).unwrap();
        let of = |id: &str| vec![id.to_owned()];
        assert_eq!(
            pairs.warnings(),
            [
                Warning::RepeatedIds { pairs: of("a") },
                Warning::EqualPrompts { pairs: of("b") },
                Warning::NoDistractor { pairs: of("a") },
                Warning::SharedTokens { pairs: of("d") },
            ]
        );
        assert!(Pairs::new(vec![a[0].clone()]).unwrap().warnings().is_empty());
        assert_eq!(pairs.warnings_for(&Metric::ProbDiff), pairs.warnings());
        for metric in [Metric::Kl, Metric::Nll] {
            assert_eq!(pairs.warnings_for(&metric), pairs.warnings()[..2], "{metric} reads no distractor");
        }
    }

    #[test]
    fn tokens_beyond_the_vocabulary_are_errors() {
        let pairs = Pairs::new(vec![pair("a", 3, &[120], &[5])]).unwrap();
        assert!(pairs.check_vocab(121).is_ok());
        assert!(pairs.check_vocab(120).unwrap_err().to_string().contains("`answer` has token 120"));
    }
}
