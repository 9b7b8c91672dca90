//! Conversations as rows have them, in the one form that chat templates take.

use std::collections::BTreeSet;
use std::ops::Range;

use model_qwen::{ChatOptions, ChatTemplate, Rendered};
use serde_json::{Value, json};

use crate::Error;
use crate::rows::Fields;

/// Stands for a text, to see whether a template writes it.
const PROBE: &str = "\u{2063}probe\u{2063}";

/// Fields of a message that change what is trained, so that a template must use them.
const MATTERS: [&str; 4] = ["reasoning_content", "thinking", "reasoning", "tool_calls"];

/// Fields of a message with the reasoning of an answer.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Fields of a message that other trainers give a meaning, and none is given here.
const REFUSED: [&str; 4] = ["weight", "train", "loss", "prefix"];

/// A conversation with what a template may use beside its messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// Objects with `role`, `content` (a text or null) and whatever else the row had.
    pub messages: Vec<Value>,
    /// Descriptions of functions; null where there are none.
    pub tools: Value,
    /// Further variables of the template.
    pub variables: Fields,
}

/// Which roles and fields a template was seen to write, so that one probe of each is enough.
#[derive(Debug, Default)]
pub struct Seen {
    written: BTreeSet<(String, String)>,
    /// Fields that no template wrote and that change nothing that is trained, such as `tool_call_id`.
    pub unused: BTreeSet<String>,
}

impl Conversation {
    /// A conversation of a list of messages: `{"role", "content"}`, or ShareGPT's `{"from", "value"}`. Lists of
    /// text parts are joined.
    ///
    /// # Errors
    /// What is not such a list, with the message's index; parts that are not text.
    pub fn new(messages: &Value) -> Result<Self, Error> {
        let list = messages
            .as_array()
            .ok_or_else(|| Error::input(format!("is {messages}, expected a list of messages")))?;
        let messages =
            list.iter().enumerate().map(|(at, m)| message(m).map_err(|e| e.within(format!("[{at}]"))));
        Ok(Self {
            messages: messages.collect::<Result<_, _>>()?,
            tools: Value::Null,
            variables: Fields::new(),
        })
    }

    /// Takes `tools`, a list or its JSON as a text, and `chat_template_kwargs` out of a row's fields.
    ///
    /// # Errors
    /// Values of other kinds.
    pub fn with_fields(mut self, fields: &mut Fields) -> Result<Self, Error> {
        let tools = match fields.remove("tools") {
            Some(Value::String(text)) => {
                serde_json::from_str(&text).map_err(|e| Error::input(format!("`tools`: {e}")))?
            }
            tools => tools.unwrap_or(Value::Null),
        };
        self.tools = match tools {
            Value::Array(list) if list.is_empty() => Value::Null,
            Value::Array(_) | Value::Null => tools,
            other => return Err(Error::input(format!("`tools` is {other}, expected a list"))),
        };
        match fields.remove("chat_template_kwargs") {
            None | Some(Value::Null) => {}
            Some(Value::Object(variables)) => self.variables = variables,
            Some(other) => {
                return Err(Error::input(format!("`chat_template_kwargs` is {other}, expected an object")));
            }
        }
        Ok(self)
    }

    /// Renders the first `n` messages, ready for an answer where `generate` is set.
    ///
    /// # Errors
    /// What the template refuses or gets wrong.
    pub fn render(&self, template: &ChatTemplate, n: usize, generate: bool) -> Result<String, Error> {
        self.render_messages(template, &self.messages[..n], generate)
    }

    /// The first `n` messages with the spans that the template marks with `{% generation %}`.
    ///
    /// # Errors
    /// What the template refuses or gets wrong.
    pub fn render_with_spans(&self, template: &ChatTemplate, n: usize) -> Result<Rendered, Error> {
        let tools = (!self.tools.is_null()).then(|| self.tools.clone());
        let options = ChatOptions { tools, variables: self.variables.clone(), ..ChatOptions::default() };
        template.apply_with_spans(&self.messages[..n], &options)
    }

    fn render_messages(
        &self,
        template: &ChatTemplate,
        messages: &[Value],
        generate: bool,
    ) -> Result<String, Error> {
        let mut variables = self.variables.clone();
        variables.insert("messages".into(), messages.into());
        variables.insert("add_generation_prompt".into(), generate.into());
        if !self.tools.is_null() {
            variables.insert("tools".into(), self.tools.clone());
        }
        template.render_with(&variables)
    }

    /// Checks that the template writes what the conversation holds: messages of every role, tools, and the
    /// fields that change what is trained. Each role and field is tried once for all conversations of `seen`.
    ///
    /// # Errors
    /// A role, a field or tools that the template leaves out without a word.
    pub fn check(&self, template: &ChatTemplate, seen: &mut Seen) -> Result<(), Error> {
        for (at, message) in self.messages.iter().enumerate() {
            let role = message["role"].as_str().unwrap_or_default();
            for (field, value) in message.as_object().into_iter().flatten().filter(|(f, _)| *f != "role") {
                if is_empty(value) || seen.written.contains(&(role.to_owned(), field.clone())) {
                    continue;
                }
                if self.writes(template, at, field) {
                    seen.written.insert((role.to_owned(), field.clone()));
                } else if field == "content" {
                    return Err(Error::input(format!(
                        "[{at}]: the chat template leaves out messages of role `{role}`"
                    )));
                } else if MATTERS.contains(&field.as_str()) {
                    return Err(Error::input(format!("[{at}]: the chat template leaves out `{field}`")));
                } else {
                    seen.unused.insert(format!("messages.{field}"));
                }
            }
        }
        let tools = ("tools".to_owned(), String::new());
        if !self.tools.is_null() && !seen.written.contains(&tools) {
            let without = Self { tools: Value::Null, ..self.clone() };
            let n = self.messages.len();
            if self.render(template, n, false)? == without.render(template, n, false)? {
                return Err(Error::input("`tools`: the chat template leaves them out"));
            }
            seen.written.insert(tools);
        }
        Ok(())
    }

    /// Checks that what is trained of some messages has the reasoning of their answers: what stands before
    /// `</think>`, or in a field of its own.
    ///
    /// # Errors
    /// Reasoning that the template leaves out.
    pub fn check_reasoning(&self, messages: Range<usize>, trained: &str) -> Result<(), Error> {
        for at in messages.filter(|&at| self.messages[at]["role"] == "assistant") {
            let message = &self.messages[at];
            let content = message["content"].as_str().unwrap_or_default();
            let before =
                content.rsplit_once("</think>").map(|(before, _)| ("what is before `</think>`", before));
            let fields = REASONING.iter().filter_map(|&field| Some((field, message[field].as_str()?)));
            for (what, text) in fields.chain(before) {
                let text = text.trim();
                let text = text.strip_prefix("<think>").unwrap_or(text).trim();
                if !trained.contains(text) {
                    return Err(Error::input(format!(
                        "messages[{at}]: the chat template leaves out the reasoning of the answer that is trained \
                         ({what}): put a chat_template.jinja that writes it into the model's folder, or take the \
                         reasoning out of the data"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether another value of a message's field changes what is rendered up to that message. A template that
    /// refuses the probe is taken to write it.
    fn writes(&self, template: &ChatTemplate, at: usize, field: &str) -> bool {
        let mut messages = self.messages[..=at].to_vec();
        let render = |messages: &[Value]| self.render_messages(template, messages, false);
        let before = render(&messages);
        messages[at][field] = if field == "tool_calls" { Value::Null } else { json!(PROBE) };
        match (before, render(&messages)) {
            (Ok(before), Ok(after)) => before != after,
            _ => true,
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn message(value: &Value) -> Result<Value, Error> {
    let Value::Object(fields) = value else {
        return Err(Error::input(format!("is {value}, expected an object with role and content")));
    };
    if let Some(field) = REFUSED.iter().find(|f| fields.get(**f).is_some_and(|v| !v.is_null())) {
        return Err(Error::input(format!("`{field}` of a message has no meaning here: leave it out")));
    }
    let mut fields = fields.clone();
    if let (false, Some(from)) = (fields.contains_key("role"), fields.remove("from")) {
        let role = match from.as_str() {
            Some("human" | "user") => "user",
            Some("gpt" | "chatgpt" | "bing" | "bard" | "assistant") => "assistant",
            Some("system") => "system",
            Some("tool" | "observation" | "function_response") => "tool",
            _ => return Err(Error::input(format!("`from` is {from}, expected human, gpt, system or tool"))),
        };
        fields.insert("role".into(), role.into());
        let value = fields.remove("value").unwrap_or(Value::Null);
        fields.insert("content".into(), value);
    }
    if !fields.get("role").is_some_and(Value::is_string) {
        return Err(Error::input("has no `role`"));
    }
    let content = fields.remove("content").unwrap_or(Value::Null);
    fields.insert("content".into(), text_of(content)?);
    Ok(Value::Object(fields))
}

/// A content as one text: a text as it is, null, or a list of text parts joined.
fn text_of(content: Value) -> Result<Value, Error> {
    let Value::Array(parts) = content else {
        return match content {
            Value::String(_) | Value::Null => Ok(content),
            other => {
                Err(Error::input(format!("`content` is {other}, expected a text or a list of text parts")))
            }
        };
    };
    let mut text = String::new();
    for part in &parts {
        match (part, part["type"].as_str(), part["text"].as_str()) {
            (Value::String(part), ..) => text.push_str(part),
            (_, Some("text"), Some(part)) => text.push_str(part),
            _ => {
                return Err(Error::input(format!(
                    "a part of `content` is {part}, expected {{\"type\": \"text\", \"text\": …}}"
                )));
            }
        }
    }
    Ok(Value::String(text))
}
