//! Problems that GRPO is run on: rows with a prompt, as a text or as messages, and an answer.

use std::collections::BTreeSet;
use std::path::Path;

use common::Error;
use model_qwen::{ChatTemplate, Text};
use posttrain::chat::{Conversation, Seen};
use posttrain::rows::{Fields, read_rows};
use posttrain_sft::Truncation;
use serde_json::Value;

use super::sections::DataSection;
use crate::options::Result;

/// A prompt and the answer that completions are graded against.
#[derive(Debug)]
pub(super) struct Problem {
    /// Token ids.
    pub(super) prompt: Vec<u32>,
    pub(super) answer: String,
    /// Whether the grader can read the answer. Where it cannot, completions are not judged.
    pub(super) readable: bool,
}

/// What [`read`] made of a file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) all: Vec<Problem>,
    /// Prompts cut to `data.max_length`.
    pub(super) cut: usize,
    /// Prompts left out as longer than that.
    pub(super) dropped: usize,
    /// Columns that nothing reads.
    pub(super) unused: BTreeSet<String>,
}

/// Common names of the two columns.
const PROMPTS: [&str; 3] = ["prompt", "problem", "question"];
const ANSWERS: [&str; 3] = ["answer", "ground_truth", "solution"];

/// Reads a file of problems.
pub(super) fn read(
    path: &Path,
    data: &DataSection,
    text: &Text,
    template: Option<&ChatTemplate>,
) -> Result<Problems> {
    let (mut problems, mut seen) = (Problems::default(), Seen::default());
    for row in read_rows(path)? {
        let mut fields = row.fields;
        let mut one = || -> Result<Option<Problem>> {
            let prompt = take(&mut fields, &data.columns.prompt, &PROMPTS, "prompt")?;
            let answer = answer(&take(&mut fields, &data.columns.answer, &ANSWERS, "answer")?)?;
            let ids = match prompt {
                Value::String(prompt) => text.encode(&prompt)?,
                messages => {
                    let template = template.ok_or_else(|| {
                        Error::input("prompt is messages, and the model has no chat template")
                    })?;
                    let chat = Conversation::new(&messages).map_err(|e| e.within("prompt"))?;
                    let chat = chat.with_fields(&mut fields)?;
                    chat.check(template, &mut seen).map_err(|e| e.within("prompt"))?;
                    text.encode_raw(&chat.render(template, chat.messages.len(), true)?)?
                }
            };
            if ids.is_empty() {
                return Err(Error::input("the prompt is empty"));
            }
            let Some(prompt) = fit(ids, data, &mut problems)? else { return Ok(None) };
            let boxed = format!("\\boxed{{{answer}}}");
            let readable = [&boxed, &answer].into_iter().any(|pred| math_grade::grade(&answer, pred).correct);
            Ok(Some(Problem { prompt, answer, readable }))
        };
        let made = one().map_err(|e| e.within(&row.place).within(path.display()))?;
        problems.all.extend(made);
        let left = fields.iter().filter(|(name, value)| *name != "id" && !value.is_null());
        problems.unused.extend(left.map(|(name, _)| name.clone()));
    }
    problems.unused.append(&mut seen.unused);
    if problems.all.is_empty() {
        return Err(Error::at(path, "every prompt is longer than data.max_length"));
    }
    Ok(problems)
}

/// Takes a column: the named one, or the one of the common names that the row has. Two that differ are refused.
fn take(fields: &mut Fields, named: &Option<String>, common: &[&str], what: &str) -> Result<Value> {
    if let Some(name) = named {
        let missing = || Error::input(format!("has no column `{name}`, which data.columns.{what} names"));
        return fields.remove(name).filter(|v| !v.is_null()).ok_or_else(missing);
    }
    let here = common.iter().copied().filter(|name| fields.get(*name).is_some_and(|v| !v.is_null()));
    // A solution beside an answer is its derivation.
    let here: Vec<&str> = here.take(if what == "answer" { 1 } else { common.len() }).collect();
    let Some(&first) = here.first() else {
        let expected = common[0];
        return Err(Error::input(format!(
            "has no {what}: expected a column `{expected}`, or data.columns.{what}"
        )));
    };
    if let Some(other) = here.iter().find(|name| fields.get(**name) != fields.get(first)) {
        return Err(Error::input(format!("`{first}` and `{other}` differ: choose by data.columns.{what}")));
    }
    let value = fields.get(first).cloned().unwrap_or_default();
    here.iter().for_each(|name| drop(fields.remove(*name)));
    Ok(value)
}

/// An answer as a text; numbers are written as in JSON.
fn answer(value: &Value) -> Result<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => {
            Err(Error::input("the answer is empty, so that nothing could be judged"))
        }
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(Error::input(format!("the answer is {other}, expected a text or a number"))),
    }
}

/// A prompt of at most `data.max_length` tokens, cut or left out as `data.truncation` says; an error where that
/// is not given.
fn fit(mut ids: Vec<u32>, data: &DataSection, problems: &mut Problems) -> Result<Option<Vec<u32>>> {
    let n = ids.len();
    let Some(max) = data.max_length.filter(|&max| n > max) else { return Ok(Some(ids)) };
    match data.truncation.unwrap_or(Truncation::Error) {
        Truncation::KeepStart => ids.truncate(max),
        Truncation::KeepEnd => drop(ids.drain(..n - max)),
        Truncation::Drop => {
            problems.dropped += 1;
            return Ok(None);
        }
        Truncation::Error => {
            return Err(Error::input(format!(
                "the prompt has {n} tokens, expected at most data.max_length = {max}, or data.truncation"
            )));
        }
    }
    problems.cut += 1;
    Ok(Some(ids))
}
