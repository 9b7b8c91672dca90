//! The rows of a command that loops over rows: those of its shard, and of them every N-th, where `mpirun` started N
//! processes. What the processes find comes together at the first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Error, Shard};
use posttrain::Ranks;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::options::{Common, Result};
use crate::{shard, signals};

/// All rows.
const WHOLE: Shard = Shard { index: 0, count: 1 };

/// Which rows this process works on.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    shard: Option<Shard>,
    ranks: &'a dyn Ranks,
    n: usize,
}

/// The shard that the command was given, by `--shard` or the environment, on all ranks the same.
pub(crate) fn shard_of_job(
    common: &Common,
    given: Option<&str>,
    ranks: &Arc<dyn Ranks>,
) -> Result<Option<Shard>> {
    let shard = shard::of_process(common, given)?;
    let all = ranks.all_gather(shard.map_or(String::new(), |shard| shard.to_string()).into_bytes());
    if all.iter().any(|other| *other != all[0]) {
        return Err(Error::input(
            "--shard differs between the processes that were started together; leave it out: each gets its part",
        ));
    }
    Ok(shard)
}

impl<'a> Rows<'a> {
    /// Of a job of `n` rows, which messages call `what`.
    ///
    /// # Errors
    /// A shard without rows.
    pub(crate) fn new(
        shard: Option<Shard>,
        ranks: &'a Arc<dyn Ranks>,
        (n, what): (usize, &str),
    ) -> Result<Self> {
        match shard {
            Some(shard) if shard.index >= n => {
                Err(Error::input(format!("--shard {shard}: no {what} left of {n} for this shard")))
            }
            _ => Ok(Self { shard, ranks: &**ranks, n }),
        }
    }

    /// The shard, where the rows are not all of the job's.
    pub(crate) fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// Whether this process writes.
    pub(crate) fn is_first(&self) -> bool {
        self.ranks.is_first()
    }

    /// Number of rows of the whole job.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    /// The rows of all ranks, in order.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        self.shard.unwrap_or(WHOLE).rows(self.n)
    }

    /// The rows of this process alone, in order.
    pub(crate) fn mine(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        self.part().unwrap_or(WHOLE).rows(self.n)
    }

    /// The rows of this process as a shard, where they are not all of the job's.
    pub(crate) fn part(&self) -> Option<Shard> {
        let part = self.shard.unwrap_or(WHOLE).split(self.ranks.rank(), self.ranks.count());
        Some(part).filter(|part| *part != WHOLE)
    }

    /// Does `work` on the rows of this process; fewer after a signal to one of several ranks, which [`gather`](Self::gather)
    /// then refuses.
    pub(crate) fn work<T>(&self, work: impl FnMut(usize) -> Result<T>) -> Result<Vec<T>> {
        self.mine().take_while(|_| !self.is_signalled()).map(work).collect()
    }

    /// Whether this process was sent a signal, where it is one of several; one alone is ended by it.
    fn is_signalled(&self) -> bool {
        self.ranks.count() > 1 && signals::polled().load(Ordering::SeqCst)
    }

    /// Ends all ranks where any was sent a signal. Collective: where a rank failed, and the launcher ends the others by
    /// signals, they wait here for their end.
    fn check_interrupted(&self) -> Result {
        if self.ranks.count() > 1 && self.ranks.any(self.is_signalled()) {
            return Err(Error::internal("interrupted"));
        }
        Ok(())
    }

    /// What all ranks found, in the order of [`all`](Self::all), for the rank that writes; `None` for the others.
    /// Collective.
    pub(crate) fn gather<T: Serialize + DeserializeOwned>(&self, mine: Vec<T>) -> Result<Option<Vec<T>>> {
        if self.ranks.count() == 1 {
            return Ok(Some(mine));
        }
        self.check_interrupted()?;
        let given = self.ranks.all_gather(serde_json::to_vec(&mine).map_err(Error::internal)?);
        if !self.ranks.is_first() {
            return Ok(None);
        }
        let read = |bytes: Vec<u8>| serde_json::from_slice::<Vec<T>>(&bytes).map(Vec::into_iter);
        let mut parts = given
            .into_iter()
            .map(read)
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(Error::internal)?;
        let count = parts.len();
        let taken = (0..self.all().len()).map(|at| parts[at % count].next());
        taken
            .collect::<Option<_>>()
            .map(Some)
            .ok_or_else(|| Error::internal("a rank has fewer rows than its part"))
    }
}

/// What was found on one row, with the numbers that are many apart.
pub(crate) type Found<T> = (T, Vec<f32>);

/// What is found on the rows of all ranks, row by row as it comes; see [`Rows::each`].
pub(crate) struct Each<'a, F, T> {
    rows: Rows<'a>,
    work: F,
    /// What was found in the rounds so far and not yet given out.
    found: VecDeque<Found<T>>,
    round: usize,
}

impl<'a> Rows<'a> {
    /// Does `work` on the rows of this process, by rounds of one row a rank, and gives the rank that writes what all
    /// ranks found, in the order of the rows; the others get nothing. Collective: to be run to its end by all.
    pub(crate) fn each<T, F>(self, work: F) -> Each<'a, F, T>
    where
        F: FnMut(usize) -> Result<Found<T>>,
    {
        Each { rows: self, work, found: VecDeque::new(), round: 0 }
    }
}

impl<T, F> Each<'_, F, T>
where
    T: Serialize + DeserializeOwned,
    F: FnMut(usize) -> Result<Found<T>>,
{
    /// One row a rank.
    fn round(&mut self) -> Result {
        self.rows.check_interrupted()?;
        let ranks = self.rows.ranks;
        let mine = self.rows.mine().nth(self.round).map(&mut self.work).transpose()?;
        self.round += 1;
        let (mut given, mut numbers) = (Vec::new(), vec![Vec::new(); ranks.count()]);
        if let Some((what, values)) = mine {
            given = serde_json::to_vec(&what).map_err(Error::internal)?;
            numbers[0] = values;
        }
        let (given, numbers) = (ranks.all_gather(given), ranks.exchange(numbers));
        if ranks.is_first() {
            for (what, values) in given.into_iter().zip(numbers).filter(|(what, _)| !what.is_empty()) {
                self.found.push_back((serde_json::from_slice(&what).map_err(Error::internal)?, values));
            }
        }
        Ok(())
    }
}

impl<T, F> Iterator for Each<'_, F, T>
where
    T: Serialize + DeserializeOwned,
    F: FnMut(usize) -> Result<Found<T>>,
{
    type Item = Result<Found<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rounds = self.rows.all().len().div_ceil(self.rows.ranks.count());
        while self.found.is_empty() && self.round < rounds {
            if let Err(e) = self.round() {
                self.round = rounds;
                return Some(Err(e));
            }
        }
        self.found.pop_front().map(Ok)
    }
}
