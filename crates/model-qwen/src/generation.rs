//! Continuous batching: rows in work at the same time, each at its own place in its own completion.

use std::collections::BTreeMap;

use hooks::{Batch, Hook, HookedModel as _};
use rayon::prelude::*;

use crate::part::{Part, Row};
use crate::sample::Choice;
use crate::{Completion, Error, Finish, KvCache, Next, Qwen, Request, Sampling};

/// A generation in progress. Requests are taken in order; the slot of a finished row is taken by the next request.
///
/// A prompt is run once for neighbouring requests with the same prompt and origin, whose rows begin with copies of its
/// keys and values; on the CPU prompts that find free slots together are run together, padded on the left. Every product
/// of a row is computed in an order that the other rows do not change, so a completion has the same bits in any company,
/// in any slot and for any [`Room`](crate::Room). A hook that wants attention scores or patterns gives up the last bits
/// of that.
///
/// Where a model is so small that its runs are best made at the same time ([`HookedModel::at_once`](hooks::HookedModel)),
/// threads run a part of the rows each, under a [fork](hooks::Hook::fork) of the hook; the bits are the same.
#[derive(Debug)]
pub struct Generation<'a> {
    model: &'a Qwen,
    requests: &'a [Request],
    how: &'a Sampling,
    /// Rows in work at most, and positions of the cache.
    room: (usize, usize),
    longest: usize,
    /// None before the first step.
    parts: Vec<Part<'a>>,
    was_ended: bool,
}

/// Rows of a part at least: a product of fewer is no faster.
const PART: usize = 8;

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
        let room = how.room.slots(requests.len(), longest.saturating_add(how.max_tokens))?;
        Ok(Self { model, requests, how, room, longest, parts: Vec::new(), was_ended: false })
    }

    /// Whether every request has been answered.
    pub fn is_done(&self) -> bool {
        let is_done = |part: &Part<'_>| part.rows.is_empty() && part.waiting.is_empty();
        self.how.max_tokens == 0
            || self.was_ended
            || (!self.parts.is_empty() && self.parts.iter().all(is_done))
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
        if self.is_done() {
            return Ok(ended);
        }
        if self.parts.is_empty() {
            self.part(hook);
        }
        while self.parts.iter().any(Part::has_room) {
            let first = self.each(hook, Part::fill)?;
            if self.take(&first, watch, &mut ended)? {
                return Ok(ended);
            }
        }
        let chosen = self.each(hook, Part::decode)?;
        self.take(&chosen, watch, &mut ended)?;
        Ok(ended)
    }

    /// Shares requests and slots out: to as many parts as there are threads, where that is faster.
    fn part(&mut self, hook: &dyn Hook) {
        let ((slots, positions), n) = (self.room, self.requests.len());
        let apart = if hook.fork().is_some() { self.model.at_once() } else { 1 };
        let parts = apart.min(slots / PART).max(1);
        let share = |of: usize, at: usize| of * at / parts..of * (at + 1) / parts;
        let one = |at: usize| {
            let slots = share(slots, at).len();
            let cache = KvCache::with_slots(self.model.config.n_layers, slots, self.longest, positions);
            Part::new((self.model, self.requests, self.how), share(n, at), slots, (cache, self.longest))
        };
        self.parts = (0..parts).map(one).collect();
    }

    /// What `run` gives for each part, all at the same time where the hook can be forked.
    fn each(
        &mut self,
        hook: &mut dyn Hook,
        run: impl Fn(&mut Part<'a>, &mut dyn Hook) -> Result<Vec<Choice>, Error> + Sync,
    ) -> Result<Vec<Vec<Choice>>, Error> {
        let n = self.parts.len();
        let forks: Option<Vec<_>> = if n == 1 { None } else { (0..n).map(|_| hook.fork()).collect() };
        match forks {
            Some(forks) => {
                self.parts.par_iter_mut().zip(forks).map(|(part, mut hook)| run(part, &mut *hook)).collect()
            }
            None => self.parts.iter_mut().map(|part| run(part, hook)).collect(),
        }
    }

    /// Gives the last rows of each part their tokens, and takes those that end out of work. Returns whether the caller
    /// ended all rows.
    fn take<N: Into<Next>>(
        &mut self,
        chosen: &[Vec<Choice>],
        watch: &mut impl FnMut(usize, u32) -> N,
        ended: &mut BTreeMap<usize, Completion>,
    ) -> Result<bool, Error> {
        self.check(chosen)?;
        for (part, chosen) in self.parts.iter_mut().zip(chosen) {
            let (mut leaving, from) = (Vec::new(), part.rows.len() - chosen.len());
            for (slot, choice) in (from..).zip(chosen) {
                let row = &mut part.rows[slot];
                row.so_far.push(choice);
                let next = watch(row.request, choice.token).into();
                self.was_ended |= next == Next::EndAll;
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
            let gone = leaving.into_iter().rev().map(|slot| part.leave(slot));
            ended.extend(gone.map(|row| (row.request, row.so_far)));
        }
        if self.was_ended {
            for part in &mut self.parts {
                ended.extend(part.rows.drain(..).map(|row| (row.request, row.so_far)));
                ended.extend(part.waiting.clone().map(|request| (request, Completion::empty())));
            }
        }
        Ok(self.was_ended)
    }

    fn check(&self, chosen: &[Vec<Choice>]) -> Result<(), Error> {
        let given =
            self.parts.iter().zip(chosen).flat_map(|(part, chosen)| part.last(chosen.len()).zip(chosen));
        let bad: Vec<&Row> =
            given.filter(|(_, choice)| !choice.model.is_finite()).map(|(row, _)| row).collect();
        let Some(row) = bad.first() else { return Ok(()) };
        let names: Vec<String> = bad.iter().map(|row| row.request.to_string()).collect();
        Err(Error::input(format!(
            "row {}: after {} new tokens the logits are NaN or infinite; check the weights",
            names.join(", "),
            row.so_far.ids.len()
        )))
    }
}
