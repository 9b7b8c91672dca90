//! Batched generation with a key-value cache, seeded per request, under a hook. Input and output are token ids.

use hooks::Hook;

use crate::sample::Choice;
use crate::{Error, Generation, Qwen, Sampling};

/// One prompt and the random stream that its completion draws from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// Which of the seed's streams to use: the same stream gives the same draws in any batch.
    pub stream: u64,
    /// Which of the caller's prompts this is, for hooks that treat prompts differently
    /// ([`hooks::Batch::origins`]).
    pub origin: usize,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// A stop token, which is the completion's last.
    Eos,
    /// The token budget.
    Length,
    /// The caller ended the row, by [`Next::EndRow`]: a stop string.
    Stop,
}

/// What happens after a token, as the caller of [`generate`] decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The row goes on.
    Go,
    /// The row ends with this token ([`Finish::Stop`]).
    EndRow,
    /// All rows end with this token.
    EndAll,
}

impl From<bool> for Next {
    /// `true` goes on, `false` ends all rows.
    fn from(go: bool) -> Self {
        if go { Self::Go } else { Self::EndAll }
    }
}

/// What was generated after one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Token ids, the stop token included.
    pub ids: Vec<u32>,
    /// Natural-log probability of each token under the model.
    pub logprobs: Vec<f32>,
    /// Natural-log probability of each token under the distribution sampled from; 0 where greedy.
    pub sampling_logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

impl Completion {
    /// Nothing generated.
    pub(crate) fn empty() -> Self {
        Self { ids: Vec::new(), logprobs: Vec::new(), sampling_logprobs: Vec::new(), finish: Finish::Length }
    }

    pub(crate) fn push(&mut self, choice: &Choice) {
        self.ids.push(choice.token);
        self.logprobs.push(choice.model);
        self.sampling_logprobs.push(choice.sampling);
    }
}

/// Generates a completion for each request under `hook`, as many at a time as `how.room` says
/// ([`Generation`], which gives completions as they end).
///
/// `watch(row, token)` is called with each token as it is chosen, for streaming and stop strings
/// ([`StopStrings`](crate::StopStrings)); it returns a [`Next`], or `false` to end all rows.
///
/// # Errors
/// As [`Generation::new`] and [`Generation::step`].
pub fn generate<N: Into<Next>>(
    model: &Qwen,
    requests: &[Request],
    how: &Sampling,
    hook: &mut dyn Hook,
    mut watch: impl FnMut(usize, u32) -> N,
) -> Result<Vec<Completion>, Error> {
    let mut generation = Generation::new(model, requests, how)?;
    let mut done = vec![Completion::empty(); requests.len()];
    while !generation.is_done() {
        for (row, completion) in generation.step(hook, &mut watch)? {
            done[row] = completion;
        }
    }
    Ok(done)
}
