//! Checkpoint folders of Hugging Face: `config.json`, `generation_config.json`, `tokenizer.json`, weights.
//!
//! Checkpoints are untrusted: every size is checked against the file before anything is allocated.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;

use crate::chat::{special_token, tokenizer_config};
use crate::stored::{Loaded, WeightFiles};
use crate::text::last_id;
use crate::{ChatTemplate, Config, Dtype, Error, Qwen, Text};

/// A checkpoint folder whose configuration is read and whose weights are not.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    /// Sizes and switches.
    pub config: Config,
    /// Tokens that end a completion: those of `generation_config.json`, else of `config.json`.
    pub stop_ids: Vec<u32>,
    /// What a user should know: settings without effect, stop ids or a tokenizer's ids beyond the vocabulary.
    pub warnings: Vec<String>,
    /// Sampling settings of `generation_config.json` that are not implemented here, such as penalties.
    pub not_applied: Vec<String>,
}

/// Settings of `generation_config.json` that `transformers` applies and this crate does not, with the value
/// that changes nothing.
const NOT_APPLIED: [(&str, f64); 4] = [
    ("repetition_penalty", 1.0),
    ("no_repeat_ngram_size", 0.0),
    ("encoder_repetition_penalty", 1.0),
    ("typical_p", 1.0),
];

/// Above any real JSON or template beside a checkpoint; a tokenizer has some ten megabytes.
const MAX_TEXT: u64 = 1 << 28;

/// Reads a file of text that is not absurdly large.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !meta.is_file() || meta.len() > MAX_TEXT {
        return Err(Error::at(path, format!("expected a regular file of at most {MAX_TEXT} bytes")));
    }
    std::fs::read_to_string(path).map_err(|e| Error::io(path, e))
}

/// Reads a file of JSON.
pub(crate) fn read_json(path: &Path) -> Result<Value, Error> {
    serde_json::from_str(&read(path)?).map_err(|e| Error::at(path, e))
}

impl Checkpoint {
    /// Opens a folder and reads its configuration.
    ///
    /// # Errors
    /// A missing folder or file, or a configuration that is not implemented; the message names file and field.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        if !dir.is_dir() {
            return Err(Error::at(dir, "no such folder, expected a Hugging Face checkpoint folder"));
        }
        let path = dir.join("config.json");
        if !path.exists() && dir.join("adapter_config.json").exists() {
            return Err(Error::at(
                dir,
                "an adapter, expected the folder of the model beside which it is applied (`--adapter` or `adapter = …` \
                 gives the adapter)",
            ));
        }
        if !path.exists() {
            return Err(Error::at(dir, "has no config.json, expected a Hugging Face checkpoint folder"));
        }
        let config = Config::parse(&read(&path)?).map_err(|e| Error::at(&path, e))?;
        let mut warnings = config.warnings.clone();
        let generation = dir.join("generation_config.json");
        let generation = if generation.exists() { read_json(&generation)? } else { Value::Null };
        let listed = match &generation["eos_token_id"] {
            Value::Null => &config.raw["eos_token_id"],
            listed => listed,
        };
        let ids: Vec<u64> = match listed {
            Value::Array(ids) => ids.iter().filter_map(Value::as_u64).collect(),
            other => other.as_u64().into_iter().collect(),
        };
        let not_applied = NOT_APPLIED.iter().filter_map(|(name, neutral)| {
            let asked = &generation[*name];
            (!asked.is_null() && asked.as_f64() != Some(*neutral)).then(|| format!("{name} {asked}"))
        });
        let not_applied = not_applied.collect();
        let (known, unknown): (Vec<u64>, Vec<u64>) =
            ids.into_iter().partition(|&id| id < config.vocab as u64);
        if !unknown.is_empty() {
            warnings.push(format!(
                "stop ids {unknown:?} are outside the vocabulary of {} and are ignored",
                config.vocab
            ));
        }
        // More rows than ids is usual (padding), and fine.
        if let Some(last) = last_id(&dir.join("tokenizer.json"))
            && last >= config.vocab as u64
        {
            warnings.push(format!(
                "tokenizer.json has ids up to {last}, the model has {} rows: texts that need ids beyond are refused",
                config.vocab
            ));
        }
        let stop_ids = known.into_iter().map(|id| id as u32).collect();
        Ok(Self { dir: dir.to_owned(), config, stop_ids, warnings, not_applied })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// No `tokenizer.json`, or one that cannot be read.
    pub fn text(&self) -> Result<Text, Error> {
        Text::open(&self.dir.join("tokenizer.json"))
    }

    /// The token that ends a text: `eos_token` of `tokenizer_config.json`, else the first `eos_token_id` of
    /// `config.json`, else the first stop id.
    ///
    /// # Errors
    /// A `tokenizer_config.json` that cannot be read; an `eos_token` that the tokenizer has not.
    pub fn end_id(&self, text: &Text) -> Result<Option<u32>, Error> {
        let path = self.dir.join("tokenizer_config.json");
        let config = tokenizer_config(&self.dir)?;
        let token = special_token(&config, "eos_token").map_err(|e| Error::at(&path, e))?;
        if !token.is_empty() {
            let missing =
                || Error::at(&path, format!("`eos_token` is {token:?}, which tokenizer.json has not"));
            return text.id(token).map(Some).ok_or_else(missing);
        }
        let listed = &self.config.raw["eos_token_id"];
        let id = listed.get(0).unwrap_or(listed).as_u64().filter(|&id| id < self.config.vocab as u64);
        Ok(id.map(|id| id as u32).or(self.stop_ids.first().copied()))
    }

    /// The chat template, from `chat_template.jinja` or `tokenizer_config.json`.
    ///
    /// # Errors
    /// No template, or one that cannot be parsed.
    pub fn chat_template(&self) -> Result<ChatTemplate, Error> {
        ChatTemplate::open(&self.dir)
    }

    /// Loads the weights, all of which must be finite.
    ///
    /// # Errors
    /// A missing or truncated file, a missing tensor or one of another shape, a value that `dtype` cannot hold,
    /// NaN or infinity; the message names file and tensor.
    pub fn load(&self, dtype: Dtype, device: &Device) -> Result<Qwen, Error> {
        let Loaded { model, not_finite, .. } = self.read_weights(dtype, device)?;
        not_finite.map_or(Ok(model), |why| Err(Error::at(&self.dir, why)))
    }

    /// Loads the weights as they are, with warnings: tensors with NaN or infinity, F64 weights that were rounded,
    /// an output projection that is not the embedding though `config.json` ties them.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for values that are not finite in the file.
    pub fn load_as_is(&self, dtype: Dtype, device: &Device) -> Result<(Qwen, Vec<String>), Error> {
        let Loaded { model, not_finite, mut warnings } = self.read_weights(dtype, device)?;
        warnings.extend(not_finite);
        Ok((model, warnings))
    }

    fn read_weights(&self, dtype: Dtype, device: &Device) -> Result<Loaded, Error> {
        WeightFiles::open(&self.dir)?.load(&self.config, dtype, device)
    }
}
