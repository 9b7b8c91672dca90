//! The processes that `mpirun` or `srun` started together: all but the first are silent unless they fail.

use ranks::Job;

use crate::options::{Common, Result};
use crate::signals;

/// Starts MPI, where a launcher started this process.
pub(crate) fn start(common: &mut Common) -> Result<Job> {
    let job = Job::start(signals::seen)?;
    if job.ranks().count() > 1 {
        // A signal of the launcher is for the command's loop, where all agree.
        signals::polled();
    }
    if !job.ranks().is_first() {
        common.quiet = true;
        signals::hush();
    }
    Ok(job)
}
