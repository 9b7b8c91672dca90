//! Methods of Python's `str`, `dict` and `list` that chat templates call. Indices count characters.

use minijinja::value::{Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, FormatStyle, State, format_filter};

use super::repr::{repr, text};
use super::tuple;

pub(super) fn call(state: &State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.kind(), value.as_str()) {
        (_, Some(s)) => string(s, name, args),
        (ValueKind::Map, _) if name == "copy" => Ok(value.clone()),
        (ValueKind::Map, _) if name == "items" && value.get_attr(name).is_ok_and(|v| v.is_undefined()) => {
            from_args::<()>(args)?;
            tuple::each(&minijinja::filters::items(value)?)
        }
        (ValueKind::Seq, _) => list(value, name, args),
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn list(value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let mut items = value.try_iter()?;
    match name {
        "copy" => Ok(value.clone()),
        "count" => {
            let (what,): (&Value,) = from_args(args)?;
            Ok(Value::from(items.filter(|item| item == what).count()))
        }
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            let at = items.position(|item| item == *what);
            at.map(Value::from).ok_or_else(|| bad(format!("{} is not in the list", text(what))))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn bad(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// A value for a format: texts and numbers as they are, others as Python prints them.
fn shown(arg: &Value) -> Value {
    match arg.kind() {
        ValueKind::String | ValueKind::Number => arg.clone(),
        _ if arg.is_kwargs() => arg.clone(),
        _ => Value::from(text(arg)),
    }
}

/// The whole number that `%d` writes for a fraction or a boolean.
fn whole(value: &Value) -> Option<Value> {
    match value.kind() {
        ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
        ValueKind::Number if !value.is_integer() => {
            f64::try_from(value.clone()).ok().map(|x| Value::from(x.trunc() as i64))
        }
        _ => None,
    }
}

/// The values that `%(name)s` names in the one mapping given, and the format without the names.
fn by_name(format: &str, args: &[Value]) -> Result<Option<(String, Vec<Value>)>, Error> {
    let [mapping] = args else { return Ok(None) };
    if mapping.kind() != ValueKind::Map || !format.replace("%%", "").contains("%(") {
        return Ok(None);
    }
    let (mut out, mut values, mut rest) = (String::new(), Vec::new(), format);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        if let Some(more) = rest.strip_prefix('%') {
            out.push('%');
            rest = more;
        } else if let Some((name, more)) = rest.strip_prefix('(').and_then(|named| named.split_once(')')) {
            let value = mapping.get_item(&Value::from(name))?;
            if value.is_undefined() {
                return Err(bad(format!("{name:?} is no key of the mapping that a format is given")));
            }
            values.push(value);
            rest = more;
        }
    }
    out.push_str(rest);
    Ok(Some((out, values)))
}

/// `format % args`, for a tuple of arguments.
pub(super) fn printf(format: &str, args: &[Value]) -> Result<Value, Error> {
    let named = by_name(format, args)?;
    let (format, args) = named.as_ref().map_or((format, args), |(format, args)| (format.as_str(), &args[..]));
    let mut args: Vec<Value> = args.to_vec();
    // The library knows no `%r`: it becomes `%s` of the representation. Whole numbers are cut from fractions.
    let (mut out, mut rest, mut at) = (String::new(), format, 0);
    while let Some(start) = rest.find('%') {
        let spec = rest[start + 1..].find(|c: char| c.is_alphabetic() || c == '%').map(|end| start + 1 + end);
        let Some(end) = spec else { break };
        out.push_str(&rest[..end]);
        let kind = rest.as_bytes()[end];
        if kind == b'r'
            && let Some(arg) = args.get_mut(at)
        {
            let mut shown = String::new();
            repr(arg, &mut shown);
            *arg = Value::from(shown);
        }
        if matches!(kind, b'd' | b'i')
            && let Some(arg) = args.get_mut(at)
            && let Some(number) = whole(arg)
        {
            *arg = number;
        }
        at += usize::from(kind != b'%');
        let len = rest[end..].chars().next().map_or(1, char::len_utf8);
        out.push_str(match kind {
            b'r' => "s",
            b'i' => "d",
            _ => &rest[end..end + len],
        });
        rest = &rest[end + len..];
    }
    out.push_str(rest);
    if at < args.len() {
        return Err(bad("not all arguments of a format are used".to_owned()));
    }
    let args: Vec<Value> = args.iter().map(shown).collect();
    format_filter(FormatStyle::Printf, &out, &args).map(Value::from)
}

/// A list of texts.
fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> Value {
    items.into_iter().map(Value::from).collect()
}

/// What `strip` and its like remove: the characters given, or white space.
fn stripped(args: &[Value]) -> Result<impl Fn(char) -> bool, Error> {
    let (chars,): (Option<&str>,) = from_args(args)?;
    let chars: Option<Vec<char>> = chars.map(|chars| chars.chars().collect());
    Ok(move |c: char| chars.as_ref().map_or_else(|| white(c), |chars| chars.contains(&c)))
}

/// `str.isspace` of one character: Unicode's white space and the separators of ASCII.
fn white(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// A method of `str`.
pub(super) fn string(s: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let none = || from_args::<()>(args);
    Ok(match name {
        "strip" => s.trim_matches(stripped(args)?).into(),
        "lstrip" => s.trim_start_matches(stripped(args)?).into(),
        "rstrip" => s.trim_end_matches(stripped(args)?).into(),
        "split" => split(s, args)?,
        "rsplit" => rsplit(s, args)?,
        "splitlines" => lines(s, args)?,
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let last = name == "rpartition";
            match if last { s.rsplit_once(separator) } else { s.split_once(separator) } {
                Some((before, after)) => tuple::of([before, separator, after].map(Value::from)),
                None if last => tuple::of(["", "", s].map(Value::from)),
                None => tuple::of([s, "", ""].map(Value::from)),
            }
        }
        "startswith" => starts(args, |what| s.starts_with(what))?,
        "endswith" => starts(args, |what| s.ends_with(what))?,
        "removeprefix" => from_args::<(&str,)>(args).map(|(p,)| s.strip_prefix(p).unwrap_or(s).into())?,
        "removesuffix" => from_args::<(&str,)>(args).map(|(p,)| s.strip_suffix(p).unwrap_or(s).into())?,
        "replace" => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(args)?;
            match count {
                Some(count) if count >= 0 => s.replacen(old, new, count as usize).into(),
                _ => s.replace(old, new).into(),
            }
        }
        "find" | "index" | "rfind" | "rindex" => find(s, name, args)?,
        "count" => from_args::<(&str,)>(args).map(|(what,)| Value::from(s.matches(what).count()))?,
        "join" => {
            let (items,): (&Value,) = from_args(args)?;
            let items: Vec<String> = items.try_iter()?.map(|item| text(&item)).collect();
            items.join(s).into()
        }
        "format" => {
            let args: Vec<Value> = args.iter().map(shown).collect();
            format_filter(FormatStyle::StrFormat, s, &args)?.into()
        }
        "upper" => none().map(|()| s.to_uppercase().into())?,
        "lower" | "casefold" => none().map(|()| s.to_lowercase().into())?,
        "title" => none().map(|()| title(s).into())?,
        "capitalize" => none().map(|()| capitalized(s).into())?,
        "swapcase" => {
            let swap = |c: char| {
                if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() }
            };
            none().map(|()| s.chars().map(swap).collect::<String>().into())?
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = s.split_at(usize::from(s.starts_with(['+', '-'])));
            format!("{sign}{digits:0>n$}", n = bounded(width)?.saturating_sub(sign.len())).into()
        }
        "ljust" | "rjust" | "center" => justified(s, name, args)?,
        _ if name.starts_with("is") => is(s, name).and_then(|found| none().map(|()| Value::from(found)))?,
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

fn bounded(width: usize) -> Result<usize, Error> {
    if width > 10_000 { Err(bad(format!("a width of {width}, expected at most 10000"))) } else { Ok(width) }
}

fn starts(args: &[Value], test: impl Fn(&str) -> bool) -> Result<Value, Error> {
    let (what,): (&Value,) = from_args(args)?;
    match what.as_str() {
        Some(what) => Ok(test(what).into()),
        None => Ok(what.try_iter()?.any(|what| what.as_str().is_some_and(&test)).into()),
    }
}

/// Separator and number of splits, by position or by name.
fn separator(args: &[Value]) -> Result<(Option<String>, usize), Error> {
    let (positional, named): (Rest<Value>, minijinja::value::Kwargs) = from_args(args)?;
    let option = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        let given = named.get::<Option<Value>>(name)?.or_else(|| positional.get(at).cloned());
        Ok(given.filter(|value| !value.is_none()))
    };
    let by = option(0, "sep")?.map(|value| text(&value));
    if by.as_deref() == Some("") {
        return Err(bad("split: an empty separator".to_owned()));
    }
    let most = option(1, "maxsplit")?.and_then(|value| value.as_i64()).unwrap_or(-1);
    named.assert_all_used()?;
    Ok((by, usize::try_from(most).unwrap_or(usize::MAX)))
}

fn split(s: &str, args: &[Value]) -> Result<Value, Error> {
    let (by, most) = separator(args)?;
    let Some(by) = by else {
        let (mut parts, mut rest) = (Vec::new(), s.trim_start_matches(white));
        while parts.len() < most
            && let Some(end) = rest.find(white)
        {
            parts.push(&rest[..end]);
            rest = rest[end..].trim_start_matches(white);
        }
        parts.extend((!rest.is_empty()).then_some(rest));
        return Ok(texts(parts));
    };
    Ok(texts(s.splitn(most.saturating_add(1), by.as_str())))
}

fn rsplit(s: &str, args: &[Value]) -> Result<Value, Error> {
    let (by, most) = separator(args)?;
    let mut parts: Vec<&str> = match by {
        Some(by) => s.rsplitn(most.saturating_add(1), by.as_str()).collect(),
        None => {
            let (mut parts, mut rest) = (Vec::new(), s.trim_end_matches(white));
            while parts.len() < most
                && let Some((at, c)) = rest.char_indices().rev().find(|(_, c)| white(*c))
            {
                parts.push(&rest[at + c.len_utf8()..]);
                rest = rest[..at].trim_end_matches(white);
            }
            parts.extend((!rest.is_empty()).then_some(rest));
            parts
        }
    };
    parts.reverse();
    Ok(texts(parts))
}

fn lines(s: &str, args: &[Value]) -> Result<Value, Error> {
    let (keep,): (Option<bool>,) = from_args(args)?;
    let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let (mut lines, mut rest) = (Vec::new(), s);
    while !rest.is_empty() {
        let line = rest.find(ends).unwrap_or(rest.len());
        let end = match rest[line..].chars().next() {
            Some('\r') if rest[line..].starts_with("\r\n") => 2,
            c => c.map_or(0, char::len_utf8),
        };
        lines.push(&rest[..if keep == Some(true) { line + end } else { line }]);
        rest = &rest[line + end..];
    }
    Ok(texts(lines))
}

fn find(s: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let (what, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let n = s.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + n).max(0) } else { at.min(n) } as usize;
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(n)));
    let byte = |at: usize| s.char_indices().nth(at).map_or(s.len(), |(byte, _)| byte);
    let inside = if start <= end { Some(&s[byte(start)..byte(end)]) } else { None };
    let found = inside.and_then(|part| {
        let at = if name.starts_with('r') { part.rfind(what) } else { part.find(what) }?;
        Some(start + part[..at].chars().count())
    });
    match found {
        Some(at) => Ok(Value::from(at)),
        None if name.ends_with("find") => Ok(Value::from(-1)),
        None => Err(bad(format!("{name}: substring not found"))),
    }
}

fn justified(s: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let (width, fill): (usize, Option<char>) = from_args(args)?;
    let blanks = bounded(width)?.saturating_sub(s.chars().count());
    let left = match name {
        "ljust" => 0,
        "rjust" => blanks,
        // As CPython rounds.
        _ => blanks / 2 + (blanks & width & 1),
    };
    let fill = |n: usize| std::iter::repeat_n(fill.unwrap_or(' '), n).collect::<String>();
    Ok(Value::from(format!("{}{s}{}", fill(left), fill(blanks - left))))
}

fn title(s: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_alphabetic();
    }
    out
}

fn capitalized(s: &str) -> String {
    let mut chars = s.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

fn is(s: &str, name: &str) -> Result<bool, Error> {
    let all = |test: fn(char) -> bool| !s.is_empty() && s.chars().all(test);
    let cased = s.chars().any(|c| c.is_lowercase() || c.is_uppercase());
    Ok(match name {
        "isspace" => all(white),
        "isdigit" | "isnumeric" | "isdecimal" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isascii" => s.is_ascii(),
        "islower" => cased && !s.chars().any(char::is_uppercase),
        "isupper" => cased && !s.chars().any(char::is_lowercase),
        "istitle" => cased && title(s) == s,
        "isidentifier" => {
            s.chars().all(|c| c.is_alphanumeric() || c == '_')
                && !s.starts_with(char::is_numeric)
                && !s.is_empty()
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}
