//! `sparks eval --server`: a benchmark is answered by vLLM or SGLang.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use bench_math::Run;
use common::Error;
use model_qwen::{Checkpoint, StopStrings, tokenizer_hash};
use server::{Job, Servers, Settings};
use study::answer::{Asked, Reading, Watcher};

use crate::interventions::Heads;
use crate::options::{Common, Result};

/// The flags of servers.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Address of a vLLM or SGLang server that answers in place of MODEL, whose folder then needs no weights; may be given
    /// several times.
    #[arg(long, value_name = "URL", action = clap::ArgAction::Append)]
    server: Vec<String>,
    /// Seconds that a request to a server may take (default 600).
    #[arg(long, value_name = "SECONDS", requires = "server")]
    server_timeout: Option<f64>,
    /// Seconds for which servers that do not answer are tried again (default 600).
    #[arg(long, value_name = "SECONDS", requires = "server")]
    server_patience: Option<f64>,
}

impl Args {
    /// The servers, where some are given; `batch` requests are in flight at each.
    pub(crate) fn open(&self, common: &Common, heads: &Heads, batch: usize) -> Result<Option<Servers>> {
        if self.server.is_empty() {
            return Ok(None);
        }
        let interventions = heads.described()?;
        if !interventions.is_empty() {
            return Err(Error::input(format!(
                "{interventions}: a server runs the model as it is and lets nobody at its heads; expected no --server"
            )));
        }
        common.without_computing("--server: the server computes, so")?;
        let mut settings = Settings { concurrency: batch, ..Settings::new(self.server.clone()) };
        let given = [
            ("--server-timeout", self.server_timeout, &mut settings.timeout, 0.001),
            ("--server-patience", self.server_patience, &mut settings.patience, 0.0),
        ];
        for (name, seconds, place, least) in given {
            let Some(seconds) = seconds else { continue };
            if !(least..=1e9).contains(&seconds) {
                return Err(Error::input(format!("{name}: {seconds}, expected {least} seconds or more")));
            }
            *place = Duration::from_secs_f64(seconds);
        }
        let told = Told::new(common, settings.patience.as_secs_f64());
        let no_stop = || {
            told.away(&[]);
            false
        };
        Servers::open(settings, &no_stop).map(Some).map_err(|e| e.within("--server"))
    }
}

/// Says once that servers are waited for.
pub(crate) struct Told<'a> {
    common: &'a Common,
    patience: f64,
    told: Cell<bool>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(common: &'a Common, patience: f64) -> Self {
        Self { common, patience, told: Cell::new(false) }
    }

    /// `urls` do not answer; with none of them, servers do not that were asked for the first time.
    pub(crate) fn away(&self, urls: &[&str]) {
        if !self.told.replace(true) {
            let who = if urls.is_empty() { "a server".to_owned() } else { urls.join(", ") };
            self.common
                .note(format!("{who} does not answer: asked again for up to {} seconds", self.patience));
        }
    }
}

/// What a run is of: the servers' name of the model, and the tokenizer that makes its prompts.
pub(crate) fn subject(servers: &Servers, checkpoint: &Checkpoint) -> Result<BTreeMap<String, String>> {
    let mut names: Vec<&str> = servers.models().collect();
    names.dedup();
    let [name] = names[..] else {
        return Err(Error::input(format!("--server: they serve {}, expected one model", names.join(", "))));
    };
    let tokenizer = tokenizer_hash(checkpoint.dir())?;
    Ok(BTreeMap::from([("served".to_owned(), name.to_owned()), ("tokenizer".to_owned(), tokenizer)]))
}

/// Has the samples made, as [`study::answer::answer`] makes them: whether all were made.
pub(crate) fn answer(
    asked: &Asked,
    reading: &Reading<'_>,
    servers: &Servers,
    run: &mut Run,
    watcher: &mut dyn Watcher,
) -> Result<bool> {
    let (most, budget) = (servers.max_len(), reading.how.max_tokens);
    for (sample, request) in asked.pending.iter().zip(&asked.requests) {
        let n = request.prompt.len();
        if n.saturating_add(budget) > most {
            return Err(Error::input(format!(
                "problem {}: its prompt has {n} tokens, and --max-tokens is {budget}: the server takes {most} together \
                 (--max-model-len)",
                sample.id
            )));
        }
    }
    let stops = reading.stops.iter().map(|&stop| stop.to_owned()).collect();
    let job = Job { requests: asked.requests.clone(), how: reading.how.clone(), stops };
    let mut running = servers.start(job)?;
    while let Some((at, answer)) = running.next(&|| watcher.stop())? {
        let mut completion = answer.completion;
        StopStrings::trim(reading.text, reading.stops, &mut completion)?;
        watcher.done(at, asked.requests[at].prompt.len() + completion.ids.len())?;
        run.append(&asked.pending[at], reading.sample(completion)?)?;
    }
    Ok(running.is_done())
}
