//! Filters of Jinja2 that the template library does not have, or has otherwise.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error};

use super::environment::{bad, number, whole};
use super::{methods, repr};

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("title", |value: &Value| title(&repr::text(value)));
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("center", |value: &Value, width: Option<usize>| {
        methods::string(&repr::text(value), "center", &[Value::from(width.unwrap_or(80))])
    });
    environment.add_filter("truncate", truncate);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("sum", sum);
}

/// Words begin after blanks, hyphens and opening brackets.
fn title(text: &str) -> String {
    let mut begins = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        begins = c.is_whitespace() || "-({[<".contains(c);
    }
    out
}

/// How many items a value has; an undefined one has none.
fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    value.len().ok_or_else(|| bad(format!("length: {} has no length", value.kind())))
}

/// `truncate(length=255, killwords=false, end='...', leeway=5)`.
fn truncate(text: &str, positional: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let option = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        Ok(named.get::<Option<Value>>(name)?.or_else(|| positional.get(at).cloned()))
    };
    let size = |at: usize, name: &str, default: usize| match option(at, name)? {
        None => Ok(default),
        Some(n) => {
            n.as_usize().ok_or_else(|| bad(format!("truncate: {name} is {n}, expected a whole number")))
        }
    };
    let (length, leeway) = (size(0, "length", 255)?, size(3, "leeway", 5)?);
    let whole_words = !option(1, "killwords")?.is_some_and(|kill| kill.is_true());
    let end = option(2, "end")?.map_or_else(|| "...".to_owned(), |end| repr::text(&end));
    named.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let kept = length
        .checked_sub(end.chars().count())
        .ok_or_else(|| bad(format!("truncate: length {length}, expected at least that of {end:?}")))?;
    let cut: String = text.chars().take(kept).collect();
    let kept = if whole_words { cut.rsplit_once(' ').map_or(&*cut, |(before, _)| before) } else { &*cut };
    Ok(format!("{kept}{end}"))
}

/// `sum(attribute=none, start=0)` of numbers.
fn sum(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let option = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        Ok(named.get::<Option<Value>>(name)?.or_else(|| positional.get(at).cloned()))
    };
    let (attribute, start) = (option(0, "attribute")?.filter(|a| !a.is_none()), option(1, "start")?);
    named.assert_all_used()?;
    let mut items: Vec<Value> = vec![start.unwrap_or_else(|| Value::from(0))];
    for item in value.try_iter()? {
        items.push(match &attribute {
            Some(name) => item.get_item(name)?,
            None => item,
        });
    }
    if let Some(whole) = items.iter().map(whole).collect::<Option<Vec<i64>>>() {
        let sum = whole.into_iter().try_fold(0i64, i64::checked_add);
        return sum.map(Value::from).ok_or_else(|| bad("sum: out of range"));
    }
    let numbers = items.iter().map(|item| number(item).filter(|_| item.as_str().is_none()));
    let sum = numbers.sum::<Option<f64>>().ok_or_else(|| bad("sum: expected numbers"))?;
    Ok(Value::from(sum))
}

/// Percent-encoding of a text in UTF-8; letters, digits and `_.-~/` stay.
fn urlencode(value: &Value) -> Result<String, Error> {
    if matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        return Err(bad("urlencode: expected a text, found a collection"));
    }
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    Ok(repr::text(value).bytes().map(encode).collect())
}
