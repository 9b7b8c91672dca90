//! `apply_chat_template` of `transformers`: messages made uniform, tools, and a final message to continue.

use serde_json::{Map, Value as Json, json};

use super::spans::{self, Rendered};
use super::{ChatTemplate, MARKED, PLAIN};
use crate::Error;

/// Options of [`ChatTemplate::apply`], by the names that `transformers` has for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatOptions {
    /// Whether to end with what precedes the model's answer.
    pub add_generation_prompt: bool,
    /// Whether to end within the last message, for the model to go on with it.
    pub continue_final_message: bool,
    /// JSON schemas of the functions that the model may call, a list.
    pub tools: Option<Json>,
    /// Documents with `title` and `text`, a list.
    pub documents: Option<Json>,
    /// Further variables of the template, such as `enable_thinking`.
    pub variables: Map<String, Json>,
}

/// Names under which messages have their reasoning; the first is the one that templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Appended to the message to continue, and found again in the text.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

impl ChatTemplate {
    /// Renders a conversation of any messages: `role`, `content` (a text, a list of parts, or null),
    /// `reasoning_content`, `tool_calls`, and what else the template reads. Fields that are null are left out, and
    /// reasoning is given under each of its names, as `transformers` does.
    ///
    /// ```
    /// use model_qwen::{ChatOptions, ChatTemplate};
    /// use serde_json::json;
    ///
    /// let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}".to_owned();
    /// let template = ChatTemplate::new(source, "<s>", "</s>")?;
    /// let messages = [json!({"role": "user", "content": ["a", 1, true]})];
    /// assert_eq!(template.apply(&messages, &ChatOptions::default())?, "user: ['a', 1, True]\n");
    /// # Ok::<(), model_qwen::Error>(())
    /// ```
    ///
    /// # Errors
    /// A message that is not an object, a final message that cannot be continued, an error in the template or one
    /// that it raises.
    pub fn apply(&self, messages: &[Json], options: &ChatOptions) -> Result<String, Error> {
        Ok(self.applied(PLAIN, messages, options)?.text)
    }

    /// [`apply`](Self::apply), and the spans of the text that the template marks with `{% generation %}`.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), and a template that changes marked text afterwards.
    pub fn apply_with_spans(&self, messages: &[Json], options: &ChatOptions) -> Result<Rendered, Error> {
        if self.marks.is_none() {
            return self.applied(PLAIN, messages, options);
        }
        let rendered = self.applied(MARKED, messages, options)?;
        if rendered.text != self.applied(PLAIN, messages, options)?.text {
            return Err(spans::uneven());
        }
        Ok(rendered)
    }

    fn applied(&self, name: &str, messages: &[Json], options: &ChatOptions) -> Result<Rendered, Error> {
        let mut messages = messages.iter().map(uniform).collect::<Result<Vec<_>, Error>>()?;
        let to_continue =
            if options.continue_final_message { Some(self.tag(&mut messages, options)?) } else { None };
        let mut variables = options.variables.clone();
        variables.insert("messages".to_owned(), messages.into());
        variables.insert("add_generation_prompt".to_owned(), options.add_generation_prompt.into());
        for (name, value) in [("tools", &options.tools), ("documents", &options.documents)] {
            if let Some(value) = value {
                variables.insert(name.to_owned(), value.clone());
            }
        }
        let text = self.run(name, &variables)?;
        let mut rendered = match &self.marks {
            Some(marks) => marks.strip(&text)?,
            None => Rendered { text, generated: Vec::new() },
        };
        if let Some(content) = to_continue {
            cut(&mut rendered, &content)?;
        }
        Ok(rendered)
    }

    /// Appends the tag to the last message; returns its text.
    fn tag(&self, messages: &mut [Json], options: &ChatOptions) -> Result<String, Error> {
        let bad = |what: &str| Error::input(format_args!("continue_final_message: {what}"));
        if options.add_generation_prompt {
            return Err(bad("excludes add_generation_prompt"));
        }
        if !self.source.contains("content") {
            return Err(bad("the chat template does not read `content`"));
        }
        let last = messages.last_mut().ok_or_else(|| bad("the conversation is empty"))?;
        let text = match &mut last["content"] {
            Json::Array(parts) => parts.iter_mut().rev().find_map(|part| part.get_mut("text")),
            content => Some(content),
        };
        match text {
            Some(Json::String(text)) => {
                let content = text.clone();
                text.push_str(TAG);
                Ok(content)
            }
            _ => Err(bad("the last message has no text to continue")),
        }
    }
}

/// Ends the text where the tag is.
fn cut(rendered: &mut Rendered, content: &str) -> Result<(), Error> {
    let text = &rendered.text;
    let at = text.rfind(TAG.trim_end()).filter(|_| text.contains(content.trim())).ok_or_else(|| {
        Error::input("continue_final_message: the chat template does not write the last message as it is")
    })?;
    let end = if text[at..].starts_with(TAG) { at } else { text[..at].trim_end().len() };
    rendered.text.truncate(end);
    rendered.generated.retain_mut(|span| {
        span.end = span.end.min(end);
        span.start < span.end
    });
    Ok(())
}

/// A message without null fields, its reasoning under each name that templates read.
fn uniform(message: &Json) -> Result<Json, Error> {
    let fields = message.as_object().ok_or_else(|| {
        Error::input(format_args!("a message is {message}, expected an object with `role` and `content`"))
    })?;
    let given =
        fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone()));
    let Some(reasoning) =
        REASONING.iter().find_map(|name| fields.get(*name).filter(|value| !value.is_null()))
    else {
        return Ok(given.collect::<Map<_, _>>().into());
    };
    let mut all: Map<String, Json> = [("thinking".to_owned(), reasoning.clone())].into_iter().collect();
    for (key, value) in given {
        all.insert(key, value);
    }
    all.insert("reasoning_content".to_owned(), reasoning.clone());
    Ok(json!(all))
}
