//! How a rank that fails ends the others, which would wait for it for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use posttrain::Ranks;

/// How much later than the rank before it a rank says why it ends.
const TURN: Duration = Duration::from_secs(1);

/// The longest time until a rank speaks.
const LONGEST: Duration = Duration::from_secs(3);

/// Exit status of a panic.
#[cfg(feature = "mpi")]
const PANIC: i32 = 101;

#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) ranks: Arc<dyn Ranks>,
    /// Signals so far that ask this process to end.
    pub(crate) signals: fn() -> usize,
}

impl Ending {
    /// Says why this rank fails and ends the job, where there are several ranks. Each waits for those before it: where
    /// all fail at the same, the first ends the others before they speak. A launcher that ends the job itself, by
    /// signals to all, does no more for the first: then the others are silent.
    pub(crate) fn fail(&self, status: i32, say: impl FnOnce()) {
        let (start, before) = (Instant::now(), (self.signals)());
        let turn = (TURN * self.ranks.rank() as u32).min(LONGEST);
        while start.elapsed() < turn {
            if (self.signals)() > before {
                // The launcher ends the job: another rank has spoken.
                common::exit_without_partial_files(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if (self.signals)() > 0 && !self.ranks.is_first() {
            common::exit_without_partial_files(status);
        }
        say();
        #[cfg(feature = "mpi")]
        if self.ranks.count() > 1 {
            crate::world::abort(status);
        }
    }

    /// Makes a panic in any thread end the job.
    #[cfg(feature = "mpi")]
    pub(crate) fn on_panic(&self) {
        if self.ranks.count() > 1 {
            let (ending, usual) = (self.clone(), std::panic::take_hook());
            std::panic::set_hook(Box::new(move |info| ending.fail(PANIC, || usual(info))));
        }
    }
}
