//! Packing: several short documents in one row, by best fit decreasing as in TRL.
//!
//! Rows are filled from the longest document to the shortest, documents of equal length in their order. Each goes into
//! the row with the least space that it fits in, of rows with equal space into the one that has had it longest, and
//! into a new row where it fits in none (Ding et al. 2024, arXiv 2404.10830).

use std::collections::{BTreeMap, VecDeque};

use crate::Example;

/// Examples that are packed together, in their order. TRL packs the batches of `datasets.map`, which are of this size.
const TOGETHER: usize = 1000;

/// Packs examples into rows of at most `max` tokens. With `split`, longer ones are cut into pieces first. Rows without a
/// trained token, of ends of long examples, are left out.
pub(crate) fn pack(examples: Vec<Example>, max: usize, split: bool) -> Vec<Example> {
    let (mut rows, mut examples) = (Vec::new(), examples.into_iter().peekable());
    while examples.peek().is_some() {
        let group = examples.by_ref().take(TOGETHER);
        let parts = group.flat_map(|example| if split { pieces(example, max) } else { vec![example] });
        let mut parts: Vec<Option<Example>> = parts.map(Some).collect();
        let lengths: Vec<usize> = parts.iter().flatten().map(|part| part.ids.len()).collect();
        let take = |row: Vec<usize>| row.into_iter().filter_map(|at| parts[at].take()).collect();
        let packed = best_fit(&lengths, max).into_iter().map(take).map(Example::joined);
        rows.extend(packed.filter(|row| row.tokens() > 0));
    }
    rows
}

/// Pieces of at most `max` tokens.
fn pieces(example: Example, max: usize) -> Vec<Example> {
    let n = example.ids.len();
    if n <= max {
        return vec![example];
    }
    let one = |start: usize| Example {
        id: format!("{}:{}", example.id, start / max + 1),
        ..example.part(start..n.min(start + max))
    };
    (0..n).step_by(max).map(one).collect()
}

/// Which documents are in each row, of documents of these lengths, none above `max`.
fn best_fit(lengths: &[usize], max: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(lengths[at]));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    // Rows by the space that they have left.
    let mut with_space: BTreeMap<usize, VecDeque<usize>> = BTreeMap::new();
    for at in order {
        let length = lengths[at];
        let (space, row) = match with_space.range_mut(length..).next() {
            Some((&space, waiting)) => {
                let row = waiting.pop_front().unwrap_or_default();
                if waiting.is_empty() {
                    with_space.remove(&space);
                }
                (space, row)
            }
            None => {
                rows.push(Vec::new());
                (max, rows.len() - 1)
            }
        };
        rows[row].push(at);
        if space > length {
            with_space.entry(space - length).or_default().push_back(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(documents: &[&[u32]], max: usize, split: bool) -> Vec<(Vec<u32>, Vec<usize>)> {
        let examples = documents.iter().map(|ids| Example::new("x", ids.to_vec(), 0)).collect();
        let row = |row: Example| (row.ids, row.documents.iter().map(|d| d.tokens).collect());
        pack(examples, max, split).into_iter().map(row).collect()
    }

    /// Cases of TRL's `tests/test_data_utils.py`.
    #[test]
    fn rows_are_those_of_trl() {
        let rows = packed(&[&[1, 2, 3], &[4, 5, 6, 7], &[8]], 4, false);
        assert_eq!(rows, [(vec![4, 5, 6, 7], vec![4]), (vec![1, 2, 3, 8], vec![3, 1])]);
        let rows = packed(&[&[1, 2, 3, 4, 5], &[6], &[7, 8, 9, 10], &[11, 12, 13]], 5, false);
        assert_eq!(
            rows,
            [(vec![1, 2, 3, 4, 5], vec![5]), (vec![7, 8, 9, 10, 6], vec![4, 1]), (vec![11, 12, 13], vec![3])]
        );
        let rows = packed(&[&[1, 2, 3, 4, 5, 6], &[7, 8], &[9, 10, 11], &[12]], 4, true);
        assert_eq!(
            rows,
            [(vec![1, 2, 3, 4], vec![4]), (vec![9, 10, 11, 12], vec![3, 1]), (vec![5, 6, 7, 8], vec![2, 2])]
        );
    }

    #[test]
    fn every_document_is_in_one_row_and_none_is_too_long() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        let lengths: Vec<usize> = (0..2500).map(|_| next() % 64 + 1).collect();
        let examples = (0..lengths.len())
            .map(|at| Example::new(at.to_string(), vec![at as u32; lengths[at]], 0))
            .collect();
        let rows = pack(examples, 64, false);
        let mut seen: Vec<u32> = rows.iter().flat_map(|row| row.texts()).map(|text| text[0]).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..2500).collect::<Vec<_>>());
        assert!(rows.iter().all(|row| row.ids.len() <= 64));
        // The bound of the rows' number: best fit decreasing takes at most 11/9 of the fewest, and 6/9 more a group.
        let fewest = lengths.iter().sum::<usize>().div_ceil(64);
        assert!(rows.len() <= fewest * 11 / 9 + 3, "{} rows, {fewest} at least", rows.len());
    }
}
