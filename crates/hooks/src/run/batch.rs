//! Token ids for one run: rows of possibly different lengths, padded on the right or on the left.

use crate::Error;

/// Which positions' logits a run computes. The output projection of a large vocabulary is a quarter of a
/// small model's work, and most analyses read one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every position: logits `[batch, seq, vocab]`.
    All,
    /// Each row's last real position: logits `[batch, 1, vocab]`.
    Last,
    /// Each row's last real positions, this many: logits `[batch, n, vocab]`.
    Tail(usize),
}

/// Token ids `[batch, seq]` with the span of real tokens in each row.
///
/// Under causal attention right padding needs no mask; keys before a row's first real token (left padding)
/// are masked, and positions count from it. What happens under padding is unspecified.
///
/// In packed rows ([`Batch::packed`]) several documents lie one behind another: positions restart at each, and no
/// position sees another document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    seq: usize,
    first: Vec<usize>,
    end: Vec<usize>,
    rows: Rows,
    origins: Vec<usize>,
    documents: Option<Vec<Vec<usize>>>,
}

impl Batch {
    /// Rows padded on the right to the longest.
    ///
    /// # Errors
    /// No rows, or an empty row.
    pub fn new(rows: &[Vec<u32>]) -> Result<Self, Error> {
        Self::padded(rows, false)
    }

    /// Rows padded on the left, so that all end together: the form that generation needs.
    ///
    /// # Errors
    /// No rows, or an empty row.
    pub fn left_padded(rows: &[Vec<u32>]) -> Result<Self, Error> {
        Self::padded(rows, true)
    }

    /// Rows of documents, one behind another, padded on the right to the longest row. For models that know packed
    /// rows: see [`documents`](Self::documents).
    ///
    /// # Errors
    /// No rows, an empty row, or an empty document.
    pub fn packed(rows: &[Vec<Vec<u32>>]) -> Result<Self, Error> {
        if let Some(row) = rows.iter().position(|row| row.iter().any(Vec::is_empty)) {
            return Err(Error::input(format!("input_ids: row {row} has an empty document")));
        }
        let joined: Vec<Vec<u32>> = rows.iter().map(|row| row.concat()).collect();
        let ends = |row: &Vec<Vec<u32>>| {
            let mut end = 0;
            row.iter().map(|document| (end += document.len(), end).1).collect()
        };
        Ok(Self { documents: Some(rows.iter().map(ends).collect()), ..Self::padded(&joined, false)? })
    }

    fn padded(rows: &[Vec<u32>], left: bool) -> Result<Self, Error> {
        let seq = rows.iter().map(Vec::len).max().ok_or_else(|| Error::input("input_ids: no rows"))?;
        if let Some(row) = rows.iter().position(Vec::is_empty) {
            return Err(Error::input(format!("input_ids: row {row} is empty, expected at least one token")));
        }
        let (mut ids, mut first, mut end) = (Vec::with_capacity(rows.len() * seq), Vec::new(), Vec::new());
        for row in rows {
            let pad = seq - row.len();
            let (before, after) = if left { (pad, 0) } else { (0, pad) };
            ids.extend(std::iter::repeat_n(row[0], before));
            ids.extend_from_slice(row);
            ids.extend(std::iter::repeat_n(row[row.len() - 1], after));
            first.push(before);
            end.push(before + row.len());
        }
        Ok(Self::of(ids, seq, first, end))
    }

    /// Rows that are already padded, with an attention mask of ones (real) and zeros (padding).
    ///
    /// # Errors
    /// Shapes that differ, a row without a real token, or real tokens that are not one run.
    pub fn masked(ids: &[Vec<u32>], mask: &[Vec<u8>]) -> Result<Self, Error> {
        let seq = ids.first().map(Vec::len).ok_or_else(|| Error::input("input_ids: no rows"))?;
        if ids.len() != mask.len()
            || ids.iter().any(|r| r.len() != seq)
            || mask.iter().any(|r| r.len() != seq)
        {
            return Err(Error::input(
                "attention_mask: expected the shape of input_ids, all rows of one length",
            ));
        }
        let (mut first, mut end) = (Vec::new(), Vec::new());
        for (row, mask) in mask.iter().enumerate() {
            let start = mask
                .iter()
                .position(|&m| m != 0)
                .ok_or_else(|| Error::input(format!("attention_mask: row {row} has no real token")))?;
            let len = mask[start..].iter().take_while(|&&m| m != 0).count();
            if mask[start + len..].iter().any(|&m| m != 0) {
                return Err(Error::input(format!(
                    "attention_mask: row {row} has a hole, expected one run of ones (left or right padding)"
                )));
            }
            first.push(start);
            end.push(start + len);
        }
        Ok(Self::of(ids.concat(), seq, first, end))
    }

    /// One new token for each row of a generation, whose first real tokens are at `first` in the cache.
    ///
    /// # Panics
    /// If the two do not have one entry for each row.
    pub fn step(tokens: &[u32], first: &[usize]) -> Self {
        assert_eq!(tokens.len(), first.len(), "one token for each row");
        Self::of(tokens.to_vec(), 1, first.to_vec(), vec![1; tokens.len()])
    }

    fn of(ids: Vec<u32>, seq: usize, first: Vec<usize>, end: Vec<usize>) -> Self {
        let origins = (0..first.len()).collect();
        Self { ids, seq, first, end, rows: Rows::All, origins, documents: None }
    }

    /// The same rows with their places in a longer list. A hook that treats rows differently goes by these places, so
    /// that a row gets the same whatever its batch and whichever other rows have finished.
    ///
    /// # Panics
    /// If there is not one place for each row.
    #[must_use]
    pub fn with_origins(mut self, origins: Vec<usize>) -> Self {
        assert_eq!(origins.len(), self.batch(), "one place for each row");
        self.origins = origins;
        self
    }

    /// The place of each row in the list that it comes from: its place in the batch, unless
    /// [`with_origins`](Self::with_origins) set another.
    pub fn origins(&self) -> &[usize] {
        &self.origins
    }

    /// The same tokens, asking for logits of `rows` only.
    #[must_use]
    pub fn rows(mut self, rows: Rows) -> Self {
        self.rows = rows;
        self
    }

    /// Which logits to compute.
    pub fn wanted_rows(&self) -> Rows {
        self.rows
    }

    /// How many positions of each row to compute logits of, and where each row's begin; `None` for all.
    ///
    /// # Panics
    /// If a row has fewer positions than are asked for.
    pub fn wanted_tail(&self) -> Option<(usize, Vec<usize>)> {
        let n = match self.rows {
            Rows::All => return None,
            Rows::Last => 1,
            Rows::Tail(n) => n,
        };
        // In a step of a generation `first` lies in the cache, so only the end says what the batch holds.
        let start = |&end: &usize| {
            assert!(n >= 1 && end >= n, "a row of {end} positions has no last {n}");
            end - n
        };
        Some((n, self.end.iter().map(start).collect()))
    }

    /// Token ids, row after row.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The number of rows.
    pub fn batch(&self) -> usize {
        self.first.len()
    }

    /// The padded length.
    pub fn seq(&self) -> usize {
        self.seq
    }

    /// The index of each row's first real token.
    pub fn first(&self) -> &[usize] {
        &self.first
    }

    /// One past the index of each row's last real token.
    pub fn end(&self) -> &[usize] {
        &self.end
    }

    /// Where the documents of each packed row end, in order; `None` where rows are not packed. A model that does not
    /// know packed rows must refuse such a batch.
    pub fn documents(&self) -> Option<&[Vec<usize>]> {
        self.documents.as_deref()
    }

    /// Whether any row is padded on the left.
    pub fn is_left_padded(&self) -> bool {
        self.first.iter().any(|&f| f > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_sides_and_masks_agree() {
        let rows = [vec![5, 6, 7], vec![8]];
        let right = Batch::new(&rows).unwrap();
        assert_eq!((right.first(), right.end()), (&[0, 0][..], &[3, 1][..]));
        let left = Batch::left_padded(&rows).unwrap();
        assert_eq!((left.first(), left.end()), (&[0, 2][..], &[3, 3][..]));
        let ids = [vec![5, 6, 7], vec![0, 0, 8]];
        let masked = Batch::masked(&ids, &[vec![1, 1, 1], vec![0, 0, 1]]).unwrap();
        assert_eq!((masked.first(), masked.end()), (left.first(), left.end()));
    }

    #[test]
    fn packed_rows_know_where_their_documents_end() {
        let packed = Batch::packed(&[vec![vec![5, 6], vec![7]], vec![vec![8]]]).unwrap();
        assert_eq!((packed.ids(), packed.end()), (&[5, 6, 7, 8, 8, 8][..], &[3, 1][..]));
        assert_eq!(packed.documents(), Some(&[vec![2, 3], vec![1]][..]));
        assert_eq!(Batch::new(&[vec![1]]).unwrap().documents(), None);
    }

    #[test]
    fn bad_rows_are_errors() {
        assert!(Batch::new(&[]).is_err());
        assert!(Batch::packed(&[vec![vec![1], vec![]]]).is_err());
        assert!(Batch::packed(&[vec![]]).is_err());
        assert!(Batch::new(&[vec![1], vec![]]).is_err());
        assert!(Batch::masked(&[vec![1, 2, 3]], &[vec![1, 0, 1]]).is_err());
        assert!(Batch::masked(&[vec![1, 2, 3]], &[vec![0, 0, 0]]).is_err());
    }
}
