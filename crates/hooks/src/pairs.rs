//! Clean and corrupt prompts with their answers, from JSONL.

use std::path::Path;

use serde::Deserialize;

use crate::{Error, Target};

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
            return Err(Error::new("pairs: none given, expected at least one"));
        }
        for pair in &pairs {
            let (clean, corrupt) = (pair.clean.len(), pair.corrupt.len());
            if clean != corrupt {
                return Err(Error::new(format!(
                    "pair {}: clean has {clean} tokens and corrupt {corrupt}, expected the same number",
                    pair.id
                )));
            }
            if clean == 0 {
                return Err(Error::new(format!(
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
        let place = |what: &dyn std::fmt::Display| Error::new(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| place(&e))?;
        Self::parse(&text, encode).map_err(|e| place(&e))
    }

    /// Reads the text of a pairs file, as [`read`](Self::read) does.
    ///
    /// # Errors
    /// A bad line; the message names the line and the field.
    pub fn parse(text: &str, encode: impl Fn(&str) -> Result<Vec<u32>, Error>) -> Result<Self, Error> {
        let mut pairs = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let at = |what: &dyn std::fmt::Display| Error::new(format!("line {}: {what}", number + 1));
            let line: Line = serde_json::from_str(line).map_err(|e| at(&e))?;
            let ids = |ids: Option<Vec<u32>>, text: Option<String>, field: &str| match (ids, text) {
                (Some(ids), _) => Ok(Some(ids)),
                (None, Some(text)) => encode(&text).map(Some).map_err(|e| at(&format!("`{field}`: {e}"))),
                (None, None) => Ok(None),
            };
            let prompt = |found: Option<Vec<u32>>, field: &str| {
                found.ok_or_else(|| at(&format!("missing `{field}` or `{field}_ids`")))
            };
            let answer = |ids: Option<Vec<u32>>, text: Option<String>, field: &str| match (ids, text) {
                (Some(ids), _) => Ok(ids),
                (None, Some(text)) => {
                    let ids = encode(&text).map_err(|e| at(&format!("`{field}`: {e}")))?;
                    ids.first().map(|&id| vec![id]).ok_or_else(|| at(&format!("`{field}` is empty")))
                }
                (None, None) => Ok(Vec::new()),
            };
            pairs.push(Pair {
                id: match line.id {
                    Some(serde_json::Value::String(id)) => id,
                    Some(id) => id.to_string(),
                    None => (number + 1).to_string(),
                },
                clean: prompt(ids(line.clean_ids, line.clean, "clean")?, "clean")?,
                corrupt: prompt(ids(line.corrupt_ids, line.corrupt, "corrupt")?, "corrupt")?,
                target: Target {
                    answers: answer(line.answer_ids, line.answer, "answer")?,
                    distractors: answer(line.distractor_ids, line.distractor, "distractor")?,
                },
            });
        }
        Self::new(pairs)
    }

    /// Checks that every token is below `vocab`.
    ///
    /// # Errors
    /// A token beyond the vocabulary; the message names pair, field and token.
    pub fn check_vocab(&self, vocab: usize) -> Result<(), Error> {
        for pair in &self.0 {
            let fields = [
                ("clean", &pair.clean),
                ("corrupt", &pair.corrupt),
                ("answer", &pair.target.answers),
                ("distractor", &pair.target.distractors),
            ];
            for (field, ids) in fields {
                if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
                    return Err(Error::new(format!(
                        "pair {}: `{field}` has token {id}, expected ids below the vocabulary size {vocab}",
                        pair.id
                    )));
                }
            }
        }
        Ok(())
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
