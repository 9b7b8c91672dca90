//! The processes that `mpirun` or `srun` started together: all but the first are silent unless they fail.

use ranks::Job;

use crate::options::{Common, Result};
use crate::signals;

/// What a signal does to a job of several processes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// It is for the command's loop, which ends at its next safe point.
    Polled,
    /// It ends each process.
    Ends,
}

/// Starts MPI, where a launcher started this process.
pub(crate) fn start(common: &mut Common, on_signal: OnSignal) -> Result<Job> {
    let job = Job::start(signals::seen)?;
    if job.ranks().count() > 1 && on_signal == OnSignal::Polled {
        signals::polled();
    }
    if !job.ranks().is_first() {
        common.quiet = true;
        signals::hush();
    }
    Ok(job)
}
