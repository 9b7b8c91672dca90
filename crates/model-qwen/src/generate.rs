//! Batched generation with a key-value cache, seeded per request, under a hook.
//!
//! Prompts of different lengths are padded on the left; a finished row leaves the batch. Input and output are
//! token ids.

use burn::tensor::Tensor;
use hooks::{Batch, Hook, Rows};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::sample::choose;
use crate::{Error, KvCache, Pass, Qwen, Sampling};

/// One prompt and the random stream that its completion draws from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// Which of the seed's streams to use: the same stream gives the same draws in any batch.
    pub stream: u64,
    /// Which of the caller's prompts this is, for hooks that treat prompts differently
    /// ([`Batch::origins`]).
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

/// Generates a completion for each request, all in one batch, under `hook`.
///
/// `watch(row, token)` is called with each token as it is chosen, for streaming and stop strings
/// ([`StopStrings`](crate::StopStrings)); it returns a [`Next`], or `false` to end all rows.
///
/// # Errors
/// No requests, an empty prompt, a token beyond the vocabulary, sampling numbers that make no sense.
pub fn generate<N: Into<Next>>(
    model: &Qwen,
    requests: &[Request],
    how: &Sampling,
    hook: &mut dyn Hook,
    mut watch: impl FnMut(usize, u32) -> N,
) -> Result<Vec<Completion>, Error> {
    how.check()?;
    let prompts: Vec<Vec<u32>> = requests.iter().map(|r| r.prompt.clone()).collect();
    let origins = |rows: &[usize]| rows.iter().map(|&row| requests[row].origin).collect::<Vec<_>>();
    let mut live: Vec<usize> = (0..requests.len()).collect();
    let batch = Batch::left_padded(&prompts)?.rows(Rows::Last).with_origins(origins(&live));
    model.check(&batch)?;
    let mut rngs: Vec<ChaCha8Rng> = requests
        .iter()
        .map(|r| {
            let mut rng = ChaCha8Rng::seed_from_u64(how.seed);
            rng.set_stream(r.stream);
            rng
        })
        .collect();
    let empty = Completion {
        ids: Vec::new(),
        logprobs: Vec::new(),
        sampling_logprobs: Vec::new(),
        finish: Finish::Length,
    };
    let mut done = vec![empty; requests.len()];
    let mut first: Vec<usize> = batch.first().to_vec();
    let mut cache = KvCache::new(model.config.n_layers, batch.seq().saturating_add(how.max_tokens.max(1)));
    if how.max_tokens == 0 {
        return Ok(done);
    }
    let mut logits = model.forward(&batch, Pass::new(hook).cached(&mut cache));
    loop {
        let chosen = rows_of(logits)
            .iter()
            .zip(&live)
            .map(|(row, &at)| choose(row, how, &mut rngs[at]))
            .collect::<Vec<_>>();
        let (mut kept, mut go_on) = (Vec::new(), true);
        for (row, (choice, &at)) in chosen.iter().zip(&live).enumerate() {
            let completion = &mut done[at];
            if !choice.model.is_finite() {
                return Err(Error::input(format!(
                    "row {at}: after {} new tokens the logits are NaN or infinite; check the weights",
                    completion.ids.len()
                )));
            }
            completion.ids.push(choice.token);
            completion.logprobs.push(choice.model);
            completion.sampling_logprobs.push(choice.sampling);
            let next = watch(at, choice.token).into();
            go_on &= next != Next::EndAll;
            if how.stop_ids.contains(&choice.token) {
                completion.finish = Finish::Eos;
            } else if next == Next::EndRow {
                completion.finish = Finish::Stop;
            } else if completion.ids.len() < how.max_tokens {
                kept.push(row);
            }
        }
        if kept.is_empty() || !go_on {
            return Ok(done);
        }
        let tokens: Vec<u32> = kept.iter().map(|&row| chosen[row].token).collect();
        if kept.len() < live.len() {
            cache.select(&kept);
            live = kept.iter().map(|&row| live[row]).collect();
            first = kept.iter().map(|&row| first[row]).collect();
        }
        let step = Batch::step(&tokens, &first).rows(Rows::Last).with_origins(origins(&live));
        logits = model.forward(&step, Pass::new(hook).cached(&mut cache));
    }
}

/// Logits `[batch, 1, vocab]` on the host.
fn rows_of(logits: Tensor<3>) -> Vec<Vec<f32>> {
    let [_, _, vocab] = logits.dims();
    let flat: Vec<f32> = logits.into_data().try_to_vec().unwrap_or_default();
    flat.chunks(vocab).map(<[f32]>::to_vec).collect()
}
