//! Ctrl-C, SIGTERM and SIGHUP: the command ends with status 1 and leaves no partial file.
//!
//! A command that can resume ends at its next safe point instead: it polls the flag of [`polled`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::Error;

use crate::options::Result;

static POLLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static FIRST: OnceLock<Instant> = OnceLock::new();

/// A second signal ends the command at once; launchers repeat a signal within this time.
const REPEATED: Duration = Duration::from_secs(1);

/// Installs the handler. Call once.
pub(crate) fn install() -> Result {
    let on_signal = || {
        if let Some(flag) = POLLED.get() {
            flag.store(true, Ordering::SeqCst);
            if FIRST.get_or_init(Instant::now).elapsed() < REPEATED {
                return;
            }
        }
        eprintln!("sparks: interrupted");
        common::exit_without_partial_files(1);
    };
    ctrlc::set_handler(on_signal).map_err(|e| Error::internal(format!("signal handler: {e}")))
}

/// The flag that a signal sets. After this call a signal no longer ends the command: the caller polls the flag.
pub(crate) fn polled() -> Arc<AtomicBool> {
    Arc::clone(POLLED.get_or_init(Arc::default))
}
