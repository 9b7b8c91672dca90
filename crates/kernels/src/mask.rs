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
}

impl CausalMask {
    /// The half-open range of keys that query `i` of `row` sees, out of `kv_seq`.
    pub fn visible(&self, row: usize, i: usize, kv_seq: usize) -> std::ops::Range<usize> {
        let position = kv_seq - self.seq + i;
        let oldest = self.window.map_or(0, |w| (position + 1).saturating_sub(w));
        let start = self.first[row].max(oldest);
        start..(position + 1).max(start)
    }

    /// Shape rules of [`causal_softmax`](crate::causal_softmax).
    pub(crate) fn check(&self, [batch, _, queries, kv_seq]: [usize; 4]) {
        assert_eq!(batch, self.first.len(), "one first key for each row of the batch");
        assert!(self.seq > 0 && queries % self.seq == 0, "queries are whole groups of seq");
        assert!(self.seq <= kv_seq, "queries are among the keys' positions");
    }
}
