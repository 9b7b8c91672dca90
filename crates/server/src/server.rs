//! One server: the versions that it has, and a completion by the one that is asked for.

use std::collections::BTreeSet;
use std::sync::{Mutex, RwLock, RwLockReadGuard};

use common::Error;
use model_qwen::Completion;
use serde_json::json;

use crate::http::{Failure, Http};
use crate::protocol::{Ask, Card, Kind};
use crate::version::{Form, LOADING, Version, load_adapter, load_weights, unload_adapter, weights_version};

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) http: Http,
    pub(crate) card: Card,
    /// Names of adapters that it was given. Held while one is loaded.
    adapters: Mutex<BTreeSet<String>>,
    /// Name of the weights that it was given. Read-locked by requests, so that weights change between them.
    weights: RwLock<Option<String>>,
}

impl Server {
    pub(crate) fn new(http: Http, card: Card) -> Self {
        Self { http, card, adapters: Mutex::default(), weights: RwLock::default() }
    }

    /// Asks what a server is.
    pub(crate) fn card(http: &Http) -> Result<Card, Failure> {
        let mut card = Card::read(&http.get("/v1/models")?).map_err(Failure::Refused)?;
        match card.kind {
            Kind::Vllm => {
                // With VLLM_SERVER_DEV_MODE=1.
                let info = http.get("/server_info?config_format=json").ok();
                let mode =
                    info.as_ref().and_then(|i| i["vllm_config"]["model_config"]["logprobs_mode"].as_str());
                card.at_temperature = mode.map(|mode| mode.starts_with("processed"));
            }
            Kind::Sglang => {
                card.root =
                    http.get("/model_info").ok().and_then(|i| Some(i["model_path"].as_str()?.to_owned()));
                // Unless it was started with SGLANG_RETURN_ORIGINAL_LOGPROB, of which it says nothing.
                card.at_temperature = Some(true);
            }
        }
        Ok(card)
    }

    /// A completion by `version`, or by the model as it was served. What the server lacks of it is loaded first: after a
    /// restart it lacks all.
    pub(crate) fn complete(&self, ask: &Ask<'_>, version: Option<&Version>) -> Result<Completion, Failure> {
        match version {
            None => {
                self.give("", || self.check_base())?;
                self.ask(ask, None)
            }
            Some(version) if version.form == Form::Adapter => {
                self.give(&version.name, || {
                    self.check_base()?;
                    load_adapter(&self.http, &self.card, version)
                })?;
                match self.ask(ask, Some(&version.name)) {
                    Err(Failure::Refused(why)) if why.contains(&version.name) => {
                        adapters(&self.adapters).remove(&version.name);
                        Err(Failure::Away(None, why))
                    }
                    other => other,
                }
            }
            Some(version) => {
                let held = self.give_weights(version)?;
                let completion = self.ask(ask, None)?;
                let has = weights_version(&self.http, &self.card)?;
                drop(held);
                if has != version.name {
                    *self.weights.write().unwrap_or_else(|e| e.into_inner()) = None;
                    return Err(Failure::Away(None, format!("has weights {has}, not {}", version.name)));
                }
                Ok(completion)
            }
        }
    }

    /// The ids that its tokenizer makes of `text`, with and without what it puts before each; none where it does not say.
    pub(crate) fn token_ids(&self, text: &str) -> Vec<Vec<u32>> {
        let ids = |special: bool| {
            let body = json!({ "model": self.card.model, "prompt": text, "add_special_tokens": special });
            let said = self.http.post("/tokenize", &body).ok()?;
            serde_json::from_value(said["tokens"].clone()).ok()
        };
        [false, true].into_iter().filter_map(ids).collect()
    }

    fn ask(&self, ask: &Ask<'_>, adapter: Option<&str>) -> Result<Completion, Failure> {
        ask.read(&self.http.post("/v1/completions", &ask.body(&self.card, adapter))?)
    }

    /// Gives the server an adapter, or nothing by an empty name, once.
    fn give(&self, name: &str, how: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        let mut has = adapters(&self.adapters);
        if !has.contains(name) {
            how()?;
            has.insert(name.to_owned());
        }
        Ok(())
    }

    /// Refuses a server that still has whole weights of a run: they are not the model that it was started with. One that
    /// does not say its version cannot be given any.
    fn check_base(&self) -> Result<(), Failure> {
        match weights_version(&self.http, &self.card) {
            Ok(name) if name == LOADING || name.starts_with("step-") => Err(Failure::Refused(format!(
                "has the weights {name} of a run that trained whole weights, expected the model that it was started with: \
                 start it again"
            ))),
            _ => Ok(()),
        }
    }

    /// The lock under which the server has these weights.
    fn give_weights(&self, version: &Version) -> Result<RwLockReadGuard<'_, Option<String>>, Failure> {
        loop {
            let has = self.weights.read().unwrap_or_else(|e| e.into_inner());
            if has.as_ref() == Some(&version.name) {
                return Ok(has);
            }
            drop(has);
            let mut has = self.weights.write().unwrap_or_else(|e| e.into_inner());
            if has.as_ref() != Some(&version.name) {
                *has = None;
                load_weights(&self.http, &self.card, version)?;
                *has = Some(version.name.clone());
            }
        }
    }

    /// Takes an adapter off a server that has it.
    pub(crate) fn retire(&self, version: &Version) {
        if adapters(&self.adapters).remove(&version.name) {
            unload_adapter(&self.http, &self.card, version);
        }
    }

    /// An error that names the server.
    pub(crate) fn error(&self, why: &str) -> Error {
        Error::input(format!("{}: {why}", self.http.url))
    }
}

/// The names, whatever happened to a thread that held them.
fn adapters(names: &Mutex<BTreeSet<String>>) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    names.lock().unwrap_or_else(|e| e.into_inner())
}
