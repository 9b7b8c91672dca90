//! Typed access to the fields of a JSON object, with errors that name the field.

use serde_json::Value;

use crate::Error;

/// The largest size that a field may have: above it the file is broken or hostile.
const MAX_SIZE: u64 = 1 << 24;

/// A JSON object, and what to call it in messages; empty at the top level of `config.json`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) object: &'a Value,
    pub(super) place: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Value) -> Self {
        Self { object, place: "" }
    }

    fn shown(&self, name: &str) -> String {
        if self.place.is_empty() { format!("`{name}`") } else { format!("`{name}` in `{}`", self.place) }
    }

    /// An error about one field: its value and what was expected.
    pub(super) fn bad(&self, name: &str, expected: impl std::fmt::Display) -> Error {
        Error::input(format_args!("{} is {}, expected {expected}", self.shown(name), self.object[name]))
    }

    fn missing(&self, name: &str) -> Error {
        Error::input(format_args!("missing {}", self.shown(name)))
    }

    /// The field where `read` accepts it, `None` where it is absent or null.
    fn get<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match &self.object[name] {
            Value::Null => Ok(None),
            value => read(value).map(Some).ok_or_else(|| self.bad(name, expected)),
        }
    }

    pub(super) fn size(&self, name: &str) -> Result<Option<usize>, Error> {
        self.get(name, "an integer from 1 to 16777216", |value| {
            value.as_u64().filter(|n| (1..=MAX_SIZE).contains(n)).map(|n| n as usize)
        })
    }

    pub(super) fn required_size(&self, name: &str) -> Result<usize, Error> {
        self.size(name)?.ok_or_else(|| self.missing(name))
    }

    /// A finite number above 0.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        self.get(name, "a positive number", |value| value.as_f64().filter(|x| x.is_finite() && *x > 0.0))
    }

    pub(super) fn required_number(&self, name: &str) -> Result<f64, Error> {
        self.number(name)?.ok_or_else(|| self.missing(name))
    }

    /// A finite number above 0; 0 counts as absent, as in Python's `x or default`.
    pub(super) fn number_or_zero(&self, name: &str) -> Result<Option<f64>, Error> {
        let read = |value: &Value| value.as_f64().filter(|x| x.is_finite() && *x >= 0.0);
        Ok(self.get(name, "a number from 0", read)?.filter(|x| *x > 0.0))
    }

    /// A list of `len` positive numbers.
    pub(super) fn numbers(&self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        let number = |x: &Value| x.as_f64().map(|x| x as f32).filter(|x| x.is_finite() && *x > 0.0);
        let list = self.get(name, &format!("{len} positive numbers"), |value| {
            let list: Option<Vec<f32>> = value.as_array()?.iter().map(number).collect();
            list.filter(|list| list.len() == len)
        })?;
        list.ok_or_else(|| self.missing(name))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        Ok(self.get(name, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        self.get(name, "a text", Value::as_str)
    }
}
