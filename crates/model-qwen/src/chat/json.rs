//! The filter `tojson` as `transformers` defines it: Python's `json.dumps` with `ensure_ascii`, `indent`,
//! `separators` and `sort_keys`.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::repr::float;

struct Style {
    ascii: bool,
    /// What one level is indented by; `None` for one line.
    indent: Option<String>,
    separators: [String; 2],
    sort_keys: bool,
}

/// Levels of nesting above which a value is refused.
const DEEPEST: usize = 200;

fn bad(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// `tojson(value, ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
pub(super) fn tojson(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    if positional.len() > 4 {
        return Err(bad("tojson: expected at most 4 arguments"));
    }
    let option = |at: usize, name: &str| -> Result<Value, Error> {
        let given = positional.get(at).cloned().unwrap_or_default();
        Ok(named.get::<Option<Value>>(name)?.unwrap_or(given))
    };
    let indent = option(1, "indent")?;
    let indent = match (indent.as_str(), indent.as_i64()) {
        (Some(text), _) => Some(text.to_owned()),
        (None, Some(n)) if n > 64 => return Err(bad("tojson: expected an indent of at most 64")),
        (None, Some(n)) => Some(" ".repeat(n.max(0) as usize)),
        (None, None) => None,
    };
    let separators = option(2, "separators")?;
    let separators = if separators.is_none() || separators.is_undefined() {
        [if indent.is_some() { "," } else { ", " }, ": "].map(str::to_owned)
    } else {
        let given: Vec<String> = separators.try_iter()?.map(|s| s.to_string()).collect();
        given.try_into().map_err(|_| bad("tojson: expected two separators"))?
    };
    let ascii = option(0, "ensure_ascii")?.is_true();
    let style = Style { ascii, indent, separators, sort_keys: option(3, "sort_keys")?.is_true() };
    named.assert_all_used()?;
    let mut out = String::new();
    style.write(value, 0, &mut out)?;
    Ok(out)
}

impl Style {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(bad(format!("tojson: nested deeper than {DEEPEST} levels")));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
            ValueKind::Number => {
                let x = f64::try_from(value.clone())?;
                out.push_str(&match (x.is_nan(), x.is_infinite()) {
                    (true, _) => "NaN".to_owned(),
                    (_, true) => float(x).replace("inf", "Infinity"),
                    _ => float(x),
                });
            }
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.group(['[', ']'], depth, &items, out, |item, out| self.write(item, depth + 1, out))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.group(['{', '}'], depth, &keys, out, |key, out| {
                    match key.as_str() {
                        Some(key) => self.string(key, out),
                        None => {
                            let mut name = String::new();
                            self.write(key, depth + 1, &mut name)?;
                            self.string(&name, out);
                        }
                    }
                    out.push_str(&self.separators[1]);
                    self.write(&value.get_item(key)?, depth + 1, out)
                })?;
            }
            kind => return Err(bad(format!("tojson: a value of kind {kind} has no JSON"))),
        }
        Ok(())
    }

    fn group(
        &self,
        [open, close]: [char; 2],
        depth: usize,
        items: &[Value],
        out: &mut String,
        mut write: impl FnMut(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |depth: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        };
        out.push(open);
        for (at, item) in items.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { &self.separators[0] });
            line(depth + 1, out);
            write(item, out)?;
        }
        if !items.is_empty() {
            line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ascii && c > '~') => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}
