//! What the environment says of the launcher.

use common::Error;

/// How this process was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launcher {
    /// The variable that says so.
    variable: &'static str,
    /// Processes of the job, where the environment says how many.
    pub(crate) processes: Option<usize>,
}

/// Set by mpirun of Open MPI; by mpiexec of MPICH and Intel MPI, and `srun --mpi=pmi2`.
const SIZES: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// Set by `srun --mpi=pmix`, which says the number in variables of Slurm.
const PMIX: (&str, &str) = ("PMIX_RANK", "SLURM_STEP_NUM_TASKS");

impl Launcher {
    /// The launcher that the environment names.
    pub(crate) fn find(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| get(name).and_then(|text| text.trim().parse().ok());
        if let Some(variable) = SIZES.into_iter().find(|name| get(name).is_some()) {
            return Some(Self { variable, processes: number(variable) });
        }
        let (rank, size) = PMIX;
        get(rank).map(|_| Self { variable: rank, processes: number(size) })
    }

    /// The error of a build without MPI.
    #[cfg(not(feature = "mpi"))]
    pub(crate) fn no_mpi(&self) -> Error {
        Error::input(format!(
            "{}, and this build has no MPI: build with `--features mpi` (docs/SCALE.md), or start one process",
            self.says()
        ))
    }

    /// The error of a launcher of another MPI than this build's, which starts every process as one alone.
    #[cfg(feature = "mpi")]
    pub(crate) fn another_mpi(&self, found: usize) -> Error {
        Error::input(format!(
            "{}, and MPI knows {found}: the launcher is of another MPI than the one that this build is linked with \
             (docs/SCALE.md)",
            self.says()
        ))
    }

    fn says(&self) -> String {
        match self.processes {
            Some(n) => format!("{} says that {n} processes were started together", self.variable),
            None => format!("{} says that several processes were started together", self.variable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_what_they_set() {
        let find = |set: &[(&str, &str)]| {
            let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            Launcher::find(get).map(|l| (l.variable, l.processes))
        };
        assert_eq!(find(&[("OMPI_COMM_WORLD_SIZE", "4")]), Some(("OMPI_COMM_WORLD_SIZE", Some(4))));
        assert_eq!(find(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]), Some(("PMI_SIZE", Some(2))));
        let srun = [("PMIX_RANK", "1"), ("SLURM_STEP_NUM_TASKS", "3"), ("SLURM_PROCID", "1")];
        assert_eq!(find(&srun), Some(("PMIX_RANK", Some(3))));
        // A batch script of Slurm, outside srun.
        assert_eq!(find(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]), None);
    }
}
