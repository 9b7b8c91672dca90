//! The environment that chat templates run in: that of `transformers`, with what differs between the template
//! library and Jinja2 in Python put right.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use std::fmt::Write as _;

use super::rewrite::{CONCAT, GENERATION, MODULO};
use super::{filters, json, methods, repr, tuple};

/// Bounds a template that does not end, in steps of the template's machine.
const FUEL: u64 = 2_000_000;

pub(super) fn bad(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&repr::text(value))?));
    environment.add_function("raise_exception", |message: Value| -> Result<String, Error> {
        Err(bad(repr::text(&message)))
    });
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_function(GENERATION, generation);
    environment.add_function(MODULO, modulo);
    environment.add_function(CONCAT, |parts: Rest<Value>| parts.iter().map(repr::text).collect::<String>());
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", |value: &Value| repr::text(value));
    environment.add_filter("join", join);
    environment.add_filter("list", list);
    environment.add_filter("replace", replace);
    environment.add_filter("upper", |value: &Value| repr::text(value).to_uppercase());
    environment.add_filter("lower", |value: &Value| repr::text(value).to_lowercase());
    environment.add_filter("trim", |value: &Value, chars: Option<Value>| {
        methods::string(&repr::text(value), "strip", chars.as_slice())
    });
    environment.add_filter("round", round);
    environment.add_filter("int", int);
    environment.add_filter("float", |value: &Value, default: Option<Value>| match number(value) {
        Some(x) => Value::from(x),
        None => default.unwrap_or_else(|| Value::from(0.0)),
    });
    environment.add_filter("indent", indent);
    filters::add_to(&mut environment);
    tuple::add_to(&mut environment);
    environment.add_filter("wordcount", |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()
    });
    environment.add_filter("format", |format: &str, args: Rest<Value>| methods::printf(format, &args));
    // Tests on what a value can do, where a text or a dict counts too.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
    });
    environment.add_test("iterable", |value: &Value| {
        let kind = value.kind();
        matches!(
            kind,
            ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Iterable | ValueKind::Undefined
        )
    });
    environment
        .add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment
}

/// The text of a `{% generation %}` block.
fn generation(state: &State<'_, '_>, named: Kwargs) -> Result<Value, Error> {
    named.get::<Value>("caller")?.call(state, &[])
}

/// `a % b`: formatting where `a` is a text, else the remainder with the sign of `b`.
fn modulo(a: Value, b: Value, tuple: bool) -> Result<Value, Error> {
    if let Some(format) = a.as_str() {
        let args: Vec<Value> = if tuple { b.try_iter()?.collect() } else { vec![b] };
        return methods::printf(format, &args);
    }
    match (whole(&a), whole(&b)) {
        (_, Some(0)) => Err(bad("modulo by zero")),
        (Some(a), Some(b)) => {
            let rest = a.checked_rem(b).ok_or_else(|| bad("a remainder that is out of range"))?;
            Ok(Value::from(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        _ => {
            let (Some(a), Some(b)) = (number(&a), number(&b)) else {
                return Err(bad(format!(
                    "{} % {}: expected numbers, or a text on the left",
                    a.kind(),
                    b.kind()
                )));
            };
            let rest = a % b;
            Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }))
        }
    }
}

/// `round(precision=0, method='common')`: ties go to the even digit, as in Python.
fn round(value: &Value, precision: Option<usize>, method: Option<&str>) -> Result<Value, Error> {
    let x = number(value).ok_or_else(|| bad("round: expected a number"))?;
    let digits = precision.unwrap_or(0).min(300);
    let scale = 10f64.powi(digits as i32);
    match method {
        None | Some("common") => Ok(Value::from(format!("{x:.digits$}").parse::<f64>().unwrap_or(x))),
        Some("ceil") => Ok(Value::from((x * scale).ceil() / scale)),
        Some("floor") => Ok(Value::from((x * scale).floor() / scale)),
        Some(_) => Err(bad("round: expected the method common, ceil or floor")),
    }
}

/// `join(separator='', attribute=none)`.
fn join(value: &Value, separator: Option<Value>, named: Kwargs) -> Result<String, Error> {
    let separator =
        named.get::<Option<Value>>("d")?.or(separator).map(|s| repr::text(&s)).unwrap_or_default();
    let attribute = named.get::<Option<Value>>("attribute")?;
    named.assert_all_used()?;
    let item = |item: Value| match &attribute {
        Some(name) => item.get_item(name).map(|value| repr::text(&value)),
        None => Ok(repr::text(&item)),
    };
    let items = items(value)?.into_iter().map(item).collect::<Result<Vec<String>, Error>>()?;
    Ok(items.join(&separator))
}

/// `replace(old, new, count=none)`.
fn replace(value: &Value, old: &str, new: &str, count: Option<i64>) -> String {
    let text = repr::text(value);
    match count.map(usize::try_from) {
        Some(Ok(count)) => text.replacen(old, new, count),
        _ => text.replace(old, new),
    }
}

/// `indent(width=4, first=false, blank=false)`; the width may be the text of the indentation.
fn indent(text: &str, positional: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let option = |at: usize, name: &str| -> Result<Value, Error> {
        Ok(named.get::<Option<Value>>(name)?.or_else(|| positional.get(at).cloned()).unwrap_or_default())
    };
    let width = option(0, "width")?;
    let (first, blank) = (option(1, "first")?.is_true(), option(2, "blank")?.is_true());
    named.assert_all_used()?;
    let by = match (width.as_str(), width.as_i64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(n)) if n > 1000 => return Err(bad("indent: expected a width of at most 1000")),
        (None, n) => " ".repeat(n.unwrap_or(4).max(0) as usize),
    };
    let line = |(at, line): (usize, &str)| {
        let indented = if at == 0 { first } else { blank || !line.is_empty() };
        if indented { format!("{by}{line}") } else { line.to_owned() }
    };
    Ok(text.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n"))
}

/// `int(default=0, base=10)`; the base is that of a text.
fn int(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let option = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        Ok(named.get::<Option<Value>>(name)?.or_else(|| positional.get(at).cloned()))
    };
    let (default, base) = (option(0, "default")?, option(1, "base")?);
    named.assert_all_used()?;
    let base = base.map_or(Some(10), |base| base.as_usize().map(|base| base as u32));
    let base = base
        .filter(|base| (2..=36).contains(base))
        .ok_or_else(|| bad("int: expected a base from 2 to 36"))?;
    let read = match value.as_str() {
        Some(text) if base != 10 => {
            let text = text.trim().to_lowercase();
            let prefix = match base {
                16 => "0x",
                8 => "0o",
                2 => "0b",
                _ => "",
            };
            i64::from_str_radix(text.strip_prefix(prefix).unwrap_or(&text), base).ok()
        }
        _ => number(value).map(|x| x.trunc() as i64),
    };
    Ok(read.map_or_else(|| default.unwrap_or_else(|| Value::from(0)), Value::from))
}

/// The number that a value is or that a text has; none where Python's `float` fails.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => whole(value).map(|n| n as f64).or_else(|| f64::try_from(value.clone()).ok()),
    }
}

/// A whole number or a boolean.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value.kind() {
        ValueKind::Bool => Some(i64::from(value.is_true())),
        _ if value.is_integer() => value.as_i64(),
        _ => None,
    }
}

fn list(value: &Value) -> Result<Value, Error> {
    items(value).map(Value::from)
}

/// The items of a value; a text has its characters, an undefined value none.
fn items(value: &Value) -> Result<Vec<Value>, Error> {
    match value.as_str() {
        Some(text) => Ok(text.chars().map(|c| Value::from(c.to_string())).collect()),
        None if value.is_undefined() => Ok(Vec::new()),
        None => Ok(value.try_iter()?.collect()),
    }
}

/// The local time as Python's `strftime` formats it.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut out = String::new();
    write!(out, "{}", chrono::Local::now().format(format))
        .map_err(|_| bad(format!("strftime_now: bad format {format:?}")))?;
    Ok(out)
}
