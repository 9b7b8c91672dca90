//! A run's protocol: what makes samples of one run comparable, and the check that a folder holds one run only.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::problem::Problem;
use crate::prompt::PromptSettings;
use common::{Error, Result};

/// How a suite is given to a model. Runs with equal protocols may be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Template, system prompt, thinking.
    #[serde(flatten)]
    pub prompt: PromptSettings,
    /// Samples of each problem, at least 1.
    pub samples: usize,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f64,
    /// Nucleus sampling threshold, 1 for none.
    pub top_p: f64,
    /// Largest number of tokens of a completion.
    pub max_tokens: usize,
    /// Seed of the run; every sample's own seed is derived from it.
    pub seed: u64,
    /// The model, as named values such as `model` (a hash of its weights), `adapter` and `interventions`. Samples of
    /// two models are never mixed in one run.
    #[serde(default)]
    pub subject: BTreeMap<String, String>,
}

/// What `protocol.json` holds: the protocol, and hashes of the suite.
pub(crate) struct Stored(Map<String, Value>);

const ANSWERS: &str = "suite_answers";

impl Stored {
    pub(crate) fn new(protocol: &Protocol, problems: &[Problem]) -> Result<Self> {
        let hash = |texts: &mut dyn Iterator<Item = [&str; 2]>| {
            let mut hash = Sha256::new();
            for text in texts.flatten() {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            format!("{:x}", hash.finalize())
        };
        let Value::Object(mut all) = serde_json::to_value(protocol).map_err(Error::internal)? else {
            return Err(Error::internal("a protocol is an object"));
        };
        let questions = hash(&mut problems.iter().map(|p| [&*p.id, &*p.problem]));
        all.insert("suite_problems".into(), questions.into());
        all.insert(ANSWERS.into(), hash(&mut problems.iter().map(|p| [&*p.id, &*p.answer])).into());
        Ok(Self(all))
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        common::write_whole(path, self.text()?.as_bytes())
    }

    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = common::read_text(path)?;
        serde_json::from_str(&text).map(Self).map_err(|e| Error::line(path, e.line(), e))
    }

    /// Samples of each problem.
    pub(crate) fn samples(&self) -> usize {
        self.0.get("samples").and_then(Value::as_u64).unwrap_or(0) as usize
    }

    /// What differs from `now`, but for some names, as `name old (now new)`.
    pub(crate) fn differences(&self, now: &Self, but: &[&str]) -> Vec<String> {
        let (begun, now) = (flat(&self.0), flat(&now.0));
        let absent = "(none)".to_owned();
        let names = begun.keys().chain(now.keys().filter(|name| !begun.contains_key(*name)));
        names
            .filter(|name| !but.contains(&name.as_str()) && begun.get(*name) != now.get(*name))
            .map(|name| {
                let of = |all: &BTreeMap<String, String>| all.get(name).unwrap_or(&absent).clone();
                format!("{name} {} (now {})", of(&begun), of(&now))
            })
            .collect()
    }

    /// Compares with the file of a run that has samples. The number of samples may differ; with `other_answers` the
    /// reference answers may.
    ///
    /// # Errors
    /// What differs, as `name old (now new)`.
    pub(crate) fn check(&self, path: &Path, other_answers: bool) -> Result<()> {
        let but: &[&str] = if other_answers { &["samples", ANSWERS] } else { &["samples"] };
        let differ = Self::read(path)?.differences(self, but);
        if differ.is_empty() {
            return Ok(());
        }
        let only_answers = differ.len() == 1 && differ[0].starts_with(ANSWERS);
        let advice = if only_answers { "regrade the run, or name" } else { "name" };
        Err(Error::at(
            path,
            format!(
                "the run in this folder is of something else: {}; {advice} another folder",
                differ.join(", ")
            ),
        ))
    }

    /// The text of the file.
    fn text(&self) -> Result<String> {
        serde_json::to_string_pretty(&self.0).map_err(Error::internal)
    }

    /// Writes the file where there is none; whether it did.
    pub(crate) fn write_new(&self, path: &Path) -> Result<bool> {
        common::write_new(path, self.text()?.as_bytes())
    }
}

/// Names and values for comparison and messages, hashes cut to twelve digits.
fn flat(all: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (name, value) in all {
        match value {
            Value::Object(inner) => out.extend(flat(inner)),
            Value::String(hash) if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                out.insert(name.clone(), hash[..12].to_owned());
            }
            other => {
                out.insert(name.clone(), other.to_string());
            }
        }
    }
    out
}
