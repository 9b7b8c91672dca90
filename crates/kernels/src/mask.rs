//! Which keys a query may see.

/// The causal mask of one attention call: the queries are the last `seq` of `kv_seq` positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CausalMask {
    /// Number of query positions.
    pub seq: usize,
    /// Each row's first visible key: keys before it are padding.
    pub first: Vec<usize>,
    /// How many keys back a query sees, itself included; all where `None` (sliding-window attention).
    pub window: Option<usize>,
    /// Where the documents of each row end, in order, for packed rows: a query sees no key of another document,
    /// and behind the last one nothing. Such rows have no earlier keys and no padding in front.
    pub documents: Option<Vec<Vec<usize>>>,
}

impl CausalMask {
    /// The half-open range of keys that query `i` of `row` sees, out of `kv_seq`.
    pub fn visible(&self, row: usize, i: usize, kv_seq: usize) -> std::ops::Range<usize> {
        let position = kv_seq - self.seq + i;
        let oldest = self.window.map_or(0, |w| (position + 1).saturating_sub(w));
        let start = match &self.documents {
            None => self.first[row],
            Some(ends) => {
                let at = ends[row].partition_point(|&end| end <= position);
                if at == ends[row].len() {
                    position + 1
                } else {
                    at.checked_sub(1).map_or(0, |at| ends[row][at])
                }
            }
        };
        let start = start.max(oldest);
        start..(position + 1).max(start)
    }

    /// The documents of a row whose queries are all its keys; one that is not packed is one behind its padding.
    pub(crate) fn documents(&self, row: usize) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let ends = self.documents.as_ref().map_or(std::slice::from_ref(&self.seq), |ends| &ends[row]);
        let starts = std::iter::once(self.first[row]).chain(ends.iter().copied());
        starts.zip(ends).map(|(start, &end)| start..end).filter(|tokens| !tokens.is_empty())
    }

    /// Shape rules of [`causal_softmax`](crate::causal_softmax).
    pub(crate) fn check(&self, [batch, _, queries, kv_seq]: [usize; 4]) {
        assert_eq!(batch, self.first.len(), "one first key for each row of the batch");
        assert!(self.seq > 0 && queries % self.seq == 0, "queries are whole groups of seq");
        assert!(self.seq <= kv_seq, "queries are among the keys' positions");
        if let Some(ends) = &self.documents {
            let packed =
                self.seq == kv_seq && ends.len() == batch && self.first.iter().all(|&first| first == 0);
            assert!(packed, "packed rows have no earlier keys and no padding in front");
            let rise = |ends: &Vec<usize>| {
                ends.first() > Some(&0) && ends.is_sorted_by(|a, b| a < b) && ends.last() <= Some(&self.seq)
            };
            assert!(ends.iter().all(rise), "the ends of a row's documents rise within it");
        }
    }
}
