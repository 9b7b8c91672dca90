//! A model answers the problems of a run: samples that are missing are made, graded and appended one by one.

use bench_math::{FinishReason, PendingSample, Run, Sample};
use common::Error;
use hooks::Hook;
use model_qwen::{Completion, Finish, Generation, Next, Qwen, Request, Sampling, StopStrings, Text};

/// What [`answer`] asks a model: the samples that a run lacks, with their prompts.
#[derive(Debug)]
pub struct Asked {
    /// The samples; those of a problem follow each other, so that they share the run of its prompt.
    pub pending: Vec<PendingSample>,
    /// Their prompts, in the same order.
    pub requests: Vec<Request>,
}

impl Asked {
    /// The samples that `run` lacks. `ids` makes the token ids of each prompt.
    ///
    /// # Errors
    /// Those of `ids`.
    pub fn new(
        run: &Run,
        mut ids: impl FnMut(&PendingSample) -> Result<Vec<u32>, Error>,
    ) -> Result<Self, Error> {
        let mut pending = run.pending();
        pending.sort_by_key(|request| request.problem);
        let request = |r: &PendingSample| Ok(Request { prompt: ids(r)?, stream: r.seed, origin: r.problem });
        let requests = pending.iter().map(request).collect::<Result<_, Error>>()?;
        Ok(Self { pending, requests })
    }
}

/// How texts are read, and where completions end.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The model's tokenizer.
    pub text: &'a Text,
    /// Strings that end a completion.
    pub stops: &'a [&'a str],
    /// Sampling.
    pub how: &'a Sampling,
}

impl Reading<'_> {
    /// A completion as a run's sample.
    ///
    /// # Errors
    /// Ids that the tokenizer cannot decode.
    pub fn sample(&self, completion: Completion) -> Result<Sample, Error> {
        let finish = match completion.finish {
            Finish::Eos => FinishReason::Eos,
            Finish::Length => FinishReason::Length,
            Finish::Stop => FinishReason::Stop,
        };
        Ok(Sample { completion: self.text.decode(&completion.ids)?, ids: completion.ids, finish })
    }
}

/// Looks on while a model answers.
pub trait Watcher {
    /// Whether to end: asked at every token. The samples in work are lost.
    fn stop(&self) -> bool {
        false
    }

    /// Sample number `at` of [`Asked`] is done, after `tokens` tokens with its prompt.
    ///
    /// # Errors
    /// What ends the work.
    fn done(&mut self, at: usize, tokens: usize) -> Result<(), Error> {
        let _ = (at, tokens);
        Ok(())
    }
}

impl Watcher for () {}

/// Makes the samples, under `hook`. Returns whether all were made: `false` where the watcher ended it.
///
/// # Errors
/// Prompts that the model refuses; logits that are not finite; a text that cannot be decoded; a file that cannot be
/// written.
pub fn answer(
    asked: &Asked,
    reading: &Reading<'_>,
    (model, hook): (&Qwen, &mut dyn Hook),
    run: &mut Run,
    watcher: &mut dyn Watcher,
) -> Result<bool, Error> {
    let Asked { pending, requests } = asked;
    let mut stopped = StopStrings::new(reading.text, reading.stops, requests.len());
    let mut generation = Generation::new(model, requests, reading.how)?;
    while !generation.is_done() {
        let mut watch = |row, token| if watcher.stop() { Next::EndAll } else { stopped.push(row, token) };
        let ended = generation.step(hook, &mut watch)?;
        // After a stop they are cut short, and so they are where a text cannot be decoded.
        if watcher.stop() {
            return Ok(false);
        }
        if generation.was_ended() {
            break;
        }
        for (row, completion) in ended {
            watcher.done(row, requests[row].prompt.len() + completion.ids.len())?;
            run.append(&pending[row], reading.sample(completion)?)?;
        }
    }
    stopped.into_result()?;
    Ok(true)
}
