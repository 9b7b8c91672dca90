//! Ctrl-C, SIGTERM and SIGHUP: the command ends with status 1 and leaves no partial file.
//!
//! A command that can resume ends at its next safe point instead: it polls the flag of [`polled`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::Error;

use crate::options::Result;

static POLLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static SEEN: AtomicUsize = AtomicUsize::new(0);
static HUSHED: AtomicBool = AtomicBool::new(false);
static FIRST: OnceLock<Instant> = OnceLock::new();

/// A second signal ends the command at once; launchers repeat a signal within this time.
const REPEATED: Duration = Duration::from_secs(1);

/// Installs the handler. Call once.
pub(crate) fn install() -> Result {
    let on_signal = || {
        SEEN.fetch_add(1, Ordering::SeqCst);
        if let Some(flag) = POLLED.get() {
            flag.store(true, Ordering::SeqCst);
            if FIRST.get_or_init(Instant::now).elapsed() < REPEATED {
                return;
            }
        }
        if !HUSHED.load(Ordering::SeqCst) {
            eprintln!("sparks: interrupted");
        }
        common::exit_without_partial_files(1);
    };
    ctrlc::set_handler(on_signal).map_err(|e| Error::internal(format!("signal handler: {e}")))
}

/// The flag that a signal sets. After this call a signal no longer ends the command: the caller polls the flag.
pub(crate) fn polled() -> Arc<AtomicBool> {
    Arc::clone(POLLED.get_or_init(Arc::default))
}

/// Signals so far.
pub(crate) fn seen() -> usize {
    SEEN.load(Ordering::SeqCst)
}

/// Leaves it to another process of the job to say that it was interrupted.
pub(crate) fn hush() {
    HUSHED.store(true, Ordering::SeqCst);
}
