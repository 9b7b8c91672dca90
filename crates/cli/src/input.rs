//! Token ids from the files that `forward` and `generate` take, and pairs from theirs.

use std::collections::HashSet;
use std::path::Path;

use hooks::{Batch, Pair, Pairs, Positions};
use model_qwen::{Checkpoint, Qwen, Text};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::common::{Common, Failure, Result, read, text};

/// Rows of token ids with an optional attention mask.
#[derive(Deserialize)]
pub(crate) struct Input {
    pub(crate) input_ids: Vec<Vec<u32>>,
    #[serde(default)]
    attention_mask: Option<Vec<Vec<i64>>>,
}

impl Input {
    /// JSON `{"input_ids": …, "attention_mask"?: …}`, safetensors with those tensors, or JSONL of `{"text"}`.
    pub(crate) fn read(path: &Path, checkpoint: &Checkpoint) -> Result<Self> {
        let at = |what: String| Failure::input(format!("{}: {what}", path.display()));
        if path.extension().is_some_and(|e| e == "safetensors") {
            let bytes = std::fs::read(path).map_err(|e| at(e.to_string()))?;
            return Self::from_safetensors(&bytes).map_err(at);
        }
        let content = read(path)?;
        let lines = content.lines().filter(|l| !l.trim().is_empty());
        if path.extension().is_some_and(|e| e == "jsonl") || content.trim_start().starts_with("{\"text\"") {
            #[derive(Deserialize)]
            struct Line {
                text: String,
            }
            let tokenizer = tokenizer(checkpoint)?;
            let ids = lines.enumerate().map(|(n, line)| {
                let line: Line =
                    serde_json::from_str(line).map_err(|e| at(format!("line {}: {e}", n + 1)))?;
                Ok(tokenizer.encode(&line.text)?)
            });
            return Ok(Self { input_ids: ids.collect::<Result<_>>()?, attention_mask: None });
        }
        serde_json::from_str(&content).map_err(|e| at(format!("{e}; expected {{\"input_ids\": [[…]]}}")))
    }

    fn from_safetensors(bytes: &[u8]) -> std::result::Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let rows = |name: &str| -> std::result::Result<Vec<Vec<i64>>, String> {
            let view = file.tensor(name).map_err(|e| e.to_string())?;
            let &[_, seq] = view.shape() else {
                return Err(format!("`{name}` has shape {:?}, expected [batch, seq]", view.shape()));
            };
            let values: Vec<i64> = match view.dtype() {
                Dtype::I64 => view.data().chunks_exact(8).map(|b| i64::from_le_bytes(array(b))).collect(),
                Dtype::I32 => {
                    view.data().chunks_exact(4).map(|b| i64::from(i32::from_le_bytes(array(b)))).collect()
                }
                Dtype::U8 | Dtype::BOOL => view.data().iter().map(|&b| i64::from(b)).collect(),
                other => return Err(format!("`{name}` is {other:?}, expected I64 or I32")),
            };
            Ok(values.chunks(seq.max(1)).map(<[i64]>::to_vec).collect())
        };
        let ids = rows("input_ids")?;
        let id = |x: i64| u32::try_from(x).map_err(|_| format!("`input_ids` has {x}, expected ids from 0"));
        let input_ids = ids
            .into_iter()
            .map(|row| row.into_iter().map(id).collect())
            .collect::<std::result::Result<_, _>>()?;
        let attention_mask =
            if file.names().contains(&"attention_mask") { Some(rows("attention_mask")?) } else { None };
        Ok(Self { input_ids, attention_mask })
    }

    /// The rows as a batch, padded on the right where they are ragged.
    pub(crate) fn batch(&self) -> Result<Batch> {
        Ok(match &self.attention_mask {
            Some(mask) => {
                let bit = |&m: &i64| match m {
                    0 | 1 => Ok(m as u8),
                    _ => Err(Failure::input(format!("attention_mask: {m}, expected 0 or 1"))),
                };
                let rows = mask.iter().map(|row| row.iter().map(bit).collect::<Result<Vec<u8>>>());
                Batch::masked(&self.input_ids, &rows.collect::<Result<Vec<_>>>()?)?
            }
            None => Batch::new(&self.input_ids)?,
        })
    }

    /// The real tokens of each row.
    pub(crate) fn prompts(&self) -> Result<Vec<Vec<u32>>> {
        let batch = self.batch()?;
        let rows = batch.ids().chunks(batch.seq()).zip(batch.first().iter().zip(batch.end()));
        Ok(rows.map(|(row, (&first, &end))| row[first..end].to_vec()).collect())
    }
}

/// The rows of a file as a batch that `model` can run.
pub(crate) fn checked_batch(path: &Path, checkpoint: &Checkpoint, model: &Qwen) -> Result<Batch> {
    let batch = Input::read(path, checkpoint)?.batch()?;
    model.check(&batch)?;
    Ok(batch)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// The tokenizer, which texts need.
pub(crate) fn tokenizer(checkpoint: &Checkpoint) -> Result<Text> {
    text(checkpoint)?.ok_or_else(|| {
        Failure::input(format!("{}: no tokenizer.json, which text input needs", checkpoint.dir().display()))
    })
}

/// Reads a pairs file and checks it against the model's vocabulary.
pub(crate) fn pairs(common: &Common, path: &Path, checkpoint: &Checkpoint) -> Result<Pairs> {
    pairs_at(common, path, checkpoint, Positions::Last)
}

/// The same for a metric that is read at `positions`.
pub(crate) fn pairs_at(
    common: &Common,
    path: &Path,
    checkpoint: &Checkpoint,
    positions: Positions,
) -> Result<Pairs> {
    let text = text(checkpoint)?;
    let encode = |s: &str, starts: bool| match &text {
        Some(text) => if starts { text.encode(s) } else { text.encode_raw(s) }
            .map_err(|e| hooks::Error::new(e.to_string())),
        None => Err(hooks::Error::new("text in a pairs file needs tokenizer.json beside the model")),
    };
    let pairs = Pairs::read_at(path, positions, encode)?;
    pairs
        .check_vocab(checkpoint.config.vocab)
        .map_err(|e| Failure::input(format!("{}: {e}", path.display())))?;
    let mut ids = HashSet::new();
    let warn = |of: Option<&Pair>, what: &str| {
        if let Some(pair) = of {
            common.note(format!("warning: {}: pair {}: {what}", path.display(), pair.id));
        }
    };
    warn(pairs.iter().find(|pair| !ids.insert(&pair.id)), "not the first of this id");
    warn(pairs.iter().find(|pair| pair.clean == pair.corrupt), "clean and corrupt are the same prompt");
    Ok(pairs)
}
