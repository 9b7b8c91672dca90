//! Requests in flight, and their answers as they come.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, mpsc::Sender};

use common::Error;
use model_qwen::{Completion, Request, Sampling};

use crate::protocol::Ask;
use crate::servers::{LOOK, Shared};

/// Completions to be made. As with [`model_qwen::generate`] a completion is a function of its prompt, of the seed and of
/// its stream, whatever else is asked for, as far as the server keeps to that; [`Sampling::room`] counts for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Prompts and streams.
    pub requests: Vec<Request>,
    /// Sampling.
    pub how: Sampling,
    /// Strings that end a completion.
    pub stops: Vec<String>,
}

/// A completion, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The completion. Both log-probabilities are what the server gave, NaN where it gave none.
    pub completion: Completion,
    /// Updates that the weights had; nothing where the model is as it was served.
    pub step: Option<usize>,
}

/// Requests in flight. Dropped, it sends no more; answers to those that were sent are lost.
#[derive(Debug)]
pub struct Running {
    answers: Receiver<(usize, Result<Answer, Error>)>,
    left: usize,
    halt: Arc<AtomicBool>,
}

/// What the threads of a job share.
struct Work {
    shared: Arc<Shared>,
    job: Job,
    next: AtomicUsize,
    halt: Arc<AtomicBool>,
}

impl Work {
    /// Answers one request after the other.
    fn run(&self, answers: &Sender<(usize, Result<Answer, Error>)>) {
        loop {
            let at = self.next.fetch_add(1, Ordering::SeqCst);
            let Some(request) = self.job.requests.get(at) else { return };
            let ask = Ask { request, how: &self.job.how, stops: &self.job.stops };
            let Some(answer) = self.shared.answer(&ask, &self.halt) else { return };
            if answers.send((at, answer)).is_err() {
                return;
            }
        }
    }
}

impl Running {
    pub(crate) fn start(shared: &Arc<Shared>, job: Job, workers: usize) -> Result<Self, Error> {
        let (left, halt) = (job.requests.len(), Arc::new(AtomicBool::new(false)));
        let work = Arc::new(Work {
            shared: Arc::clone(shared),
            job,
            next: AtomicUsize::new(0),
            halt: Arc::clone(&halt),
        });
        let (send, answers) = channel();
        for _ in 0..workers.min(left) {
            let (work, send) = (Arc::clone(&work), send.clone());
            let spawned = std::thread::Builder::new().spawn(move || work.run(&send));
            spawned.map_err(|e| Error::io("a thread for requests", e))?;
        }
        Ok(Self { answers, left, halt })
    }

    /// The next answer, with the number of its request; nothing where all have come, or where `stop` says to end.
    ///
    /// # Errors
    /// What a server refuses; servers that were away for too long. The rest is not asked for then.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<(usize, Answer)>, Error> {
        while self.left > 0 && !stop() {
            match self.answers.recv_timeout(LOOK) {
                Ok((at, answer)) => {
                    self.left -= 1;
                    return answer.map(|answer| Some((at, answer)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("a request's thread ended"));
                }
            }
        }
        Ok(None)
    }

    /// Whether all answers have come.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.halt.store(true, Ordering::SeqCst);
    }
}
