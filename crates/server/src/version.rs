//! A version of the policy, and how a server comes to have it.

use std::path::{Path, PathBuf};

use common::Error;
use serde_json::json;

use crate::http::{Failure, Http};
use crate::protocol::{Card, Kind};

/// What is in a version's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// PEFT's files: servers hold several at once, by name.
    Adapter,
    /// A whole model, which takes the place of the one before.
    Weights,
}

/// Weights after some number of updates, in a folder that the servers see at the same path.
///
/// Its name is made of the files' contents. So a name is one set of weights for ever: vLLM keeps the keys and values of
/// prompts by an adapter's name and path, and loading other weights under the same name would use those again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) step: usize,
    pub(crate) form: Form,
}

impl Version {
    /// The adapter in PEFT's folder `dir`, of the policy after `step` updates.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn adapter(dir: &Path, step: usize) -> Result<Self, Error> {
        Self::new(dir, step, Form::Adapter)
    }

    /// The whole model in the folder `dir`, of the policy after `step` updates.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn weights(dir: &Path, step: usize) -> Result<Self, Error> {
        Self::new(dir, step, Form::Weights)
    }

    fn new(dir: &Path, step: usize, form: Form) -> Result<Self, Error> {
        let dir = dir.canonicalize().map_err(|e| Error::io(dir, e))?;
        let wanted = |name: &str| name.ends_with(".safetensors") || name == "adapter_config.json";
        let hash = common::folder_hash(&dir, wanted)?;
        Ok(Self { name: format!("step-{step}-{}", &hash[..12]), dir, step, form })
    }
}

/// What a server has while weights are loaded.
pub(crate) const LOADING: &str = "loading";

/// Loads an adapter. One that is there already is the same, since names are of contents.
pub(crate) fn load_adapter(http: &Http, card: &Card, version: &Version) -> Result<(), Failure> {
    let body = json!({ "lora_name": version.name, "lora_path": version.dir });
    let path = match card.kind {
        Kind::Vllm => "/v1/load_lora_adapter",
        Kind::Sglang => "/load_lora_adapter",
    };
    match once(http, path, &body) {
        Err(Failure::Refused(why)) if why.contains("already") => Ok(()),
        Err(Failure::Refused(why)) => Err(Failure::Refused(format!(
            "{why} (expected a server that loads adapters while it runs, of this rank, and that sees {})",
            version.dir.display()
        ))),
        other => other,
    }
}

/// Unloads an adapter; a server that cannot is left with one too many.
pub(crate) fn unload_adapter(http: &Http, card: &Card, version: &Version) {
    let path = match card.kind {
        Kind::Vllm => "/v1/unload_lora_adapter",
        Kind::Sglang => "/unload_lora_adapter",
    };
    let _ = http.post(path, &json!({ "lora_name": version.name }));
}

/// Replaces the weights of a server that nobody asks in the meantime. The version is unknown while it is loaded, so that a
/// server which stops half-way does not say that it has either.
pub(crate) fn load_weights(http: &Http, card: &Card, version: &Version) -> Result<(), Failure> {
    let refused = |why| {
        Failure::Refused(format!(
            "reloading weights: {why} (expected VLLM_SERVER_DEV_MODE=1 with vLLM, and a server that sees {})",
            version.dir.display()
        ))
    };
    let done = match card.kind {
        Kind::Sglang => {
            let body =
                json!({ "model_path": version.dir, "flush_cache": true, "weight_version": version.name });
            once(http, "/update_weights_from_disk", &body)
        }
        Kind::Vllm => {
            let reload = json!({ "method": "reload_weights", "kwargs": { "weights_path": version.dir } });
            let named = |name: &str| json!({ "new_version": name });
            once(http, "/pause?mode=wait", &json!({})).and_then(|()| {
                let steps = [
                    ("/update_weight_version", named(LOADING)),
                    ("/collective_rpc", reload),
                    ("/reset_prefix_cache", json!({})),
                    ("/update_weight_version", named(&version.name)),
                ];
                let loaded = steps.iter().try_for_each(|(path, body)| once(http, path, body));
                once(http, "/resume", &json!({})).and(loaded)
            })
        }
    };
    done.map_err(|e| match e {
        Failure::Refused(why) => refused(why),
        away => away,
    })
}

/// The version of the weights that a server says it has.
pub(crate) fn weights_version(http: &Http, card: &Card) -> Result<String, Failure> {
    let path = match card.kind {
        Kind::Vllm => "/weight_info",
        Kind::Sglang => "/model_info",
    };
    let said = http.get(path)?;
    let version = said["weight_version"].as_str();
    version.map(str::to_owned).ok_or_else(|| Failure::Refused(format!("{path}: no weight_version in {said}")))
}

/// A request that is no use to repeat where the server answers that it failed.
fn once(http: &Http, path: &str, body: &serde_json::Value) -> Result<(), Failure> {
    match http.post(path, body) {
        Ok(said) if said["success"] == false => Err(Failure::Refused(format!("{path}: {said}"))),
        Err(Failure::Away(Some(500), why) | Failure::Refused(why)) => {
            Err(Failure::Refused(format!("{path}: {why}")))
        }
        other => other.map(drop),
    }
}
