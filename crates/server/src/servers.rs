//! Several servers as one: whose turn it is, which are away, which version is current.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use common::Error;

use crate::http::{Failure, Http};
use crate::protocol::Ask;
use crate::running::{Answer, Job, Running};
use crate::server::Server;
use crate::version::Version;

/// Which servers, and how they are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Addresses: `http://HOST:PORT`.
    pub urls: Vec<String>,
    /// Requests in flight at each of them.
    pub concurrency: usize,
    /// Time that a request may take.
    pub timeout: Duration,
    /// Time for which a request is tried again, at one server or another, where none answers.
    pub patience: Duration,
}

impl Settings {
    /// With 64 requests at each server, and ten minutes for a request and for servers that are away.
    pub fn new<S: Into<String>>(urls: impl IntoIterator<Item = S>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        let ten_minutes = Duration::from_secs(600);
        Self { urls, concurrency: 64, timeout: ten_minutes, patience: ten_minutes }
    }
}

/// Waits between two looks at a caller's wish to stop.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// The first pause after a server failed; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A server with a pause above it has failed four times or more, over about two seconds.
const NOTICED: Duration = Duration::from_secs(2);

/// Servers of one model. They answer requests of [`start`](Self::start), each by the version that is current when it is sent.
#[derive(Debug)]
pub struct Servers {
    shared: Arc<Shared>,
    /// Versions whose files and adapters are still there.
    kept: Mutex<Vec<Arc<Version>>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    all: Vec<Server>,
    settings: Settings,
    current: RwLock<Option<Arc<Version>>>,
    turns: Mutex<Vec<Turn>>,
    /// A request came back.
    freed: Condvar,
}

/// How a server stands.
#[derive(Debug)]
struct Turn {
    in_flight: usize,
    /// When it may be asked again.
    ready: Instant,
    pause: Duration,
}

impl Turn {
    /// After a request: a server that is away is left alone for a while, which grows.
    fn back(&mut self, is_away: bool) {
        let now = Instant::now();
        self.in_flight -= 1;
        match is_away {
            false => self.pause = PAUSE,
            true if self.ready <= now => {
                self.ready = now + self.pause;
                self.pause = (2 * self.pause).min(LONGEST_PAUSE);
            }
            true => {}
        }
    }
}

impl Servers {
    /// Asks each server what it is. One that does not answer is waited for, as long as a request would be; `stop` is asked
    /// whether to give up.
    ///
    /// # Errors
    /// No server; an address that is none; a server that is neither vLLM nor SGLang or does not answer in time.
    pub fn open(settings: Settings, stop: &dyn Fn() -> bool) -> Result<Self, Error> {
        if settings.urls.is_empty() || settings.concurrency == 0 {
            return Err(Error::input("servers: expected at least one, and at least one request in flight"));
        }
        let open = |url: &String| {
            let http = Http::new(url, settings.timeout)?;
            let (began, mut pause) = (Instant::now(), PAUSE);
            loop {
                match Server::card(&http) {
                    Ok(card) => return Ok(Server::new(http, card)),
                    Err(Failure::Refused(why)) => return Err(Error::input(format!("{}: {why}", http.url))),
                    Err(Failure::Away(_, why)) if stop() || began.elapsed() + pause > settings.patience => {
                        return Err(away(&http.url, &why));
                    }
                    Err(Failure::Away(..)) => std::thread::sleep(pause),
                }
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        };
        let all: Vec<Server> = settings.urls.iter().map(open).collect::<Result<_, Error>>()?;
        let turn = |_: &Server| Turn { in_flight: 0, ready: Instant::now(), pause: PAUSE };
        let turns = Mutex::new(all.iter().map(turn).collect());
        let shared = Shared { all, settings, current: RwLock::default(), turns, freed: Condvar::new() };
        Ok(Self { shared: Arc::new(shared), kept: Mutex::default() })
    }

    /// Tokens of a prompt and its completion at most, at the server that takes least.
    pub fn max_len(&self) -> usize {
        self.shared.all.iter().map(|server| server.card.max_len).min().unwrap_or(0)
    }

    /// Whether all servers give log-probabilities of the distribution after temperature; nothing where one does not say.
    pub fn logprobs_at_temperature(&self) -> Option<bool> {
        let said: Vec<Option<bool>> =
            self.shared.all.iter().map(|server| server.card.at_temperature).collect();
        if said.contains(&Some(false)) {
            Some(false)
        } else {
            said.into_iter().all(|s| s == Some(true)).then_some(true)
        }
    }

    /// Addresses of the servers that have not answered for some seconds.
    pub fn away(&self) -> Vec<&str> {
        let turns = self.shared.turns();
        let away = self.shared.all.iter().zip(turns.iter()).filter(|(_, turn)| turn.pause > NOTICED);
        away.map(|(server, _)| &*server.http.url).collect()
    }

    /// The servers' names of the model.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.shared.all.iter().map(|server| &*server.card.model)
    }

    /// Addresses of the servers with the folder or hub id that each was started with, where it says so.
    pub fn roots(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.shared.all.iter();
        all.filter_map(|server| Some((&*server.http.url, server.card.root.as_deref()?)))
    }

    /// The address of a server whose tokenizer makes other ids of `text`, if one says so.
    pub fn other_tokenizer(&self, text: &str, ids: &[u32]) -> Option<&str> {
        let other = |server: &&Server| {
            let theirs = server.token_ids(text);
            !theirs.is_empty() && theirs.iter().all(|theirs| theirs != ids)
        };
        self.shared.all.iter().find(other).map(|server| &*server.http.url)
    }

    /// Makes a version current: requests that are sent from now on are answered by it. A server is given it with the first
    /// of them. The folder belongs to the servers from here on: it is removed once the version is no longer current and no
    /// request needs it.
    pub fn publish(&self, version: Version) {
        let version = Arc::new(version);
        *self.shared.current.write().unwrap_or_else(|e| e.into_inner()) = Some(Arc::clone(&version));
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        // Held here alone: neither current nor a request's.
        let (idle, needed) = kept.drain(..).partition(|old| Arc::strong_count(old) == 1);
        *kept = needed;
        kept.push(version);
        self.retire(idle);
    }

    fn retire(&self, versions: Vec<Arc<Version>>) {
        for version in versions {
            for (at, server) in self.shared.all.iter().enumerate() {
                if self.shared.turns()[at].ready <= Instant::now() {
                    server.retire(&version);
                }
            }
            // Files that stay behind harm nobody.
            let _ = std::fs::remove_dir_all(&version.dir);
        }
    }

    /// Starts to ask for completions.
    ///
    /// # Errors
    /// Sampling numbers that make no sense, an empty prompt, a prompt and a budget of tokens that a server would cut.
    pub fn start(&self, job: Job) -> Result<Running, Error> {
        job.how.check()?;
        let (most, budget) = (self.max_len(), job.how.max_tokens);
        for request in &job.requests {
            let n = request.prompt.len();
            if n == 0 || budget == 0 {
                return Err(Error::input("expected a prompt and a budget of at least one token"));
            }
            if n.saturating_add(budget) > most {
                return Err(Error::input(format!(
                    "a prompt of {n} tokens and a budget of {budget}: the server takes {most} together (--max-model-len)"
                )));
            }
        }
        let workers = self.shared.settings.concurrency.saturating_mul(self.shared.all.len());
        Running::start(&self.shared, job, workers)
    }
}

impl Drop for Servers {
    /// Removes the versions' folders, and the adapters of servers that are there.
    fn drop(&mut self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(|e| e.into_inner()));
        self.retire(kept);
    }
}

impl Shared {
    fn turns(&self) -> MutexGuard<'_, Vec<Turn>> {
        self.turns.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The server that is asked next, where it has room: of those that are not left alone the one with the fewest requests.
    fn enter(&self, halt: &AtomicBool) -> Option<usize> {
        let mut turns = self.turns();
        while !halt.load(Ordering::SeqCst) {
            let now = Instant::now();
            let free = |turn: &Turn| turn.ready <= now && turn.in_flight < self.settings.concurrency;
            let next = turns.iter().enumerate().filter(|(_, turn)| free(turn));
            if let Some((at, _)) = next.min_by_key(|(_, turn)| turn.in_flight) {
                turns[at].in_flight += 1;
                return Some(at);
            }
            turns = self.freed.wait_timeout(turns, LOOK).unwrap_or_else(|e| e.into_inner()).0;
        }
        None
    }

    /// The answer to one request; nothing where `halt` was set.
    pub(crate) fn answer(&self, ask: &Ask<'_>, halt: &AtomicBool) -> Option<Result<Answer, Error>> {
        let mut failing: Option<Instant> = None;
        loop {
            let at = self.enter(halt)?;
            let version = self.current.read().unwrap_or_else(|e| e.into_inner()).clone();
            let server = &self.all[at];
            let outcome = server.complete(ask, version.as_deref());
            self.turns()[at].back(matches!(outcome, Err(Failure::Away(..))));
            self.freed.notify_all();
            match outcome {
                Ok(completion) => return Some(Ok(Answer { completion, step: version.map(|v| v.step) })),
                Err(Failure::Refused(why)) => return Some(Err(server.error(&why))),
                Err(Failure::Away(_, why)) => {
                    let since = failing.get_or_insert_with(Instant::now);
                    if since.elapsed() > self.settings.patience {
                        return Some(Err(away(&server.http.url, &why)));
                    }
                }
            }
        }
    }
}

/// Nobody answered: not the user's input.
fn away(url: &str, why: &str) -> Error {
    Error::io(url, std::io::Error::new(std::io::ErrorKind::TimedOut, why.to_owned()))
}
