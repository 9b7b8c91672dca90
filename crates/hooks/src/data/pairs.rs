//! Clean and corrupt prompts with their answers, from JSONL.

use std::path::Path;

use serde::Deserialize;

use crate::{Error, Positions, Rows, Target};

/// One clean prompt, the corrupt prompt set against it, and what to measure at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// A name, unique in its file; the line number where the file gives none.
    pub id: String,
    /// Token ids of the clean prompt.
    pub clean: Vec<u32>,
    /// Token ids of the corrupt prompt, as many as of the clean one.
    pub corrupt: Vec<u32>,
    /// Right and wrong next tokens.
    pub target: Target,
    /// The targets of the positions just before the last, where a metric is read there too: see
    /// [`Pairs::parse_at`].
    pub earlier: Vec<Target>,
}

impl Pair {
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

    /// The same pair read at `positions`; `answer` and `distractor` are whole continuations of the prompts.
    ///
    /// # Errors
    /// An empty answer, or a distractor of another length.
    fn at(mut self, positions: Positions, answer: &[u32], distractor: &[u32]) -> Result<Self, Error> {
        let one = |answer: Option<&u32>, distractor: Option<&u32>| Target {
            answers: answer.copied().into_iter().collect(),
            distractors: distractor.copied().into_iter().collect(),
        };
        match positions {
            Positions::Last => {}
            Positions::Answer => {
                let Some((last, before)) = answer.split_last() else {
                    return Err(Error::input("missing `answer`, which the positions of the answer need"));
                };
                if !distractor.is_empty() && distractor.len() != answer.len() {
                    return Err(Error::input(format!(
                        "`distractor` has {} tokens, expected as many as `answer`: {}",
                        distractor.len(),
                        answer.len()
                    )));
                }
                self.clean.extend_from_slice(before);
                self.corrupt.extend_from_slice(before);
                self.earlier =
                    before.iter().enumerate().map(|(i, a)| one(Some(a), distractor.get(i))).collect();
                self.target = one(Some(last), distractor.last());
            }
            Positions::All => {
                let next = self.clean.iter().zip(&self.corrupt).skip(1);
                self.earlier = next.map(|(clean, corrupt)| one(Some(clean), Some(corrupt))).collect();
            }
        }
        Ok(self)
    }
}

/// Pairs of prompts, each of equal length on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs(Vec<Pair>);

/// A line of a pairs file.
#[derive(Deserialize)]
struct Line {
    id: Option<serde_json::Value>,
    clean: Option<String>,
    clean_ids: Option<Vec<u32>>,
    corrupt: Option<String>,
    corrupt_ids: Option<Vec<u32>>,
    answer: Option<String>,
    answer_ids: Option<Vec<u32>>,
    distractor: Option<String>,
    distractor_ids: Option<Vec<u32>>,
}

impl Pairs {
    /// Checks and keeps `pairs`.
    ///
    /// # Errors
    /// No pairs, an empty prompt, or prompts of unequal length; the message names the pair.
    pub fn new(pairs: Vec<Pair>) -> Result<Self, Error> {
        if pairs.is_empty() {
            return Err(Error::input("pairs: none given, expected at least one"));
        }
        for pair in &pairs {
            let (clean, corrupt) = (pair.clean.len(), pair.corrupt.len());
            if clean != corrupt {
                return Err(Error::input(format!(
                    "pair {}: clean has {clean} tokens and corrupt {corrupt}, expected the same number",
                    pair.id
                )));
            }
            if clean == 0 {
                return Err(Error::input(format!(
                    "pair {}: clean is empty, expected at least one token",
                    pair.id
                )));
            }
        }
        Ok(Self(pairs))
    }

    /// Reads a pairs file. `encode` turns a prompt or an answer into token ids. An answer given as text is
    /// its first token (the one that the prompt's last position predicts); ids are taken as they are, and
    /// several of them are several accepted first tokens.
    ///
    /// # Errors
    /// An unreadable file or a bad line; the message names the file, the line and the field.
    pub fn read(path: &Path, encode: impl Fn(&str) -> Result<Vec<u32>, Error>) -> Result<Self, Error> {
        Self::read_at(path, Positions::Last, |text, _| encode(text))
    }

    /// Reads a pairs file for a metric that is read at `positions`: beyond [`Positions::Last`] the answer (and
    /// the distractor) is a whole continuation of the prompt, as text or as ids. `encode` is told whether its
    /// text starts a prompt (and so may get a first special token) or goes on with one.
    ///
    /// # Errors
    /// As [`read`](Self::read), and a distractor of another length than the answer.
    pub fn read_at(
        path: &Path,
        positions: Positions,
        encode: impl Fn(&str, bool) -> Result<Vec<u32>, Error>,
    ) -> Result<Self, Error> {
        let place = |what: &dyn std::fmt::Display| Error::input(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| place(&e))?;
        Self::parse_at(&text, positions, encode).map_err(|e| place(&e))
    }

    /// Reads the text of a pairs file, as [`read`](Self::read) does.
    ///
    /// # Errors
    /// A bad line; the message names the line and the field.
    pub fn parse(text: &str, encode: impl Fn(&str) -> Result<Vec<u32>, Error>) -> Result<Self, Error> {
        Self::parse_at(text, Positions::Last, |text, _| encode(text))
    }

    /// Reads the text of a pairs file, as [`read_at`](Self::read_at) does.
    ///
    /// For [`Positions::Answer`] both prompts go on with the answer but for its last token, and position by
    /// position the targets are its tokens, against the distractor's. For [`Positions::All`] the target of
    /// a position is the next token of the clean prompt against that of the corrupt one.
    ///
    /// # Errors
    /// A bad line; the message names the line and the field.
    pub fn parse_at(
        text: &str,
        positions: Positions,
        encode: impl Fn(&str, bool) -> Result<Vec<u32>, Error>,
    ) -> Result<Self, Error> {
        let (mut pairs, mut continuations) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let at = |what: &dyn std::fmt::Display| Error::input(format!("line {}: {what}", number + 1));
            let line: Line = serde_json::from_str(line).map_err(|e| at(&e))?;
            let ids = |ids: Option<Vec<u32>>, text: Option<String>, field: &str| match (ids, text) {
                (Some(ids), _) => Ok(Some(ids)),
                (None, Some(text)) => {
                    encode(&text, true).map(Some).map_err(|e| at(&format!("`{field}`: {e}")))
                }
                (None, None) => Ok(None),
            };
            let prompt = |found: Option<Vec<u32>>, field: &str| {
                found.ok_or_else(|| at(&format!("missing `{field}` or `{field}_ids`")))
            };
            // At the last position a text stands for its first token, and ids for alternatives.
            let answer = |ids: Option<Vec<u32>>, text: Option<String>, field: &str| match (ids, text) {
                (Some(ids), _) => Ok(ids),
                (None, Some(text)) => {
                    let mut ids = encode(&text, false).map_err(|e| at(&format!("`{field}`: {e}")))?;
                    if ids.is_empty() {
                        return Err(at(&format!("`{field}` is empty")));
                    }
                    if positions != Positions::Answer {
                        ids.truncate(1);
                    }
                    Ok(ids)
                }
                (None, None) => Ok(Vec::new()),
            };
            let answers = answer(line.answer_ids, line.answer, "answer")?;
            let distractors = answer(line.distractor_ids, line.distractor, "distractor")?;
            let pair = Pair {
                id: match line.id {
                    Some(serde_json::Value::String(id)) => id,
                    Some(id) => id.to_string(),
                    None => (number + 1).to_string(),
                },
                clean: prompt(ids(line.clean_ids, line.clean, "clean")?, "clean")?,
                corrupt: prompt(ids(line.corrupt_ids, line.corrupt, "corrupt")?, "corrupt")?,
                target: Target { answers: answers.clone(), distractors: distractors.clone() },
                earlier: Vec::new(),
            };
            // Lengths are compared before an answer is added to both sides.
            pairs.push(pair);
            continuations.push((answers, distractors));
        }
        let pairs = Self::new(pairs)?.0.into_iter().zip(continuations);
        let pairs: Result<Vec<Pair>, Error> = pairs
            .map(|(pair, (answer, distractor))| {
                let id = pair.id.clone();
                pair.at(positions, &answer, &distractor).map_err(|e| Error::input(format!("pair {id}: {e}")))
            })
            .collect();
        let pairs = pairs?;
        Self::new(pairs)
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

    fn letters(text: &str) -> Result<Vec<u32>, Error> {
        Ok(text.bytes().map(u32::from).collect())
    }

    #[test]
    fn text_and_ids_are_read() {
        let text =
            "{\"clean\":\"ab\",\"corrupt_ids\":[97,99],\"answer\":\"xy\",\"distractor_ids\":[1,2]}\n\n";
        let pairs = Pairs::parse(text, letters).unwrap();
        let pair = &pairs.as_slice()[0];
        assert_eq!((&pair.id[..], &pair.clean[..], &pair.corrupt[..]), ("1", &[97, 98][..], &[97, 99][..]));
        assert_eq!(pair.target, Target { answers: vec![120], distractors: vec![1, 2] });
        assert!(pairs.check_vocab(121).is_ok());
        assert!(pairs.check_vocab(120).unwrap_err().to_string().contains("`answer` has token 120"));
    }

    #[test]
    fn answers_and_prompts_are_read_position_by_position() {
        let text = "{\"clean\":\"abc\",\"corrupt\":\"axc\",\"answer\":\"pq\",\"distractor\":\"rs\"}";
        let target = |a: u8, d: u8| Target { answers: vec![a.into()], distractors: vec![d.into()] };
        let read = |positions| Pairs::parse_at(text, positions, |text, _| letters(text)).unwrap().0.remove(0);
        let answer = read(Positions::Answer);
        assert_eq!(
            (answer.clean, answer.corrupt),
            (b"abcp".map(u32::from).into(), b"axcp".map(u32::from).into())
        );
        assert_eq!((answer.earlier, answer.target), (vec![target(b'p', b'r')], target(b'q', b's')));
        let all = read(Positions::All);
        assert_eq!(all.rows(), Rows::Tail(3));
        let next = [target(b'b', b'x'), target(b'c', b'c'), target(b'p', b'r')];
        assert_eq!(all.targets().cloned().collect::<Vec<_>>(), next);
        let uneven = text.replace("rs", "r");
        let message =
            Pairs::parse_at(&uneven, Positions::Answer, |text, _| letters(text)).unwrap_err().to_string();
        assert!(message.contains("`distractor` has 1 tokens"), "{message}");
    }

    #[test]
    fn messages_name_the_place() {
        let unequal = "{\"id\":\"p7\",\"clean\":\"ab\",\"corrupt\":\"a\"}";
        assert!(
            Pairs::parse(unequal, letters)
                .unwrap_err()
                .to_string()
                .contains("pair p7: clean has 2 tokens and corrupt 1")
        );
        assert!(
            Pairs::parse("{\"clean\":\"a\"}", letters).unwrap_err().to_string().contains("missing `corrupt`")
        );
        assert!(Pairs::parse("not json", letters).unwrap_err().to_string().contains("line 1"));
        assert!(Pairs::parse("", letters).is_err());
    }
}
