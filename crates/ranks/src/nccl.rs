//! What the ranks say to each other over NCCL, from GPU to GPU.
//!
//! **Not run.** This compiles; no machine with two GPUs was at hand.

use std::fmt::Debug;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use common::Error;
use cudarc::driver::{CudaContext, DeviceRepr, ValidAsZeroBits};
use cudarc::nccl::{Comm, Id, NcclType};
use posttrain::Ranks;

/// Bytes of all ranks together that go by the host: what is small would wait for the GPU.
const SMALL: usize = 1 << 16;

type Work = Box<dyn FnOnce(&Comm) + Send>;

/// Ranks with a GPU each. Messages from 64 KiB on go over NCCL, through buffers on the GPUs; smaller ones as before.
pub(crate) struct Gpus {
    host: Arc<dyn Ranks>,
    /// To the thread that holds the communicator, which NCCL ties to one.
    thread: Mutex<Sender<Work>>,
}

impl Debug for Gpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpus").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Gpus {
    /// Collective. `gpu` is the number of this rank's among those that it sees.
    ///
    /// # Errors
    /// No such GPU, two ranks on one, a network that NCCL cannot use.
    pub(crate) fn start(host: Arc<dyn Ranks>, gpu: usize) -> Result<Self, Error> {
        // The first rank names the job.
        let name = match host.is_first() {
            true => Id::new().map_err(|e| failed(e.0))?.internal().map(|c| c as u8).to_vec(),
            false => Vec::new(),
        };
        let name = host.all_gather(name).concat();
        let name =
            <[u8; 128]>::try_from(name).map_err(|_| Error::internal("NCCL: the ranks have several names"))?;
        let id = Id::uninit(name.map(|c| c as std::ffi::c_char));
        let (rank, count) = (host.rank(), host.count());
        let (thread, works) = channel::<Work>();
        let (says, started) = channel();
        std::thread::spawn(move || {
            let comm = CudaContext::new(gpu).map_err(failed).and_then(|context| {
                Comm::from_rank(context.default_stream(), rank, count, id).map_err(|e| failed(e.0))
            });
            match comm {
                Err(e) => drop(says.send(Err(e))),
                Ok(comm) => {
                    let _ = says.send(Ok(()));
                    works.into_iter().for_each(|work| work(&comm));
                }
            }
        });
        started.recv().map_err(|_| Error::internal("NCCL: its thread ended"))??;
        Ok(Self { host, thread: Mutex::new(thread) })
    }

    /// Gives `parts[r]` to rank `r`; `arriving[r]` is the length of what it gives to this one.
    fn swap<T>(&self, parts: Vec<Vec<T>>, arriving: Vec<usize>) -> Vec<Vec<T>>
    where
        T: NcclType + DeviceRepr + ValidAsZeroBits + Clone + Send + 'static,
    {
        let (answer, got) = channel();
        let work: Work = Box::new(move |comm| drop(answer.send(swap(comm, &parts, &arriving))));
        let sent = self.thread.lock().unwrap_or_else(PoisonError::into_inner).send(work);
        let got = sent.ok().and_then(|()| got.recv().ok());
        match got {
            Some(Ok(got)) => got,
            Some(Err(e)) => panic!("{e}"),
            None => panic!("NCCL: its thread ended"),
        }
    }

    /// By sender and receiver: the lengths of what the ranks give each other, where this one gives `mine[r]` to rank `r`.
    fn lengths(&self, mine: &[usize]) -> Vec<Vec<usize>> {
        let bytes = mine.iter().flat_map(|n| (*n as u64).to_le_bytes()).collect();
        let read = |all: Vec<u8>| {
            let number = |b: &[u8]| b.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
            all.chunks(8).map(number).collect()
        };
        self.host.all_gather(bytes).into_iter().map(read).collect()
    }
}

impl Ranks for Gpus {
    fn rank(&self) -> usize {
        self.host.rank()
    }

    fn count(&self) -> usize {
        self.host.count()
    }

    fn exchange(&self, parts: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        let all = self.lengths(&parts.iter().map(Vec::len).collect::<Vec<_>>());
        if all.iter().flatten().sum::<usize>() * size_of::<f32>() < SMALL {
            return self.host.exchange(parts);
        }
        self.swap(parts, all.iter().map(|given| given[self.rank()]).collect())
    }

    fn all_gather(&self, part: Vec<u8>) -> Vec<Vec<u8>> {
        let all: Vec<usize> = self.lengths(&[part.len()]).concat();
        if all.iter().sum::<usize>() < SMALL {
            return self.host.all_gather(part);
        }
        self.swap(vec![part; self.count()], all)
    }
}

/// The messages of one call, all at once. What a rank gives itself does not leave the host; empty messages are not sent.
fn swap<T>(comm: &Comm, parts: &[Vec<T>], arriving: &[usize]) -> Result<Vec<Vec<T>>, Error>
where
    T: NcclType + DeviceRepr + ValidAsZeroBits + Clone,
{
    let (stream, own) = (comm.stream(), comm.rank());
    let is_sent = |rank: usize, n: usize| rank != own && n > 0;
    let mut given = Vec::new();
    for (rank, part) in parts.iter().enumerate().filter(|(rank, part)| is_sent(*rank, part.len())) {
        given.push((rank, stream.clone_htod(part).map_err(failed)?));
    }
    let mut got = Vec::new();
    for (rank, &n) in arriving.iter().enumerate().filter(|(rank, n)| is_sent(*rank, **n)) {
        got.push((rank, stream.alloc_zeros::<T>(n).map_err(failed)?));
    }
    {
        // Views live longer than the group, which sends when it ends.
        let sends: Vec<_> = given.iter().map(|(rank, part)| (*rank as i32, part.as_view())).collect();
        let receives: Vec<_> =
            got.iter_mut().map(|(rank, part)| (*rank as i32, part.as_view_mut())).collect();
        let mut group = comm.group();
        for (rank, part) in sends {
            group.send(part, rank).map_err(|e| failed(e.0))?;
        }
        for (rank, part) in receives {
            group.recv(part, rank).map_err(|e| failed(e.0))?;
        }
    }
    let mut all = vec![Vec::new(); parts.len()];
    all[own] = parts[own].clone();
    for (rank, part) in got {
        all[rank] = stream.clone_dtoh(&part).map_err(failed)?;
    }
    stream.synchronize().map_err(failed)?;
    Ok(all)
}

fn failed(what: impl Debug) -> Error {
    Error::internal(format!("NCCL: {what:?}"))
}
