//! A bound on what untrusted code may hold: a chat template comes with a checkpoint, and one that doubles a text
//! forty times asks for a terabyte.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that a template may add to the process: a rendered conversation is some kilobytes.
const LIMIT: usize = 1 << 30;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Runs `work`, which renders a chat template; ends the process with status 2 where that takes memory beyond all
/// reason. A thread cannot be stopped from outside, so nothing less would end it. Elsewhere than on Linux
/// nothing is watched.
pub(crate) fn bounded<T>(work: impl FnOnce() -> T) -> T {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let done = AtomicBool::new(false);
    let watch = || {
        let Some(before) = resident() else { return };
        while !done.load(Ordering::Acquire) {
            if resident().is_some_and(|now| now > before + LIMIT) {
                eprintln!(
                    "sparks: the chat template took more than {LIMIT} bytes of memory, and was stopped"
                );
                std::process::exit(2);
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    };
    std::thread::scope(|scope| {
        let watcher = scope.spawn(watch);
        let finished = Done(&done);
        let result = work();
        drop(finished);
        watcher.thread().unpark();
        result
    })
}

/// Bytes of memory that the process holds.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
