//! Chat templates: Jinja with the Python methods that Hugging Face's templates use.

use std::path::Path;

use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::Error;
use crate::checkpoint::{read, read_json};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    pad: String,
}

/// Bounds a template's source, in bytes; published ones have at most some twenty thousand.
const MAX_SOURCE: usize = 1 << 17;

/// The stack that parses a template, in bytes: minijinja goes down one frame for each sign of `-----x`.
const PARSER_STACK: usize = 1 << 28;

/// Bounds a template that does not end, in steps of the template's machine.
const FUEL: u64 = 2_000_000;

/// Bounds what a template writes, in bytes: far above any context.
const MAX_RENDERED: usize = 1 << 26;

impl ChatTemplate {
    /// Reads the template of a checkpoint folder: `chat_template.jinja`, or the field of that name in
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    /// No template, or one that does not parse.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("tokenizer_config.json");
        let config = if path.exists() { read_json(&path)? } else { Json::Null };
        if !config.is_object() && !config.is_null() {
            return Err(Error::at(&path, "expected a JSON object"));
        }
        let token = |name: &str| match (&config[name], &config[name]["content"]) {
            (Json::Null, _) => Ok(""),
            (Json::String(token), _) | (Json::Object(_), Json::String(token)) => Ok(token.as_str()),
            (other, _) => Err(Error::at(
                &path,
                format!("`{name}` is {}, expected a text or an object with `content`", other),
            )),
        };
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

    /// A template from its source.
    ///
    /// # Errors
    /// A source that does not parse, or is larger than any real one.
    pub fn new(source: String, bos: &str, eos: &str) -> Result<Self, Error> {
        if source.len() > MAX_SOURCE {
            return Err(Error::input(format!(
                "chat template: {} bytes, expected at most {MAX_SOURCE}",
                source.len()
            )));
        }
        // Marks for training (a span that is generated): here the span is all that counts.
        let tag = |source: String, name: &str, stands_for: &str| {
            let forms = [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")];
            forms.iter().fold(source, |source, (open, close)| {
                source.replace(&format!("{open} {name} {close}"), &format!("{open} {stands_for} {close}"))
            })
        };
        let source = tag(tag(source, "generation", "if true"), "endgeneration", "endif");
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", python_json);
        let parse = || environment.add_template_owned("chat", source);
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
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned(), pad: String::new() })
    }

    /// Renders a conversation, ready for the model's answer where `generate` is set. `thinking` switches
    /// Qwen3's reasoning on or off; the template's default where `None`.
    ///
    /// # Errors
    /// What the template refuses or gets wrong.
    pub fn render(
        &self,
        messages: &[Message],
        generate: bool,
        thinking: Option<bool>,
    ) -> Result<String, Error> {
        let thinking = thinking.map_or(Value::UNDEFINED, Value::from);
        self.render_with(
            &context! { messages, add_generation_prompt => generate, enable_thinking => thinking },
        )
    }

    /// Renders with any variables; `bos_token`, `eos_token` and `pad_token` are added, and `tools` and
    /// `documents` are none unless they are given.
    ///
    /// # Errors
    /// What the template refuses or gets wrong.
    pub fn render_with(&self, variables: &impl Serialize) -> Result<String, Error> {
        let variables = Value::from_serialize(variables);
        let none = Value::from(());
        let variables = context! { ..variables, ..context! { tools => none, documents => none } };
        let variables = context! {
            bos_token => self.bos, eos_token => self.eos, pad_token => self.pad, ..variables
        };
        let template = self.environment.get_template("chat").map_err(|e| Error::input(e.to_string()))?;
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

/// The local time as `strftime` of Python formats it, which some templates ask for.
fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    use std::fmt::Write as _;
    let mut out = String::new();
    write!(out, "{}", chrono::Local::now().format(format)).map_err(|_| {
        minijinja::Error::new(ErrorKind::InvalidOperation, format!("strftime_now: bad format {format:?}"))
    })?;
    Ok(out)
}

/// The same JSON with the keys of every object in order.
fn sorted(value: Json) -> Json {
    match value {
        Json::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(entries.into_iter().collect())
        }
        Json::Array(all) => all.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// `json.dumps` as Python writes it: a blank after `,` and `:`, non-ASCII kept.
fn python_json(value: &Value, options: minijinja::value::Kwargs) -> Result<Value, minijinja::Error> {
    let bad = |e: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string());
    let indent: Option<usize> = options.get("indent")?;
    if indent.is_some_and(|n| n > 64) {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "tojson: an indent of at most 64"));
    }
    let sort = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let sorted = if sort { Some(sorted(serde_json::to_value(value).map_err(bad)?)) } else { None };
    let value = sorted.map_or_else(|| value.clone(), Value::from_serialize);
    options.get::<Option<bool>>("ensure_ascii")?;
    options.assert_all_used()?;
    if let Some(indent) = indent {
        let mut out = Vec::new();
        let blanks = vec![b' '; indent];
        let formatter = serde_json::ser::PrettyFormatter::with_indent(&blanks);
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter)).map_err(bad)?;
        return Ok(Value::from_safe_string(String::from_utf8_lossy(&out).into_owned()));
    }
    struct Python;
    impl serde_json::ser::Formatter for Python {
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            w: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            if first { Ok(()) } else { w.write_all(b", ") }
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            w: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            if first { Ok(()) } else { w.write_all(b", ") }
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
            w.write_all(b": ")
        }
    }
    let mut out = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Python)).map_err(bad)?;
    Ok(Value::from_safe_string(String::from_utf8_lossy(&out).into_owned()))
}
