//! Values as Python prints them: `str()` and `repr()` of strings, numbers, lists, tuples and dicts.

use minijinja::Value;
use minijinja::value::ValueKind;

use super::tuple;

/// `str(value)`: a text as it is, everything else as [`repr`].
pub(super) fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let mut out = String::new();
            repr(value, &mut out);
            out
        }
    }
}

/// `repr(value)`, appended to `out`; nothing for an undefined value.
pub(super) fn repr(value: &Value, out: &mut String) {
    written(value, false, out);
}

/// The same with the keys of dicts in order.
pub(super) fn sorted(value: &Value, out: &mut String) {
    written(value, true, out);
}

fn written(value: &Value, sorted: bool, out: &mut String) {
    match value.kind() {
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Number if !value.is_integer() => {
            out.push_str(&f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float));
        }
        ValueKind::Seq => list(value, sorted, out),
        ValueKind::Iterable if value.len().is_some() => list(value, sorted, out),
        ValueKind::Map => {
            out.push('{');
            let mut keys: Vec<Value> = value.try_iter().into_iter().flatten().collect();
            if sorted {
                keys.sort();
            }
            for (at, key) in keys.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                written(key, sorted, out);
                out.push_str(": ");
                written(&value.get_item(key).unwrap_or_default(), sorted, out);
            }
            out.push('}');
        }
        // Booleans, None and whole numbers.
        _ => out.push_str(&value.to_string()),
    }
}

fn list(value: &Value, sorted: bool, out: &mut String) {
    let tuple = tuple::is(value);
    out.push(if tuple { '(' } else { '[' });
    for (at, item) in value.try_iter().into_iter().flatten().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        written(&item, sorted, out);
    }
    out.push_str(match (tuple, value.len()) {
        (true, Some(1)) => ",)",
        (true, _) => ")",
        (false, _) => "]",
    });
}

/// Single quotes, unless the text has those and no double ones; what is not printable is escaped.
fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if printable(c) => out.push(c),
            c => out.push_str(&match u32::from(c) {
                code @ 0..=0xff => format!("\\x{code:02x}"),
                code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
}

/// `str.isprintable` of one character. Rust's debug form escapes by the same Unicode categories, and combining
/// marks at the start of a text.
fn printable(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || !format!("a{c}").escape_debug().any(|c| c == '\\')
}

/// A float by Python's `repr`: the shortest digits that read back, with an exponent outside 1e-4 to 1e16.
pub(super) fn float(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if x != 0.0 && !(1e-4..1e16).contains(&x.abs()) {
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = x.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each from Python 3.
    #[test]
    fn values_are_printed_as_python_prints_them() {
        let show = |json: &str| {
            text(&Value::from_serialize(serde_json::from_str::<serde_json::Value>(json).unwrap()))
        };
        for (json, expected) in [
            (r#"["a", 1, true, null, 2.0]"#, "['a', 1, True, None, 2.0]"),
            (r#"{"b": {"c": []}, "a": "it's"}"#, r#"{'b': {'c': []}, 'a': "it's"}"#),
            (
                r#"["\"'", "a\\\n\t\u0007\u00ad\u200b", "é漢😀"]"#,
                r#"['"\'', 'a\\\n\t\x07\xad\u200b', 'é漢😀']"#,
            ),
            (
                "[1e16, 1e15, 0.0001, 0.00001, 1.5e-7, 0.1, -0.0]",
                "[1e+16, 1000000000000000.0, 0.0001, 1e-05, 1.5e-07, 0.1, -0.0]",
            ),
            (r#""plain""#, "plain"),
        ] {
            assert_eq!(show(json), expected);
        }
    }
}
