//! From a line of JSON to an example.

use model_qwen::{ChatTemplate, Checkpoint, Message, Text};
use serde::Deserialize;

use crate::{Error, Example};

/// The label of a token that is not trained.
const IGNORED: i64 = -100;

/// The forms that a line may have.
#[derive(Debug, Deserialize)]
struct Line {
    id: Option<serde_json::Value>,
    prompt: Option<String>,
    completion: Option<String>,
    text: Option<String>,
    messages: Option<Vec<Message>>,
    input_ids: Option<Vec<u32>>,
    labels: Option<Vec<i64>>,
}

/// Turns texts into tokens; needs no tokenizer where data is tokenised already.
#[derive(Debug, Default)]
pub struct Encoder {
    text: Option<Text>,
    template: Option<ChatTemplate>,
    /// The token put after a completion or a text.
    end: Option<u32>,
}

impl Encoder {
    /// The encoder of a checkpoint: its tokenizer and chat template, where it has them, and its first stop
    /// token.
    ///
    /// # Errors
    /// A tokenizer that is there but cannot be read.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let has_text = checkpoint.dir().join("tokenizer.json").exists();
        let text = if has_text { Some(checkpoint.text()?) } else { None };
        Ok(Self {
            text,
            template: checkpoint.chat_template().ok(),
            end: checkpoint.stop_ids.first().copied(),
        })
    }

    /// An encoder of texts that end with `end`.
    pub fn new(text: Text, end: Option<u32>) -> Self {
        Self { text: Some(text), template: None, end }
    }

    /// The example on one line of a JSONL file; `id` names it where the line does not.
    ///
    /// # Errors
    /// A line of none of the forms, labels that do not fit, no tokenizer for a text.
    pub fn line(&self, line: &str, id: &str) -> Result<Example, Error> {
        let line: Line = serde_json::from_str(line).map_err(|e| Error::input(e.to_string()))?;
        let id = line
            .id
            .as_ref()
            .map_or_else(|| id.to_owned(), |id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        match line {
            Line { input_ids: Some(ids), labels, .. } => tokenised(id, ids, labels),
            Line { prompt: Some(prompt), completion: Some(completion), .. } => {
                self.completion(id, &prompt, &completion)
            }
            Line { messages: Some(messages), .. } => self.messages(id, &messages),
            Line { text: Some(text), .. } => {
                let mut ids = self.tokenizer()?.encode(&text)?;
                ids.extend(self.end);
                Ok(Example::new(id, ids, 0))
            }
            _ => Err(Error::input(
                "expected {\"prompt\",\"completion\"}, {\"text\"}, {\"messages\"} or {\"input_ids\",\"labels\"}",
            )),
        }
    }

    /// A prompt and its completion, each tokenised by itself so that the border is a token's border; the
    /// completion and the stop token after it are trained.
    ///
    /// # Errors
    /// No tokenizer, or a text that it cannot encode.
    pub fn completion(&self, id: String, prompt: &str, completion: &str) -> Result<Example, Error> {
        let text = self.tokenizer()?;
        let mut ids = text.encode(prompt)?;
        let start = ids.len();
        ids.extend(text.encode_raw(completion)?);
        ids.extend(self.end.filter(|end| ids.last() != Some(end)));
        Ok(Example::new(id, ids, start))
    }

    /// A conversation: assistant turns are trained. A turn's tokens are what the template adds to the
    /// conversation so far with its generation prompt; a template that rewrites earlier turns is refused.
    fn messages(&self, id: String, messages: &[Message]) -> Result<Example, Error> {
        let template = self
            .template
            .as_ref()
            .ok_or_else(|| Error::input("`messages`: the model has no chat template"))?;
        let text = self.tokenizer()?;
        let (mut ids, mut trained, mut so_far) = (Vec::new(), Vec::new(), String::new());
        let mut add = |rendered: &str, train: bool, so_far: &mut String| -> Result<(), Error> {
            let new = rendered.strip_prefix(so_far.as_str()).ok_or_else(|| {
                Error::input(
                    "`messages`: the chat template rewrites earlier turns; give one assistant turn a line",
                )
            })?;
            let new = text.encode_raw(new)?;
            trained.extend(std::iter::repeat_n(train, new.len()));
            ids.extend(new);
            rendered.clone_into(so_far);
            Ok(())
        };
        for (at, message) in messages.iter().enumerate() {
            if message.role == "assistant" {
                add(&template.render(&messages[..at], true, None)?, false, &mut so_far)?;
                add(&template.render(&messages[..=at], false, None)?, true, &mut so_far)?;
            }
        }
        if let Some(first) = trained.first_mut() {
            *first = false;
        }
        Ok(Example { id, ids, trained })
    }

    fn tokenizer(&self) -> Result<&Text, Error> {
        self.text
            .as_ref()
            .ok_or_else(|| Error::input("text without a tokenizer: the model folder has no tokenizer.json"))
    }
}

fn tokenised(id: String, ids: Vec<u32>, labels: Option<Vec<i64>>) -> Result<Example, Error> {
    let Some(labels) = labels else { return Ok(Example::new(id, ids, 0)) };
    if labels.len() != ids.len() {
        let message = format!("`labels` has {} entries, expected {} as input_ids", labels.len(), ids.len());
        return Err(Error::input(message));
    }
    let one = |(at, (&label, &token)): (usize, (&i64, &u32))| match label {
        IGNORED => Ok(false),
        label if label == i64::from(token) => Ok(at > 0),
        label => {
            Err(Error::input(format!("`labels`[{at}] is {label}, expected {token} as input_ids, or -100")))
        }
    };
    let trained: Result<Vec<bool>, Error> = labels.iter().zip(&ids).enumerate().map(one).collect();
    Ok(Example { id, ids, trained: trained? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_is_trained() {
        let encoder = Encoder::default();
        let line = r#"{"input_ids":[5,6,7],"labels":[5,-100,7],"id":"x"}"#;
        let example = encoder.line(line, "1").unwrap();
        assert_eq!((example.id.as_str(), example.trained.clone()), ("x", vec![false, false, true]));
        assert_eq!(example.tokens(), 1);
        for bad in [
            r#"{"input_ids":[5,6],"labels":[5]}"#,
            r#"{"input_ids":[5,6],"labels":[5,7]}"#,
            r#"{"prompt":"a","completion":"b"}"#,
            r#"{"prompt":"a"}"#,
            "[]",
        ] {
            assert!(encoder.line(bad, "1").is_err(), "{bad}");
        }
    }
}
