//! Which form a row has: from its columns, or from the columns that the caller names.

use posttrain::rows::Fields;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// The columns that examples are made of. Where none is named they are found by the names that data sets
/// commonly have; where one is named, only the named ones are used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Columns {
    /// A prompt: a text or a list of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What follows it and is trained: a text or a list of messages; with `instruction`, a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// A text that is trained whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A conversation, whose assistant messages are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// Alpaca's instruction, with the column `input` where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// The factor of the loss of a row's tokens, a number from 0; a row of weight 0 is left out. `weight` where not
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
}

/// A row's content by form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// Token ids; masks and labels are still among the fields.
    Tokens(Value),
    /// Trained whole.
    Text(Value),
    /// A prompt and what follows it, each a text or a list of messages.
    Completion(Value, Value),
    /// A conversation.
    Chat(Value),
    /// `{"instruction", "input"?, "output"}` (Taori et al. 2023).
    Alpaca(Value, Value, Value),
}

/// The names that the columns of a form commonly have.
const COMMON: [&[&str]; 8] = [
    &["input_ids"],
    &["messages"],
    &["conversations"],
    &["text"],
    &["prompt", "completion"],
    &["problem", "solution"],
    &["question", "answer"],
    &["instruction", "output"],
];

/// What can be chosen.
const CHOICES: &str = "prompt with completion, instruction with completion (Alpaca's form: instruction = \"instruction\", completion = \
     \"output\"), text, or messages";

/// Columns that other trainers give a meaning which would change the loss; they are refused where nothing
/// reads them.
const REFUSED: [&str; 21] = [
    "labels",
    "completion_mask",
    "assistant_masks",
    "assistant_mask",
    "attention_mask",
    "loss_mask",
    "position_ids",
    "seq_lengths",
    "tools",
    "chat_template_kwargs",
    "chat_template",
    "weights",
    "sample_weight",
    "images",
    "image",
    "videos",
    "audios",
    "system",
    "history",
    "chosen",
    "rejected",
];

impl Columns {
    /// Takes a row's weight out of its fields; 1 where it has none.
    pub(crate) fn weight(&self, fields: &mut Fields) -> Result<f32, Error> {
        let name = self.weight.as_deref().unwrap_or("weight");
        match (fields.remove(name).filter(|v| !v.is_null()), &self.weight) {
            (None, None) => Ok(1.0),
            (None, Some(_)) => {
                Err(Error::input(format!("has no column `{name}`, which data.columns.weight names")))
            }
            (Some(value), _) => {
                let number = value.as_f64().map(|w| w as f32).filter(|w| w.is_finite() && *w >= 0.0);
                number.ok_or_else(|| Error::input(format!("`{name}` is {value}, expected a number from 0")))
            }
        }
    }

    /// Takes the columns of a row's form out of its fields.
    pub(crate) fn form(&self, fields: &mut Fields) -> Result<Form, Error> {
        let mut take = |name: &str| fields.remove(name).filter(|v| !v.is_null()).map(text_of);
        let named = |column: &Option<String>, key: &str, take: &mut dyn FnMut(&str) -> Option<Value>| {
            let Some(column) = column else { return Ok(None) };
            let missing =
                || Error::input(format!("has no column `{column}`, which data.columns.{key} names"));
            take(column).map(Some).ok_or_else(missing)
        };
        let Self { prompt, completion, text, messages, instruction, weight: _ } = self;
        match (prompt, completion, text, messages, instruction) {
            (None, None, None, None, None) => {}
            (Some(_), Some(_), None, None, None) => {
                let prompt = named(prompt, "prompt", &mut take)?.unwrap_or_default();
                let completion = named(completion, "completion", &mut take)?.unwrap_or_default();
                return Ok(Form::Completion(prompt, completion));
            }
            (None, Some(_), None, None, Some(_)) => {
                let instruction = named(instruction, "instruction", &mut take)?.unwrap_or_default();
                let output = named(completion, "completion", &mut take)?.unwrap_or_default();
                return Ok(Form::Alpaca(instruction, take("input").unwrap_or_default(), output));
            }
            (None, None, Some(_), None, None) => {
                return Ok(Form::Text(named(text, "text", &mut take)?.unwrap_or_default()));
            }
            (None, None, None, Some(_), None) => {
                return Ok(Form::Chat(named(messages, "messages", &mut take)?.unwrap_or_default()));
            }
            _ => return Err(Error::input(format!("data.columns: expected {CHOICES}"))),
        }
        let has = |name: &&str| fields.get(*name).is_some_and(|v| !v.is_null());
        let found: Vec<&[&str]> = COMMON.into_iter().filter(|names| names.iter().all(has)).collect();
        let listed =
            |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" and ");
        let names = match found[..] {
            [one] => one,
            [] => {
                let known: Vec<String> = COMMON.iter().map(|names| listed(names)).collect();
                let null = |names: &&&[&str]| names.iter().all(|name| fields.contains_key(*name));
                if let Some(names) = COMMON.iter().find(null) {
                    let empty =
                        names.iter().find(|name| fields[**name].is_null()).copied().unwrap_or_default();
                    return Err(Error::input(format!(
                        "`{empty}` is null, expected a value as in {}",
                        listed(names)
                    )));
                }
                return Err(Error::input(format!(
                    "has the columns {}, expected {}, or other names by data.columns",
                    listed(&fields.keys().map(String::as_str).collect::<Vec<_>>()),
                    known.join(", or ")
                )));
            }
            [first, second, ..] => {
                return Err(Error::input(format!(
                    "has {} as well as {}: choose by data.columns, {CHOICES}",
                    listed(first),
                    listed(second)
                )));
            }
        };
        let mut take = |name: &str| fields.remove(name).map_or(Value::Null, text_of);
        Ok(match names {
            ["input_ids"] => Form::Tokens(take("input_ids")),
            ["text"] => Form::Text(take("text")),
            ["instruction", output] => {
                let instruction = take("instruction");
                Form::Alpaca(instruction, take("input"), take(output))
            }
            [prompt, completion] => {
                let prompt = take(prompt);
                Form::Completion(prompt, take(completion))
            }
            [chat, ..] => Form::Chat(take(chat)),
            [] => unreachable!("every form has a column"),
        })
    }
}

/// A whole number as its digits: `{"completion": 2}`. Other numbers can be written in more than one way.
fn text_of(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_i64() || n.is_u64() => n.to_string().into(),
        other => other,
    }
}

/// Refuses what is left of a row and would change the loss; returns the names of the rest.
pub(crate) fn left(fields: &Fields) -> Result<impl Iterator<Item = &String>, Error> {
    let given = |name: &&&str| fields.get(**name).is_some_and(|v| !v.is_null());
    match REFUSED.iter().find(given) {
        Some(name) => {
            Err(Error::input(format!("column `{name}` has no meaning for this kind of row: leave it out")))
        }
        None => Ok(fields.iter().filter(|(_, v)| !v.is_null()).map(|(name, _)| name)),
    }
}
