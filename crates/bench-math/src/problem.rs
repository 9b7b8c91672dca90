//! A problem and the file it is kept in: JSON lines of `{id, problem, answer, source?, subject?, level?}`.
//! How a suite is found by its name is in [`crate::suite`]; how an answer is judged, in [`math_grade`](mod@math_grade).

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use common::{Error, Result};

/// One problem with its reference answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Unique within its file; records of a run are keyed by it.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// The question, as the model will read it (LaTeX or plain text).
    pub problem: String,
    /// The reference answer (LaTeX or plain text; a JSON number is read as its text).
    #[serde(deserialize_with = "text")]
    pub answer: String,
    /// The collection that it comes from, e.g. `"AIME 2024"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The field of mathematics, e.g. `"Precalculus"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Difficulty, 1 (easy) to 5 (MATH only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
}

/// Reads a problems file, keeping its order. Blank lines are skipped; unknown fields are ignored.
///
/// # Errors
/// The file cannot be read; a line is not a JSON object with `id`, `problem` and `answer`; two lines share an
/// `id`; there is no problem in it. The message names file, line and field.
pub fn read_problems(path: impl AsRef<Path>) -> Result<Vec<Problem>> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let problem: Problem = serde_json::from_str(line).map_err(|e| {
            Error::line(path, i + 1, format!("expected {{\"id\", \"problem\", \"answer\", …}}: {e}"))
        })?;
        if !seen.insert(problem.id.clone()) {
            return Err(Error::line(path, i + 1, format!("field \"id\": {:?} occurs twice", problem.id)));
        }
        problems.push(problem);
    }
    if problems.is_empty() {
        return Err(Error::input(format!("{}: expected at least one problem, found none", path.display())));
    }
    Ok(problems)
}

/// A string, or a JSON number as its text: benchmark files disagree on which of the two an id or answer is.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Str(String),
        Num(serde_json::Number),
    }
    Ok(match Text::deserialize(deserializer)? {
        Text::Str(s) => s,
        Text::Num(n) => n.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Problem>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("p.jsonl");
        std::fs::write(&path, text).expect("written");
        read_problems(path)
    }

    #[test]
    fn reads_numbers_as_text_and_keeps_order() {
        let ps = read("{\"id\":7,\"problem\":\"q\",\"answer\":42}\n\n{\"id\":\"b\",\"problem\":\"r\",\"answer\":\"x\",\"level\":5}\n").expect("valid");
        assert_eq!((ps[0].id.as_str(), ps[0].answer.as_str(), ps[1].level), ("7", "42", Some(5)));
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
        assert!(read("\n").is_err());
    }
}
