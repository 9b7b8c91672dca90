//! A problem, and problems files: JSON lines of `{id, problem, answer, source?, subject?, level?}`.
//!
//! Suites by name are in [`crate::suite`].

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use common::{Error, Result};

/// One problem with its reference answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Unique within its file; records of a run are keyed by it.
    pub id: String,
    /// The question in LaTeX or plain text, as the model will read it.
    pub problem: String,
    /// The reference answer in LaTeX or plain text.
    pub answer: String,
    /// The collection that it comes from, e.g. `"AIME 2024"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The field of mathematics, e.g. `"Precalculus"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Difficulty as the file writes it, e.g. `"5"` or `"Level 5"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

/// The problems of a suite or a file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems {
    /// In the order of the file; no two have the same id.
    pub list: Vec<Problem>,
    /// Names of fields in the file that are not read, sorted.
    pub unread: Vec<String>,
}

/// Reads a problems file: UTF-8 with or without byte-order mark, plain or gzip; blank lines are skipped.
///
/// An `id` that is absent or null may be called `unique_id`. A JSON number is read as its text. The optional fields may have any type.
///
/// # Errors
/// The file cannot be read; a line is not a JSON object with `id`, `problem` and `answer`; two lines share an
/// `id`; there is no problem in it. The message names file, line and field.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("problems.jsonl");
/// std::fs::write(&path, r#"{"unique_id": "a/1", "problem": "7 * 6?", "answer": 42, "level": 1, "year": 1979}"#)?;
/// let problems = bench_math::read_problems(&path)?;
/// assert_eq!((&*problems.list[0].id, &*problems.list[0].answer), ("a/1", "42"));
/// assert_eq!(problems.unread, ["year"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_problems(path: impl AsRef<Path>) -> Result<Problems> {
    let path = path.as_ref();
    parse_problems(path, &common::read_text(path)?)
}

/// Reads the text of the problems file at `path`: as [`read_problems`].
///
/// # Errors
/// As [`read_problems`].
pub fn parse_problems(path: &Path, text: &str) -> Result<Problems> {
    let (mut list, mut seen, mut unread) = (Vec::new(), HashSet::new(), BTreeSet::new());
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let problem = Row::parse(line).and_then(|row| row.problem(&mut unread));
        let problem = problem.map_err(|e| Error::line(path, i + 1, e))?;
        if !seen.insert(problem.id.clone()) {
            return Err(Error::line(path, i + 1, format!("field \"id\": {:?} occurs twice", problem.id)));
        }
        list.push(problem);
    }
    if list.is_empty() {
        return Err(Error::at(path, "expected at least one problem, found none"));
    }
    Ok(Problems { list, unread: unread.into_iter().collect() })
}

/// One line of a file of JSON objects, whose text fields may be written as numbers.
///
/// ```
/// let row = bench_math::Row::parse(r#"{"gold": 1e22, "pred": "10^{22}"}"#)?;
/// assert_eq!(row.text("gold")?, "10000000000000000000000");
/// assert!(row.text("id").unwrap_err().to_string().contains("\"id\""));
/// # Ok::<(), bench_math::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Row<'a> {
    line: &'a str,
    /// The object's fields.
    pub fields: Map<String, Value>,
}

impl<'a> Row<'a> {
    /// Parses a line.
    ///
    /// # Errors
    /// What is not a JSON object.
    pub fn parse(line: &'a str) -> Result<Self> {
        let fields = serde_json::from_str(line)
            .map_err(|e| Error::input(format!("expected a JSON object on one line: {e}")))?;
        Ok(Self { line, fields })
    }

    /// The text of a field: of a JSON number its digits as the file writes them, without exponent.
    ///
    /// # Errors
    /// A field that is absent or neither a text nor a number.
    pub fn text(&self, field: &str) -> Result<String> {
        match self.fields.get(field) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(self.digits(field, number)),
            None => Err(Error::input(format!("field \"{field}\": missing, expected a text"))),
            Some(other) => Err(Error::input(format!("field \"{field}\": {other}, expected a text"))),
        }
    }

    /// The field that names the row: `id`, or `unique_id` where `id` is absent or null.
    pub fn id_field(&self) -> &'static str {
        let null = |field: &str| self.fields.get(field).is_none_or(Value::is_null);
        if null("id") && !null("unique_id") { "unique_id" } else { "id" }
    }

    /// The text of an optional field: texts and numbers as [`text`](Self::text), null as none, anything else as
    /// JSON.
    pub fn optional(&self, field: &str) -> Option<String> {
        match self.fields.get(field)? {
            Value::Null => None,
            Value::String(_) | Value::Number(_) => self.text(field).ok(),
            other => Some(other.to_string()),
        }
    }

    /// A number's digits. Parsing keeps 17 of them only, so they are taken from the line where it has no exponent.
    fn digits(&self, field: &str, number: &serde_json::Number) -> String {
        let name = format!("\"{field}\"");
        let written = self.line.match_indices(&name).find_map(|(at, _)| {
            let value = self.line[at + name.len()..].trim_start().strip_prefix(':')?.trim_start();
            let end =
                value.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(value.len());
            let value = &value[..end];
            (!value.contains(['e', 'E']) && value.parse() == Ok(number.as_f64()?)).then(|| value.to_owned())
        });
        match (written, number.as_f64()) {
            (Some(written), _) => written,
            (None, Some(value)) if !number.is_i64() && !number.is_u64() => value.to_string(),
            _ => number.to_string(),
        }
    }

    /// The row as a problem; the names of other fields go into `unread`.
    fn problem(&self, unread: &mut BTreeSet<String>) -> Result<Problem> {
        const READ: [&str; 6] = ["id", "problem", "answer", "source", "subject", "level"];
        let id = self.id_field();
        let other = self.fields.keys().filter(|name| !READ.contains(&name.as_str()) && *name != id);
        unread.extend(other.cloned());
        let filled = |field: &str| match self.text(field)? {
            text if text.trim().is_empty() => {
                Err(Error::input(format!("field \"{field}\": empty, expected a text")))
            }
            text => Ok(text),
        };
        Ok(Problem {
            id: self.text(id)?,
            problem: filled("problem")?,
            answer: filled("answer")?,
            source: self.optional("source"),
            subject: self.optional("subject"),
            level: self.optional("level"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Problems> {
        parse_problems(Path::new("p.jsonl"), text)
    }

    #[test]
    fn numbers_are_texts_and_optional_fields_have_any_type() {
        let text = "{\"id\":7,\"problem\":\"q\",\"answer\":42,\"level\":\"Level 3\"}\r\n\r\n\
                    {\"unique_id\":\"b\",\"problem\":8,\"answer\":\"x\",\"level\":5,\"subject\":[\"a\",\"b\"]}\n";
        let read = read(text).expect("valid");
        let [a, b] = &read.list[..] else { panic!("{read:?}") };
        assert_eq!((&*a.id, &*a.answer, a.level.as_deref()), ("7", "42", Some("Level 3")));
        assert_eq!((&*b.id, &*b.problem, b.level.as_deref()), ("b", "8", Some("5")));
        assert_eq!((b.subject.as_deref(), b.source.as_deref()), (Some("[\"a\",\"b\"]"), None));
        assert!(read.unread.is_empty());
    }

    #[test]
    fn an_id_that_is_null_may_be_a_unique_id() {
        let row = |ids: &str| read(&format!("{{{ids},\"problem\":\"q\",\"answer\":1}}"));
        let of = |ids: &str| row(ids).map(|read| (read.list[0].id.clone(), read.unread)).expect("an id");
        assert_eq!(of(r#""id":null,"unique_id":"a/7""#), ("a/7".into(), vec![]));
        assert_eq!(of(r#""unique_id":8"#), ("8".into(), vec![]));
        assert_eq!(of(r#""id":"b","unique_id":"c""#), ("b".into(), vec!["unique_id".into()]));
        let error = row(r#""id":null,"unique_id":null"#).expect_err("no id").to_string();
        assert!(error.contains("field \"id\": null"), "{error}");
    }

    #[test]
    fn an_empty_answer_is_no_reference() {
        let text = "{\"id\":7,\"problem\":\"q\",\"answer\":\" \"}\n";
        assert!(read(text).expect_err("empty").to_string().contains("line 1: field \"answer\": empty"));
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (json, text) in [
            ("46", "46"),
            ("-0.50", "-0.50"),
            ("1e22", "10000000000000000000000"),
            ("3.2E-4", "0.00032"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0.1234567890123456789", "0.1234567890123456789"),
        ] {
            let line = format!(r#"{{"problem":"what is \"answer\": 5?", "id": 1, "answer" : {json} }}"#);
            assert_eq!(Row::parse(&line).expect("JSON").text("answer").expect("a number"), text);
        }
    }

    #[test]
    fn errors_name_line_and_field() {
        let missing =
            read("{\"id\":\"a\",\"problem\":\"q\",\"answer\":\"1\"}\n{\"id\":\"b\",\"problem\":\"q\"}\n")
                .expect_err("no answer")
                .to_string();
        assert!(missing.contains("p.jsonl: line 2") && missing.contains("answer"), "{missing}");
        let line = "{\"id\":\"a\",\"problem\":\"q\",\"answer\":\"1\"}\n";
        assert!(read(&line.repeat(2)).expect_err("twice").to_string().contains("twice"));
        assert!(
            read("{\"id\":1,\"problem\":\"q\",\"answer\":null}")
                .expect_err("null")
                .to_string()
                .contains("null")
        );
        assert!(read("\n").is_err());
    }
}
