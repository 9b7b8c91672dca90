//! MPI's world of processes.

use common::Error;
use mpi::Count;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::{Threading, Universe};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Equivalence};
use posttrain::Ranks;

/// MPI counts in i32.
const MOST: usize = 1 << 30;

/// This process in MPI's world. The communicator is asked for at each call: MPI keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    rank: usize,
    count: usize,
}

impl World {
    /// Starts MPI, which must not have been started.
    pub(crate) fn start() -> Result<(Self, Universe), Error> {
        // A panic in any thread ends the job.
        let started = mpi::initialize_with_threading(Threading::Multiple);
        let (universe, _) = started.ok_or_else(|| Error::internal("MPI was started before"))?;
        let world = universe.world();
        Ok((Self { rank: world.rank() as usize, count: world.size() as usize }, universe))
    }

    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// The lengths of what each rank gives to this one.
    fn arriving(lengths: &[Count]) -> Vec<Count> {
        let mut arriving = vec![0; lengths.len()];
        SimpleCommunicator::world().all_to_all_into(lengths, &mut arriving[..]);
        arriving
    }
}

impl Ranks for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn exchange(&self, parts: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        let counts: Vec<Count> = parts.iter().map(|part| counted(part.len())).collect();
        let (arriving, given) = (Self::arriving(&counts), parts.concat());
        counted(given.len());
        let mut got = vec![0.0; total(&arriving)];
        let given = Partition::new(&given[..], &counts[..], starts(&counts));
        let mut into = PartitionMut::new(&mut got[..], &arriving[..], starts(&arriving));
        SimpleCommunicator::world().all_to_all_varcount_into(&given, &mut into);
        split(&got, &arriving)
    }

    fn all_gather(&self, part: Vec<u8>) -> Vec<Vec<u8>> {
        let arriving = Self::arriving(&vec![counted(part.len()); self.count]);
        // One byte more than is sent: without any, a Rust buffer of bytes lies at address 1, which is MPI_IN_PLACE.
        let (n, total) = (part.len(), total(&arriving));
        let (given, mut got) = ([&part[..], &[0]].concat(), vec![0; total + 1]);
        let mut into = PartitionMut::new(&mut got[..total], &arriving[..], starts(&arriving));
        SimpleCommunicator::world().all_gather_varcount_into(&given[..n], &mut into);
        split(&got[..total], &arriving)
    }
}

/// Ends every process of the job with this exit status, from any thread.
pub(crate) fn abort(status: i32) -> ! {
    SimpleCommunicator::world().abort(status)
}

fn counted(n: usize) -> Count {
    assert!(n <= MOST, "{n} values in one message of MPI, expected at most {MOST}");
    n as Count
}

fn total(counts: &[Count]) -> usize {
    let n = counts.iter().map(|&n| n as usize).sum();
    counted(n) as usize
}

fn starts(counts: &[Count]) -> Vec<Count> {
    let mut start = 0;
    let before = |&n: &Count| {
        start += n;
        start - n
    };
    counts.iter().map(before).collect()
}

fn split<T: Equivalence + Clone>(mut all: &[T], counts: &[Count]) -> Vec<Vec<T>> {
    counts.iter().map(|&n| all.split_off(..n as usize).unwrap_or_default().to_vec()).collect()
}
