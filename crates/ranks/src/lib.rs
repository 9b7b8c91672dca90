//! The processes that `mpirun` or `srun --mpi=pmix` started, as [`Ranks`].
//!
//! With the feature `mpi`, which is off by default. Without it a launcher of several processes is refused: each would
//! take itself for the whole job.

mod ending;
mod launcher;
#[cfg(feature = "nccl")]
mod nccl;
#[cfg(feature = "mpi")]
mod world;

use std::sync::Arc;

use common::Error;
use ending::Ending;
use posttrain::Ranks;
use posttrain::ranks::Alone;

/// This process and those that were started with it.
pub struct Job {
    ending: Ending,
    #[cfg(feature = "mpi")]
    universe: Option<mpi::environment::Universe>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("ranks", &self.ending.ranks).finish_non_exhaustive()
    }
}

impl Job {
    /// One process, whatever started it.
    pub fn alone() -> Self {
        Self {
            ending: Ending { ranks: Arc::new(Alone), signals: || 0 },
            #[cfg(feature = "mpi")]
            universe: None,
        }
    }

    /// The processes that the launcher started, or one alone where none did. Call once, before other threads start.
    /// Where there are several, a panic in any thread ends them all. `signals` counts the signals to this process that
    /// ask it to end.
    ///
    /// # Errors
    /// A launcher of several processes without the feature `mpi`.
    pub fn start(signals: fn() -> usize) -> Result<Self, Error> {
        match launcher::Launcher::find(|name| std::env::var(name).ok()) {
            Some(launcher) => Self::of(&launcher, signals),
            None => Ok(Self::alone()),
        }
    }

    #[cfg(feature = "mpi")]
    fn of(launcher: &launcher::Launcher, signals: fn() -> usize) -> Result<Self, Error> {
        let (world, universe) = world::World::start()?;
        if launcher.processes.is_some_and(|n| n != world.count()) {
            return Err(launcher.another_mpi(world.count()));
        }
        let ending = Ending { ranks: Arc::new(world), signals };
        ending.on_panic();
        Ok(Self { ending, universe: Some(universe) })
    }

    #[cfg(not(feature = "mpi"))]
    fn of(launcher: &launcher::Launcher, _: fn() -> usize) -> Result<Self, Error> {
        if launcher.processes == Some(1) { Ok(Self::alone()) } else { Err(launcher.no_mpi()) }
    }

    /// The ranks.
    pub fn ranks(&self) -> Arc<dyn Ranks> {
        Arc::clone(&self.ending.ranks)
    }

    /// The ranks for training on the GPU `gpu`, where there is one: with the feature `nccl` large messages then go from
    /// GPU to GPU. Collective.
    ///
    /// # Errors
    /// With that feature, what NCCL says.
    pub fn ranks_on(&self, gpu: Option<usize>) -> Result<Arc<dyn Ranks>, Error> {
        match gpu {
            #[cfg(feature = "nccl")]
            Some(gpu) if self.ranks().count() > 1 => Ok(Arc::new(nccl::Gpus::start(self.ranks(), gpu)?)),
            _ => Ok(self.ranks()),
        }
    }

    /// Says by `say` why this process fails, and ends the others with the exit status `status`. What all ranks fail at is
    /// said once.
    pub fn fail(&self, status: i32, say: impl FnOnce()) {
        self.ending.fail(status, say);
    }

    /// Waits for the others to come to their end as well.
    pub fn end(self) {
        #[cfg(feature = "mpi")]
        drop(self.universe);
    }
}
