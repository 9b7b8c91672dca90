//! Chat templates: Jinja with the Python methods that Hugging Face's templates use.

use std::path::Path;

use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use crate::Error;

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
}

/// Bounds a template that does not end.
const FUEL: u64 = 2_000_000;

impl ChatTemplate {
    /// Reads the template of a checkpoint folder: `chat_template.jinja`, or the field of that name in
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    /// No template, or one that does not parse.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("tokenizer_config.json");
        let config: serde_json::Value = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| Error::at(&path, e))?,
            Err(_) => serde_json::Value::Null,
        };
        let token = |name: &str| match &config[name] {
            serde_json::Value::String(token) => token.clone(),
            token => token["content"].as_str().unwrap_or_default().to_owned(),
        };
        let file = dir.join("chat_template.jinja");
        let source = match std::fs::read_to_string(&file) {
            Ok(source) => source,
            Err(_) => match &config["chat_template"] {
                serde_json::Value::String(source) => source.clone(),
                _ => {
                    return Err(Error::at(
                        dir,
                        "has no chat template: neither chat_template.jinja nor tokenizer_config.json",
                    ));
                }
            },
        };
        Self::new(source, &token("bos_token"), &token("eos_token")).map_err(|e| Error::at(dir, e))
    }

    /// A template from its source.
    ///
    /// # Errors
    /// A source that does not parse.
    pub fn new(source: String, bos: &str, eos: &str) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", python_json);
        environment
            .add_template_owned("chat", source)
            .map_err(|e| Error::new(format!("chat template: {e}")))?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
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

    /// Renders with any variables; `bos_token` and `eos_token` are added.
    ///
    /// # Errors
    /// What the template refuses or gets wrong.
    pub fn render_with(&self, variables: &impl Serialize) -> Result<String, Error> {
        let variables = Value::from_serialize(variables);
        let variables = context! { bos_token => self.bos, eos_token => self.eos, ..variables };
        let template = self.environment.get_template("chat").map_err(|e| Error::new(e.to_string()))?;
        template.render(variables).map_err(|e| Error::new(format!("chat template: {e}")))
    }
}

/// `json.dumps` as Python writes it: a blank after `,` and `:`, non-ASCII kept.
fn python_json(value: &Value, options: minijinja::value::Kwargs) -> Result<Value, minijinja::Error> {
    let bad = |e: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string());
    let indent: Option<usize> = options.get("indent")?;
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
