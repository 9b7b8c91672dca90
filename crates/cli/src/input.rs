//! Input files: rows of token ids or texts (`forward`, `generate`, `lens`), and pairs of prompts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bench_math::Row;
use common::Error;
use hooks::{Batch, Encode, IdsOnly, Metric, Pairs, PairsReader, Positions};
use model_qwen::{Checkpoint, Qwen, Text};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::near::misspelt;
use crate::options::{Common, Result, text};

/// The fields of a file of token ids.
const FIELDS: [&str; 2] = ["input_ids", "attention_mask"];

/// Rows of token ids with an optional attention mask.
pub(crate) struct Input {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Option<Vec<Vec<u8>>>,
    /// Whether the file holds texts.
    pub(crate) of_texts: bool,
    path: PathBuf,
}

impl Input {
    /// JSON `{"input_ids": …, "attention_mask"?: …}`, safetensors with those tensors, or JSONL of `{"text"}`.
    pub(crate) fn read(common: &Common, path: &Path, checkpoint: &Checkpoint) -> Result<Self> {
        Self::read_with(common, path, checkpoint, |text| tokenizer(checkpoint)?.encode(text))
    }

    /// As [`read`](Self::read), with texts encoded by `encode`.
    pub(crate) fn read_with(
        common: &Common,
        path: &Path,
        checkpoint: &Checkpoint,
        encode: impl Fn(&str) -> Result<Vec<u32>>,
    ) -> Result<Self> {
        let at = |what: String| Error::input(format!("{}: {what}", path.display()));
        let (mut of_texts, mut mask) = (false, None);
        let mut unread = BTreeSet::new();
        let ids: Vec<Vec<i64>>;
        if path.extension().is_some_and(|e| e == "safetensors") {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            (ids, mask) = tensors(&bytes, &mut unread).map_err(at)?;
        } else {
            let content = common::read_text(path)?;
            of_texts = path.extension().is_some_and(|e| e == "jsonl")
                || content.trim_start().starts_with("{\"text\"");
            if of_texts {
                let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
                let rows = lines.map(|(n, line)| {
                    let bad = |e: Error| Error::line(path, n + 1, e);
                    let row = Row::parse(line).map_err(bad)?;
                    unread.extend(row.fields.keys().filter(|name| *name != "text").cloned());
                    let ids = encode(&row.text("text").map_err(bad)?)?;
                    Ok(ids.into_iter().map(i64::from).collect())
                });
                ids = rows.collect::<Result<_>>()?;
            } else {
                let value: Value = serde_json::from_str(&content).map_err(|e| at(e.to_string()))?;
                let known = |name: &&String| FIELDS.contains(&name.as_str());
                unread.extend(
                    value.as_object().into_iter().flat_map(|o| o.keys()).filter(|n| !known(n)).cloned(),
                );
                ids = numbers(&value, "input_ids").map_err(at)?;
                if !value["attention_mask"].is_null() {
                    mask = Some(numbers(&value, "attention_mask").map_err(at)?);
                }
            }
        }
        let id = |x: &i64| u32::try_from(*x).map_err(|_| at(format!("input_ids: {x}, expected ids from 0")));
        let bit = |x: &i64| match x {
            0 | 1 => Ok(*x as u8),
            _ => Err(at(format!("attention_mask: {x}, expected 0 or 1"))),
        };
        let ids = ids.iter().map(|row| row.iter().map(id).collect::<Result<Vec<u32>>>());
        let mask = mask.map(|mask| mask.iter().map(|row| row.iter().map(bit).collect()).collect());
        let mut input = Self {
            input_ids: ids.collect::<Result<_>>()?,
            attention_mask: mask.transpose()?,
            of_texts,
            path: path.to_owned(),
        };
        input.pad();
        if !of_texts {
            for name in &unread {
                if let Some(meant) = misspelt(name, FIELDS) {
                    return Err(at(format!("`{name}`: no such field, the nearest known is `{meant}`")));
                }
            }
        }
        common.warn_unread(path, &unread.into_iter().collect::<Vec<_>>())?;
        let longest = input.input_ids.iter().map(Vec::len).max().unwrap_or(0);
        common.warn_positions(path.display(), longest, checkpoint)?;
        Ok(input)
    }

    /// Pads ragged rows whose mask has the same ragged lengths, as tokenizers write them, to one length.
    fn pad(&mut self) {
        let Some(mask) = &mut self.attention_mask else { return };
        let seq = self.input_ids.iter().map(Vec::len).max().unwrap_or(0);
        if self.input_ids.iter().map(Vec::len).eq(mask.iter().map(Vec::len)) {
            for (ids, mask) in self.input_ids.iter_mut().zip(mask) {
                ids.resize(seq, ids.last().copied().unwrap_or(0));
                mask.resize(seq, 0);
            }
        }
    }

    /// The rows as a batch, padded on the right where they are ragged.
    pub(crate) fn batch(&self) -> Result<Batch> {
        let batch = match &self.attention_mask {
            Some(mask) => Batch::masked(&self.input_ids, mask),
            None => Batch::new(&self.input_ids),
        };
        batch.map_err(|e| e.within(self.path.display()))
    }

    /// The real tokens of each row, all below `vocab`.
    pub(crate) fn prompts(&self, vocab: usize) -> Result<Vec<Vec<u32>>> {
        let batch = self.batch()?;
        let rows = batch.ids().chunks(batch.seq()).zip(batch.first().iter().zip(batch.end()));
        let rows: Vec<Vec<u32>> = rows.map(|(row, (&first, &end))| row[first..end].to_vec()).collect();
        for (row, ids) in rows.iter().enumerate() {
            if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
                return Err(Error::input(format!(
                    "{}: input_ids: row {row} has token {id}, expected ids below the vocabulary size {vocab}",
                    self.path.display()
                )));
            }
        }
        Ok(rows)
    }
}

/// `[[…], …]` of whole numbers, or of truth values, in a field of a JSON object.
fn numbers(value: &Value, field: &str) -> std::result::Result<Vec<Vec<i64>>, String> {
    let expected = || format!("expected {{\"{field}\": [[…], …]}}, rows of whole numbers");
    let number = |x: &Value| x.as_i64().or(x.as_bool().map(i64::from)).ok_or_else(expected);
    let row = |row: &Value| row.as_array().ok_or_else(expected)?.iter().map(number).collect();
    value[field].as_array().ok_or_else(expected)?.iter().map(row).collect()
}

/// `input_ids` and `attention_mask` of a safetensors file.
#[allow(clippy::type_complexity)]
fn tensors(
    bytes: &[u8],
    unread: &mut BTreeSet<String>,
) -> std::result::Result<(Vec<Vec<i64>>, Option<Vec<Vec<i64>>>), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let rows = |name: &str| -> std::result::Result<Vec<Vec<i64>>, String> {
        let view = file.tensor(name).map_err(|e| e.to_string())?;
        let &[_, seq] = view.shape() else {
            return Err(format!("`{name}` has shape {:?}, expected [batch, seq]", view.shape()));
        };
        let data = view.data();
        let values: Vec<i64> = match view.dtype() {
            Dtype::I64 => data.chunks_exact(8).map(|b| i64::from_le_bytes(array(b))).collect(),
            Dtype::I32 => data.chunks_exact(4).map(|b| i64::from(i32::from_le_bytes(array(b)))).collect(),
            Dtype::U32 => data.chunks_exact(4).map(|b| i64::from(u32::from_le_bytes(array(b)))).collect(),
            Dtype::I16 => data.chunks_exact(2).map(|b| i64::from(i16::from_le_bytes(array(b)))).collect(),
            Dtype::U8 | Dtype::BOOL => data.iter().map(|&b| i64::from(b)).collect(),
            other => return Err(format!("`{name}` is {other:?}, expected I64, I32, U32 or I16")),
        };
        Ok(values.chunks(seq.max(1)).map(<[i64]>::to_vec).collect())
    };
    let known = |name: &&&str| FIELDS.contains(*name);
    unread.extend(file.names().iter().filter(|name| !known(name)).map(|name| (*name).to_owned()));
    let mask = file.names().contains(&"attention_mask").then(|| rows("attention_mask")).transpose()?;
    Ok((rows("input_ids")?, mask))
}

/// The rows of a file as a batch that `model` can run.
pub(crate) fn checked_batch(
    common: &Common,
    path: &Path,
    checkpoint: &Checkpoint,
    model: &Qwen,
) -> Result<Batch> {
    let batch = Input::read(common, path, checkpoint)?.batch()?;
    model.check(&batch).map_err(|e| e.within(path.display()))?;
    Ok(batch)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// The tokenizer, for text input.
pub(crate) fn tokenizer(checkpoint: &Checkpoint) -> Result<Text> {
    text(checkpoint)?.ok_or_else(|| Error::at(checkpoint.dir(), "no tokenizer.json, which text input needs"))
}

/// Reads a pairs file and checks it against the model's vocabulary, and for the metric that is read of it, with its
/// positions.
pub(crate) fn pairs(
    common: &Common,
    path: &Path,
    checkpoint: &Checkpoint,
    read: Option<(&Metric, Positions)>,
) -> Result<Pairs> {
    let positions = read.map_or(Positions::Last, |(_, positions)| positions);
    let text = text(checkpoint)?;
    let encode: &dyn Encode = match &text {
        Some(text) => text,
        None => &IdsOnly,
    };
    let pairs = PairsReader::new(encode).positions(positions).read(path)?;
    pairs
        .check_vocab(checkpoint.config.vocab)
        .and_then(|()| {
            pairs.iter().try_for_each(|pair| read.map_or(Ok(()), |(metric, _)| metric.check_pair(pair)))
        })
        .map_err(|e| e.within(path.display()))?;
    let longest = pairs.iter().map(|pair| pair.clean.len()).max().unwrap_or(0);
    common.warn_positions(path.display(), longest, checkpoint)?;
    for warning in read.map_or_else(|| pairs.warnings(), |(metric, _)| pairs.warnings_for(metric)) {
        common.warn(format!("{}: {warning}", path.display()))?;
    }
    Ok(pairs)
}
