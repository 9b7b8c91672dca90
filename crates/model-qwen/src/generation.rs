//! Continuous batching: rows in work at the same time, each at its own place in its own completion.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use hooks::{Batch, Hook, Rows};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::sample::{Choice, choose_all};
use crate::{Completion, Error, Finish, KvCache, Next, Pass, Qwen, Request, Sampling};

/// A generation in progress. Requests are taken in order; the slot of a finished row is taken by the next request.
///
/// A prompt is run once for neighbouring requests with the same prompt and origin, whose rows begin with copies of its
/// keys and values; on the CPU prompts that find free slots together are run together, padded on the left. Every product
/// of a row is computed in an order that the other rows do not change, so a completion has the same bits in any company,
/// in any slot and for any [`Room`](crate::Room). A hook that wants attention scores or patterns gives up the last bits
/// of that.
#[derive(Debug)]
pub struct Generation<'a> {
    model: &'a Qwen,
    requests: &'a [Request],
    how: &'a Sampling,
    /// The next request.
    waiting: usize,
    /// In the order of their slots.
    rows: Vec<Row>,
    slots: usize,
    cache: KvCache,
    /// Tokens of the longest prompt: rows join with the cache at least this long.
    longest: usize,
    prompts: Option<Prompts>,
    was_ended: bool,
}

/// A row in work.
#[derive(Debug)]
struct Row {
    request: usize,
    /// Where it begins in the cache.
    first: usize,
    rng: ChaCha8Rng,
    so_far: Completion,
}

/// The prompts that were run last, all ending at the same position.
#[derive(Debug)]
struct Prompts {
    /// The first request with each of them.
    requests: Vec<usize>,
    cache: KvCache,
    /// A row for each, `[prompts, vocab]`.
    logits: Tensor<2>,
}

impl Prompts {
    /// The prompt of `request`, if it is one of these.
    fn find(&self, requests: &[Request], request: &Request) -> Option<usize> {
        self.requests.iter().position(|&of| is_same(&requests[of], request))
    }

    fn logits(&self, at: usize) -> Tensor<2> {
        let vocab = self.logits.dims()[1];
        self.logits.clone().slice([at..at + 1, 0..vocab])
    }
}

/// Whether two requests begin with copies of one prompt.
fn is_same(a: &Request, b: &Request) -> bool {
    a.prompt == b.prompt && a.origin == b.origin
}

/// Tokens that are run together where several prompts are.
const TOGETHER: usize = 1024;

impl<'a> Generation<'a> {
    /// Completions for `requests`.
    ///
    /// # Errors
    /// No requests, an empty prompt, a token beyond the vocabulary, sampling numbers that make no sense, less room
    /// than one row may need.
    pub fn new(model: &'a Qwen, requests: &'a [Request], how: &'a Sampling) -> Result<Self, Error> {
        how.check()?;
        let prompts: Vec<Vec<u32>> = requests.iter().map(|r| r.prompt.clone()).collect();
        let batch = Batch::left_padded(&prompts)?;
        model.check(&batch)?;
        let longest = batch.seq();
        let (slots, capacity) = how.room.slots(requests.len(), longest.saturating_add(how.max_tokens))?;
        let waiting = if how.max_tokens == 0 { requests.len() } else { 0 };
        let cache = KvCache::with_slots(model.config.n_layers, slots, longest, capacity);
        Ok(Self {
            model,
            requests,
            how,
            waiting,
            rows: Vec::new(),
            slots,
            cache,
            longest,
            prompts: None,
            was_ended: false,
        })
    }

    /// Whether every request has been answered.
    pub fn is_done(&self) -> bool {
        self.rows.is_empty() && self.waiting == self.requests.len()
    }

    /// Whether the caller ended all rows ([`Next::EndAll`]): the last completions are then cut short.
    pub fn was_ended(&self) -> bool {
        self.was_ended
    }

    /// Fills the free slots and gives each row its next token; returns the completions that this ended, by the
    /// number of their request. `watch` is as in [`generate`](crate::generate).
    ///
    /// # Errors
    /// Logits that are NaN or infinite, naming the rows.
    pub fn step<N: Into<Next>>(
        &mut self,
        hook: &mut dyn Hook,
        watch: &mut impl FnMut(usize, u32) -> N,
    ) -> Result<BTreeMap<usize, Completion>, Error> {
        let mut ended = BTreeMap::new();
        while self.rows.len() < self.slots && self.waiting < self.requests.len() {
            let at = self.join(hook)?;
            let first: Vec<Choice> = match (self.rows.last_mut(), &self.prompts) {
                (Some(row), Some(prompts)) => choose_all(prompts.logits(at), self.how, vec![&mut row.rng]),
                _ => Vec::new(),
            };
            if self.take(self.rows.len() - first.len(), &first, watch, &mut ended)? {
                return Ok(ended);
            }
        }
        if self.rows.is_empty() {
            return Ok(ended);
        }
        let last = |row: &Row| row.so_far.ids.last().copied().unwrap_or_default();
        let tokens: Vec<u32> = self.rows.iter().map(last).collect();
        self.make_room();
        let first: Vec<usize> = self.rows.iter().map(|row| row.first).collect();
        let origins = self.rows.iter().map(|row| self.requests[row.request].origin).collect();
        let batch = Batch::step(&tokens, &first).rows(Rows::Last).with_origins(origins);
        let logits = self.model.forward(&batch, Pass::new(hook).cached(&mut self.cache));
        let rngs = self.rows.iter_mut().map(|row| &mut row.rng).collect();
        let chosen = choose_all(of_rows(logits), self.how, rngs);
        self.take(0, &chosen, watch, &mut ended)?;
        Ok(ended)
    }

    /// Makes a row of the next request, in the last slot, after its prompt was run; returns which of the prompts it has.
    fn join(&mut self, hook: &mut dyn Hook) -> Result<usize, Error> {
        let request = &self.requests[self.waiting];
        let held = self.prompts.take().and_then(|held| Some((held.find(self.requests, request)?, held)));
        let (at, prompts) = match held {
            Some(held) => held,
            None => (0, self.run_prompts(hook)?),
        };
        if self.rows.is_empty() {
            self.cache.restart(self.longest);
        }
        self.cache.join(self.rows.len(), &prompts.cache, at, request.prompt.len());
        let mut rng = ChaCha8Rng::seed_from_u64(self.how.seed);
        rng.set_stream(request.stream);
        let so_far = Completion::empty();
        let first = self.cache.len() - request.prompt.len();
        self.rows.push(Row { request: self.waiting, first, rng, so_far });
        self.waiting += 1;
        self.prompts = Some(prompts);
        Ok(at)
    }

    /// The next request, and others that may be run with it: for as many rows as are free, with little padding.
    fn together(&self) -> Vec<usize> {
        let mut group = vec![self.waiting];
        // Few tokens are multiplied in another order than many, and other devices have orders of their own.
        let alone = |request: &Request| request.prompt.len() <= kernels::FEW;
        if !kernels::is_cpu(&self.model.device()) || alone(&self.requests[self.waiting]) {
            return group;
        }
        let mut longest = self.requests[self.waiting].prompt.len();
        let mut tokens = longest;
        for (at, request) in self.requests.iter().enumerate().skip(self.waiting + 1) {
            if group.iter().any(|&of| is_same(&self.requests[of], request)) {
                continue;
            }
            longest = longest.max(request.prompt.len());
            tokens += request.prompt.len();
            let padded = longest * (group.len() + 1);
            let free = group.len() < self.slots - self.rows.len();
            if !free || alone(request) || padded > TOGETHER || 4 * padded > 5 * tokens {
                break;
            }
            group.push(at);
        }
        group
    }

    /// Runs the prompt of the next request, and those of others beside it.
    fn run_prompts(&self, hook: &mut dyn Hook) -> Result<Prompts, Error> {
        let requests = self.together();
        let prompts: Vec<Vec<u32>> = requests.iter().map(|&of| self.requests[of].prompt.clone()).collect();
        let origins = requests.iter().map(|&of| self.requests[of].origin).collect();
        let batch = Batch::left_padded(&prompts)?.rows(Rows::Last).with_origins(origins);
        let mut cache = KvCache::new(self.model.config.n_layers, batch.seq());
        let logits = of_rows(self.model.forward(&batch, Pass::new(hook).cached(&mut cache)));
        Ok(Prompts { requests, cache, logits })
    }

    /// Gives the rows from `from` on their tokens, and takes those that end out of work. Returns whether the caller
    /// ended all rows.
    fn take<N: Into<Next>>(
        &mut self,
        from: usize,
        chosen: &[Choice],
        watch: &mut impl FnMut(usize, u32) -> N,
        ended: &mut BTreeMap<usize, Completion>,
    ) -> Result<bool, Error> {
        self.check(from, chosen)?;
        let (mut end_all, mut leaving) = (false, Vec::new());
        for (slot, choice) in (from..).zip(chosen) {
            let row = &mut self.rows[slot];
            row.so_far.push(choice);
            let next = watch(row.request, choice.token).into();
            end_all |= next == Next::EndAll;
            if self.how.stop_ids.contains(&choice.token) {
                row.so_far.finish = Finish::Eos;
                leaving.push(slot);
            } else if next == Next::EndRow {
                row.so_far.finish = Finish::Stop;
                leaving.push(slot);
            } else if row.so_far.ids.len() >= self.how.max_tokens {
                leaving.push(slot);
            }
        }
        // From the last slot on: the row that fills a gap stays.
        for slot in leaving.into_iter().rev() {
            let row = self.rows.swap_remove(slot);
            if slot < self.rows.len() {
                self.cache.copy_row(self.rows.len(), slot);
            }
            ended.insert(row.request, row.so_far);
        }
        self.was_ended |= end_all;
        if end_all {
            ended.extend(self.rows.drain(..).map(|row| (row.request, row.so_far)));
            let never = self.waiting..self.requests.len();
            ended.extend(never.map(|request| (request, Completion::empty())));
            self.waiting = self.requests.len();
        }
        Ok(end_all)
    }

    fn check(&self, from: usize, chosen: &[Choice]) -> Result<(), Error> {
        let rows = self.rows[from..].iter().zip(chosen).filter(|(_, choice)| !choice.model.is_finite());
        let rows: Vec<&Row> = rows.map(|(row, _)| row).collect();
        let Some(row) = rows.first() else { return Ok(()) };
        let names: Vec<String> = rows.iter().map(|row| row.request.to_string()).collect();
        Err(Error::input(format!(
            "row {}: after {} new tokens the logits are NaN or infinite; check the weights",
            names.join(", "),
            row.so_far.ids.len()
        )))
    }

    /// Moves all rows to the front of the cache where it is full and the front is free.
    fn make_room(&mut self) {
        let free = self.rows.iter().map(|row| row.first).min().unwrap_or(0);
        let moved = self.cache.make_room(free.min(self.cache.len() - self.longest));
        self.rows.iter_mut().for_each(|row| row.first -= moved);
    }
}

/// Logits `[batch, 1, vocab]` as `[batch, vocab]`.
fn of_rows(logits: Tensor<3>) -> Tensor<2> {
    let [batch, _, vocab] = logits.dims();
    logits.reshape([batch, vocab])
}
