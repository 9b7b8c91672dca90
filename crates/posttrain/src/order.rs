//! The order in which examples are seen: epoch after epoch, without end.

use rand::SeedableRng;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

/// An order over `len` examples. The shuffle of an epoch depends on seed and epoch only, so that a position is
/// all the state there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Examples of an epoch; above 0.
    pub len: usize,
    /// `None` keeps the given order.
    pub seed: Option<u64>,
}

impl Order {
    /// Indices of up to `n` examples from `position` on, counted over all epochs. A batch ends with its epoch,
    /// so that an epoch has each example once and its last batch may be short.
    pub fn batch(&self, position: u64, n: usize) -> Vec<usize> {
        let len = self.len as u64;
        let (epoch, start) = (position / len, (position % len) as usize);
        self.epoch(epoch)[start..self.len.min(start + n)].to_vec()
    }

    /// Batches of up to `n` in an epoch.
    pub fn batches(&self, n: usize) -> usize {
        self.len.div_ceil(n)
    }

    fn epoch(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len).collect();
        if let Some(seed) = self.seed {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(epoch);
            order.shuffle(&mut rng);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_every_example_once_and_any_position_can_be_asked_for() {
        let order = Order { len: 7, seed: Some(3) };
        let epochs: Vec<Vec<usize>> =
            (0..3).map(|epoch| [order.batch(epoch * 7, 4), order.batch(epoch * 7 + 4, 4)].concat()).collect();
        for epoch in &epochs {
            let mut ids = epoch.clone();
            ids.sort_unstable();
            assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_eq!(order.batch(9, 2), epochs[1][2..4]);
        assert_eq!(order.batches(4), 2);
        assert_eq!(Order { seed: None, ..order }.batch(6, 2), [6]);
    }
}
