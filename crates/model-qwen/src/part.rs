//! Rows in work in one cache, each at its own place in its own completion.

use std::ops::Range;

use burn::tensor::Tensor;
use hooks::{Batch, Hook, Rows};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::sample::{Choice, choose_all};
use crate::{Completion, Error, KvCache, Pass, Qwen, Request, Sampling};

/// Some of the requests of a generation, and their cache.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    model: &'a Qwen,
    /// All of the generation.
    requests: &'a [Request],
    how: &'a Sampling,
    /// Requests of this part that wait.
    pub(crate) waiting: Range<usize>,
    /// In the order of their slots.
    pub(crate) rows: Vec<Row>,
    slots: usize,
    cache: KvCache,
    /// Tokens of the longest prompt: rows join with the cache at least this long.
    longest: usize,
    prompts: Option<Prompts>,
}

/// A row in work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) request: usize,
    /// Where it begins in the cache.
    first: usize,
    rng: ChaCha8Rng,
    pub(crate) so_far: Completion,
}

/// The prompts that were run last, all ending at the same position.
#[derive(Debug)]
pub(crate) struct Prompts {
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

impl<'a> Part<'a> {
    /// The requests `waiting`, of which `slots` are in work at a time, in a cache whose first row ends at `longest`.
    pub(crate) fn new(
        (model, requests, how): (&'a Qwen, &'a [Request], &'a Sampling),
        waiting: Range<usize>,
        slots: usize,
        (cache, longest): (KvCache, usize),
    ) -> Self {
        Self { model, requests, how, waiting, rows: Vec::new(), slots, cache, longest, prompts: None }
    }

    /// The rows of the last `n` slots.
    pub(crate) fn last(&self, n: usize) -> std::slice::Iter<'_, Row> {
        self.rows[self.rows.len() - n..].iter()
    }

    /// Whether a request waits for a slot that is free.
    pub(crate) fn has_room(&self) -> bool {
        self.rows.len() < self.slots && !self.waiting.is_empty()
    }

    /// Puts waiting requests into the free slots, the last ones; returns their first tokens.
    pub(crate) fn fill(&mut self, hook: &mut dyn Hook) -> Result<Vec<Choice>, Error> {
        let mut first = Vec::new();
        while self.has_room() {
            let at = self.join(hook)?;
            if let (Some(row), Some(prompts)) = (self.rows.last_mut(), &self.prompts) {
                first.extend(choose_all(prompts.logits(at), self.how, vec![&mut row.rng]));
            }
        }
        Ok(first)
    }

    /// The next token of each row.
    pub(crate) fn decode(&mut self, hook: &mut dyn Hook) -> Result<Vec<Choice>, Error> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let last = |row: &Row| row.so_far.ids.last().copied().unwrap_or_default();
        let tokens: Vec<u32> = self.rows.iter().map(last).collect();
        self.make_room();
        let first: Vec<usize> = self.rows.iter().map(|row| row.first).collect();
        let origins = self.rows.iter().map(|row| self.requests[row.request].origin).collect();
        let batch = Batch::step(&tokens, &first).rows(Rows::Last).with_origins(origins);
        let logits = self.model.forward(&batch, Pass::new(hook).cached(&mut self.cache));
        let rngs = self.rows.iter_mut().map(|row| &mut row.rng).collect();
        Ok(choose_all(of_rows(logits), self.how, rngs))
    }

    /// Takes the row of `slot` out of work.
    pub(crate) fn leave(&mut self, slot: usize) -> Row {
        let row = self.rows.swap_remove(slot);
        if slot < self.rows.len() {
            self.cache.copy_row(self.rows.len(), slot);
        }
        row
    }

    /// Makes a row of the next request, in the last slot, after its prompt was run; returns which of the prompts it has.
    fn join(&mut self, hook: &mut dyn Hook) -> Result<usize, Error> {
        let request = &self.requests[self.waiting.start];
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
        self.rows.push(Row { request: self.waiting.start, first, rng, so_far });
        self.waiting.start += 1;
        self.prompts = Some(prompts);
        Ok(at)
    }

    /// The next request, and others that may be run with it: for as many rows as are free, with little padding.
    fn together(&self) -> Vec<usize> {
        let mut group = vec![self.waiting.start];
        // Few tokens are multiplied in another order than many, and other devices have orders of their own.
        let alone = |request: &Request| request.prompt.len() <= kernels::FEW;
        if !kernels::is_cpu(&self.model.device()) || alone(&self.requests[self.waiting.start]) {
            return group;
        }
        let mut longest = self.requests[self.waiting.start].prompt.len();
        let mut tokens = longest;
        for (at, request) in
            self.requests.iter().enumerate().take(self.waiting.end).skip(self.waiting.start + 1)
        {
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
