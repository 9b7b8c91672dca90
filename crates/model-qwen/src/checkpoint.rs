//! Checkpoint folders of Hugging Face, opened and described: `config.json`, `tokenizer.json`, weights.
//! Reading weights is in `stored.rs`, writing in `save.rs`.
//!
//! Checkpoints are untrusted: every size is checked against the file before anything is allocated.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;

use crate::stored::{Loader, WeightFiles};
use crate::text::last_id;
use crate::{ChatTemplate, Config, Error, Qwen, Text};

/// How weights are held in memory. Activations are f32 in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// Single precision, the reference.
    #[default]
    F32,
    /// Matrices in bfloat16: half the memory.
    Bf16,
    /// Matrices in half precision.
    F16,
}

impl Dtype {
    /// Bytes of one weight.
    pub fn bytes(self) -> u64 {
        if self == Dtype::F32 { 4 } else { 2 }
    }
}

impl std::str::FromStr for Dtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "f32" => Ok(Dtype::F32),
            "bf16" => Ok(Dtype::Bf16),
            "f16" => Ok(Dtype::F16),
            other => Err(Error::input(format!("dtype `{other}`: expected f32, bf16 or f16"))),
        }
    }
}

/// A checkpoint folder, opened and described but not loaded.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    /// Sizes and switches.
    pub config: Config,
    /// Tokens that end a completion: those of `generation_config.json`, else of `config.json`.
    pub stop_ids: Vec<u32>,
    /// What a user should know: stop ids or a tokenizer's ids beyond the vocabulary.
    pub warnings: Vec<String>,
    /// What `generation_config.json` asks of sampling and is not done here, in words: penalties and the like.
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
    let meta = std::fs::metadata(path).map_err(|e| Error::at(path, e))?;
    if !meta.is_file() || meta.len() > MAX_TEXT {
        return Err(Error::at(path, format!("expected a regular file of at most {MAX_TEXT} bytes")));
    }
    std::fs::read_to_string(path).map_err(|e| Error::at(path, e))
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
        let config = Config::parse(&read(&path)?).map_err(|e| Error::at(&path, e))?;
        let mut warnings = Vec::new();
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
    /// A missing or truncated file, a missing tensor or one of another shape, NaN or infinity; the message
    /// names it.
    pub fn load(&self, dtype: Dtype, device: &Device) -> Result<Qwen, Error> {
        match self.load_as_is(dtype, device)? {
            (model, None) => Ok(model),
            (_, Some(warning)) => Err(Error::at(&self.dir, warning)),
        }
    }

    /// Loads the weights as they are, with a warning that names tensors with NaN or infinity.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for values that are not finite.
    pub fn load_as_is(&self, dtype: Dtype, device: &Device) -> Result<(Qwen, Option<String>), Error> {
        let files = WeightFiles::open(&self.dir)?;
        let mut source = Loader::new(&files, dtype, device);
        let mut config = self.config.clone();
        // A file may say that the output projection is the embedding and have another: `transformers` takes
        // what it has.
        if config.tied && files.differ("lm_head.weight", "model.embed_tokens.weight")? {
            config.tied = false;
            config.raw["tie_word_embeddings"] = false.into();
        }
        let model = Qwen::build(config, &mut source)?;
        Ok((model, source.warning()))
    }
}
