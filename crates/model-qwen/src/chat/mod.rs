//! Chat templates: Jinja sources of a checkpoint, rendered as `transformers` renders them.
//!
//! Templates are untrusted: source, steps, output and nesting are bounded.

mod apply;
mod environment;
mod filters;
mod json;
mod methods;
mod repr;
mod rewrite;
mod spans;
mod tuple;

use std::path::Path;

use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::Error;
use crate::checkpoint::{read, read_json};
pub use apply::ChatOptions;
use spans::Marks;
pub use spans::Rendered;

/// A message of a conversation with a text as its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or what a template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// Where the template marks generated text, what the marks are.
    marks: Option<Marks>,
    bos: String,
    eos: String,
    pad: String,
}

/// Bounds a template's source, in bytes; published ones have at most some twenty thousand.
const MAX_SOURCE: usize = 1 << 17;

/// The stack that parses a template, in bytes: minijinja goes down one frame for each sign of `-----x`.
const PARSER_STACK: usize = 1 << 28;

/// Bounds what a template writes, in bytes: far above any context.
const MAX_RENDERED: usize = 1 << 26;

/// Names of the template within its environment, without and with marks around generated text.
const PLAIN: &str = "chat";
const MARKED: &str = "marked";

/// `tokenizer_config.json` of a folder; null where there is none.
pub(crate) fn tokenizer_config(dir: &Path) -> Result<Json, Error> {
    let path = dir.join("tokenizer_config.json");
    let config = if path.exists() { read_json(&path)? } else { Json::Null };
    if !config.is_object() && !config.is_null() {
        return Err(Error::at(&path, "expected a JSON object"));
    }
    Ok(config)
}

/// The text of `bos_token` or another of a tokenizer's configuration; empty where there is none.
pub(crate) fn special_token<'a>(config: &'a Json, name: &str) -> Result<&'a str, String> {
    match (&config[name], &config[name]["content"]) {
        (Json::Null, _) => Ok(""),
        (Json::String(token), _) | (Json::Object(_), Json::String(token)) => Ok(token),
        (other, _) => Err(format!("`{name}` is {other}, expected a text or an object with `content`")),
    }
}

impl ChatTemplate {
    /// Reads the template of a checkpoint folder: `chat_template.jinja`, or the field of that name in
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    /// No template, or one that does not parse.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("tokenizer_config.json");
        let config = tokenizer_config(dir)?;
        let token = |name: &str| special_token(&config, name).map_err(|e| Error::at(&path, e));
        let file = dir.join("chat_template.jinja");
        let source = if file.exists() {
            read(&file)?
        } else {
            named_template(&config["chat_template"]).map_err(|e| Error::at(&path, e))?.ok_or_else(|| {
                Error::at(dir, "has no chat template: neither chat_template.jinja nor tokenizer_config.json")
            })?
        };
        let template = Self::new(source, token("bos_token")?, token("eos_token")?);
        Ok(Self { pad: token("pad_token")?.to_owned(), ..template.map_err(|e| Error::at(dir, e))? })
    }

    /// A template from its source, with the texts of `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// A source that does not parse, or is larger than any real one.
    pub fn new(source: String, bos: &str, eos: &str) -> Result<Self, Error> {
        if source.len() > MAX_SOURCE {
            let n = source.len();
            return Err(Error::input(format!("chat template: {n} bytes, expected at most {MAX_SOURCE}")));
        }
        // Jinja reads every kind of line break as one, within texts too.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let mut environment = environment::environment();
        let plain = rewrite::rewrite(&source);
        // The function's name is in no template but where the rewriting put it.
        let marks = plain.contains(rewrite::GENERATION).then(Marks::new);
        let marked = marks.as_ref().map(|marks| {
            environment.add_function(rewrite::MARKED, marks.function());
            plain.replace(rewrite::GENERATION, rewrite::MARKED)
        });
        let parse = || {
            environment.add_template_owned(PLAIN, plain)?;
            marked.map_or(Ok(()), |marked| environment.add_template_owned(MARKED, marked))
        };
        let parsed = std::thread::scope(|scope| {
            let parser = std::thread::Builder::new().stack_size(PARSER_STACK).spawn_scoped(scope, parse);
            parser.map(std::thread::ScopedJoinHandle::join)
        });
        match parsed {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(e))) => return Err(Error::input(format!("chat template: {e}"))),
            Ok(Err(_)) => return Err(Error::input("chat template: the parser failed")),
            Err(e) => return Err(Error::input(format!("chat template: {e}"))),
        }
        Ok(Self { environment, source, marks, bos: bos.to_owned(), eos: eos.to_owned(), pad: String::new() })
    }

    /// Whether the template marks what the model generates, with `{% generation %}`.
    pub fn marks_generation(&self) -> bool {
        self.marks.is_some()
    }

    /// Renders a conversation, ready for the model's answer where `generate` is set. `thinking` switches
    /// Qwen3's reasoning on or off; the template's default where `None`.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn render(
        &self,
        messages: &[Message],
        generate: bool,
        thinking: Option<bool>,
    ) -> Result<String, Error> {
        let messages: Vec<Json> = messages
            .iter()
            .map(|message| serde_json::json!({ "role": message.role, "content": message.content }))
            .collect();
        let mut options = ChatOptions { add_generation_prompt: generate, ..ChatOptions::default() };
        if let Some(thinking) = thinking {
            options.variables.insert("enable_thinking".to_owned(), thinking.into());
        }
        self.apply(&messages, &options)
    }

    /// Renders with any variables; `bos_token`, `eos_token` and `pad_token` are added, and `tools` and
    /// `documents` are none unless they are given.
    ///
    /// # Errors
    /// An error in the template, or one that it raises.
    pub fn render_with(&self, variables: &impl Serialize) -> Result<String, Error> {
        self.run(PLAIN, variables)
    }

    fn run(&self, name: &str, variables: &impl Serialize) -> Result<String, Error> {
        let variables = Value::from_serialize(variables);
        let none = Value::from(());
        let variables = context! { ..variables, ..context! { tools => none, documents => none } };
        let variables = context! {
            bos_token => self.bos, eos_token => self.eos, pad_token => self.pad, ..variables
        };
        let template = self.environment.get_template(name).map_err(|e| Error::input(e.to_string()))?;
        let mut out = Bounded::default();
        template.render_captured_to(variables, &mut out).map_err(|e| {
            match std::error::Error::source(&e) {
                Some(source) => Error::input(format!("chat template: {e}: {source}")),
                None => Error::input(format!("chat template: {e}")),
            }
        })?;
        String::from_utf8(out.0).map_err(|e| Error::input(format!("chat template: {e}")))
    }
}

/// The template of a `chat_template` field: a text, or a list of named ones with a `default`.
fn named_template(field: &Json) -> Result<Option<String>, Error> {
    match field {
        Json::Null => Ok(None),
        Json::String(source) => Ok(Some(source.clone())),
        Json::Array(all) => all
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(|source| Some(source.to_owned()))
            .ok_or_else(|| Error::input("`chat_template` is a list without a template named default")),
        other => Err(Error::input(format!("`chat_template` is {}, expected a text", other))),
    }
}

/// Collects rendered text up to [`MAX_RENDERED`] bytes.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_RENDERED {
            return Err(std::io::Error::other("the text is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
