//! Ranks that are threads of one process: for tests, and to try a program without MPI.

use std::any::Any;
use std::sync::{Arc, Barrier, Mutex, PoisonError};

use super::Ranks;

/// A rank that is a thread. A thread that panics leaves the others waiting.
#[derive(Debug, Clone)]
pub struct Threads {
    rank: usize,
    count: usize,
    board: Arc<Board>,
}

/// What each rank gave.
#[derive(Debug)]
struct Board {
    given: Mutex<Vec<Option<Box<dyn Any + Send>>>>,
    barrier: Barrier,
}

impl Threads {
    /// Runs `work` on each of `count` ranks, each a thread of its own, and returns the results in rank order.
    ///
    /// # Panics
    /// If a rank panics after which no other waits.
    pub fn run<T: Send>(count: usize, work: impl Fn(Arc<dyn Ranks>) -> T + Sync) -> Vec<T> {
        let given = Mutex::new((0..count).map(|_| None).collect());
        let board = Arc::new(Board { given, barrier: Barrier::new(count) });
        std::thread::scope(|scope| {
            let start = |rank| {
                let (board, work) = (Arc::clone(&board), &work);
                scope.spawn(move || work(Arc::new(Self { rank, count, board })))
            };
            let threads: Vec<_> = (0..count).map(start).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        })
    }

    /// Shows `given` to every rank and returns what `read` makes of each rank's.
    fn show<G: Send + 'static, T>(&self, given: G, read: impl Fn(&G) -> T) -> Vec<T> {
        let lock = || self.board.given.lock().unwrap_or_else(PoisonError::into_inner);
        lock()[self.rank] = Some(Box::new(given));
        self.board.barrier.wait();
        let all = lock().iter().flatten().filter_map(|any| any.downcast_ref::<G>()).map(read).collect();
        self.board.barrier.wait();
        all
    }
}

impl Ranks for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn exchange(&self, parts: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        self.show(parts, |parts: &Vec<Vec<f32>>| parts[self.rank].clone())
    }

    fn all_gather(&self, part: Vec<u8>) -> Vec<Vec<u8>> {
        self.show(part, Vec::clone)
    }
}
