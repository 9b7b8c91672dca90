//! Tokens of a row and which of them are trained.

use std::ops::Range;

/// Tokens and which of them are trained: one document, or several that share a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Where it came from, for messages: the field `id` of its row, or the row's number from 1.
    pub id: String,
    /// Its row's place in the file, such as `line 3`; empty where it is of no file, or of several rows.
    pub place: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Whether each token of `ids` is trained, that is predicted from those before it. A document's first never is.
    pub trained: Vec<bool>,
    /// The documents that `ids` are, one behind another; their tokens add up to those of `ids`.
    pub documents: Vec<Document>,
}

/// A text that is read by itself: positions start with it, and attention stays in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Document {
    /// Number of its tokens.
    pub tokens: usize,
    /// Factor of the loss of its tokens, from 0.
    pub weight: f32,
}

impl Example {
    /// An example whose tokens from `start` on are trained.
    pub fn new(id: impl Into<String>, ids: Vec<u32>, start: usize) -> Self {
        let trained = (0..ids.len()).map(|i| i >= start).collect();
        Self::masked(id.into(), ids, trained)
    }

    /// An example with a mask of its trained tokens, all but the first of which counts.
    pub(crate) fn masked(id: String, ids: Vec<u32>, mut trained: Vec<bool>) -> Self {
        if let Some(first) = trained.first_mut() {
            *first = false;
        }
        let documents = vec![Document { tokens: ids.len(), weight: 1.0 }];
        Self { id, place: String::new(), ids, trained, documents }
    }

    /// The same with another weight in the loss.
    #[must_use]
    pub fn weighted(mut self, weight: f32) -> Self {
        self.documents.iter_mut().for_each(|document| document.weight = weight);
        self
    }

    /// Number of trained tokens.
    pub fn tokens(&self) -> usize {
        self.trained.iter().skip(1).filter(|&&t| t).count()
    }

    /// Each trained token's place in `ids` and weight in the loss.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let weights = self.documents.iter().flat_map(|d| std::iter::repeat_n(d.weight, d.tokens));
        (0..).zip(weights).zip(&self.trained).filter(|(_, trained)| **trained).map(|(target, _)| target)
    }

    /// The sum of the weights of the trained tokens.
    pub(crate) fn weight(&self) -> f64 {
        self.targets().map(|(_, weight)| f64::from(weight)).sum()
    }

    /// The tokens of each document.
    pub(crate) fn texts(&self) -> Vec<Vec<u32>> {
        let mut rest = &self.ids[..];
        let mut next = |document: &Document| {
            let (text, after) = rest.split_at(document.tokens);
            rest = after;
            text.to_vec()
        };
        self.documents.iter().map(&mut next).collect()
    }

    /// A part of a document as a document.
    pub(crate) fn part(&self, tokens: Range<usize>) -> Self {
        let (ids, trained) = (self.ids[tokens.clone()].to_vec(), self.trained[tokens].to_vec());
        let weight = self.documents[0].weight;
        Self { place: self.place.clone(), ..Self::masked(self.id.clone(), ids, trained) }.weighted(weight)
    }

    /// Documents in one row.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let id = parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut all = Self { id, ..Self::masked(String::new(), Vec::new(), Vec::new()) };
        all.documents.clear();
        for part in parts {
            all.ids.extend(part.ids);
            all.trained.extend(part.trained);
            all.documents.extend(part.documents);
        }
        all
    }
}

/// Its name and place.
impl std::fmt::Display for Example {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.id),
            place => write!(f, "{} ({place})", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_documents_keep_their_tokens_masks_and_weights() {
        let long = Example::new("a", vec![1, 2, 3, 4], 1);
        let row = Example::joined(vec![long.part(2..4).weighted(0.5), Example::new("b", vec![5, 6], 0)]);
        assert_eq!((row.id.as_str(), row.tokens()), ("a, b", 2));
        assert_eq!(row.texts(), [[3, 4], [5, 6]]);
        assert_eq!(row.targets().collect::<Vec<_>>(), [(1, 0.5), (3, 1.0)]);
    }
}
