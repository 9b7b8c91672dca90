//! The order in which examples are seen: epoch after epoch, without end.

use rand::SeedableRng;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

/// An order over `len` examples. Each epoch has a shuffle of its own that depends on seed and epoch only, so
/// that a position is all the state there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Examples of an epoch; above 0.
    pub len: usize,
    /// `None` keeps the given order.
    pub seed: Option<u64>,
}

impl Order {
    /// Indices of the `n` examples from `position` on, counted over all epochs.
    pub fn take(&self, position: u64, n: usize) -> Vec<usize> {
        let len = self.len as u64;
        let (mut taken, mut order, mut of) = (Vec::with_capacity(n), Vec::new(), None);
        for at in position..position + n as u64 {
            let epoch = at / len;
            if of != Some(epoch) {
                (order, of) = (self.epoch(epoch), Some(epoch));
            }
            taken.push(order[(at % len) as usize]);
        }
        taken
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
        let run = order.take(0, 21);
        for epoch in run.chunks(7) {
            let mut ids = epoch.to_vec();
            ids.sort_unstable();
            assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(run[..7], run[7..14]);
        assert_eq!(order.take(5, 9), run[5..14]);
        assert_eq!(Order { seed: None, ..order }.take(6, 2), [6, 0]);
    }
}
