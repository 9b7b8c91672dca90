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

/// The name of a model in the folder or hub id that a server was started with: without the folders before it.
fn name_of(root: &str) -> &str {
    let whole = root.trim_end_matches('/');
    let cached = whole.rsplit_once("/snapshots/").and_then(|(before, _)| before.rsplit_once("models--"));
    match cached {
        Some((_, id)) => id.rsplit_once("--").map_or(id, |(_, name)| name),
        None => whole.rsplit_once('/').map_or(whole, |(_, name)| name),
    }
}

/// What a run is of: the servers' names of the model, and the tokenizer that makes its prompts. Warns where servers were
/// started with a model of another name than MODEL.
pub(crate) fn subject(
    common: &Common,
    servers: &Servers,
    checkpoint: &Checkpoint,
) -> Result<BTreeMap<String, String>> {
    let mut names: Vec<&str> = servers.models().collect();
    names.dedup();
    let [name] = names[..] else {
        return Err(Error::input(format!("--server: they serve {}, expected one model", names.join(", "))));
    };
    let tokenizer = tokenizer_hash(checkpoint.dir())?;
    let mut of =
        BTreeMap::from([("served".to_owned(), name.to_owned()), ("tokenizer".to_owned(), tokenizer)]);
    let roots: Vec<(&str, &str)> = servers.roots().collect();
    let Some(&(url, root)) = roots.first() else { return Ok(of) };
    if let Some((other, second)) = roots.iter().find(|(_, second)| name_of(second) != name_of(root)) {
        return Err(Error::input(format!(
            "--server: {url} serves {root}, and {other} serves {second}, expected one model"
        )));
    }
    let dir = std::fs::canonicalize(checkpoint.dir()).unwrap_or_else(|_| checkpoint.dir().to_owned());
    if name_of(&dir.to_string_lossy()) != name_of(root) {
        common.warn(format!(
            "--server: {url} serves {root}, and MODEL, whose tokenizer and templates are used, is {}",
            dir.display()
        ))?;
    }
    of.insert("root".to_owned(), name_of(root).to_owned());
    Ok(of)
}

/// Has the samples made, as [`study::answer::answer`] makes them: whether all were made.
pub(crate) fn answer(
    asked: &Asked,
    reading: &Reading<'_>,
    servers: &Servers,
    run: &mut Run,
    watcher: &mut dyn Watcher,
) -> Result<bool> {
    if let (Some(sample), Some(request)) = (asked.pending.first(), asked.requests.first())
        && let text = reading.text.decode_all(&request.prompt)?
        && let Some(url) = servers.other_tokenizer(&text, &reading.text.encode_raw(&text)?)
    {
        return Err(Error::input(format!(
            "--server: the tokenizer of {url} makes other ids than MODEL's of the prompt of problem {}: it serves another model",
            sample.id
        )));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_its_name_wherever_it_lies() {
        for root in [
            "Qwen/Qwen2.5-7B",
            "/data/models/Qwen2.5-7B/",
            "Qwen2.5-7B",
            "hub/models--Qwen--Qwen2.5-7B/snapshots/0a1b2c",
        ] {
            assert_eq!(name_of(root), "Qwen2.5-7B", "{root}");
        }
    }
}
