//! Memory of the process: its peak, and a limit for chat templates. A template comes with a checkpoint, and one that doubles a text forty times
//! allocates a terabyte.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that rendering may add to the process. A rendered conversation has some kilobytes.
const LIMIT: usize = 1 << 30;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Runs `work`, which renders a chat template. Ends the process with status 2 where it takes more memory than the
/// limit: a thread cannot be stopped from outside. Only Linux has this check.
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

/// The most bytes of memory that the process has held; only Linux says so.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The bytes of memory that the process can hold without swapping; only Linux says so.
pub(crate) fn room() -> Option<u64> {
    let all = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024 + resident()? as u64)
}

/// Bytes of memory that the process holds.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
