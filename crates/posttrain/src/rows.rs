//! Rows of a data file: JSONL or one JSON array of objects, plain or gzip.

use std::path::Path;

use serde_json::{Map, Value};

use crate::Error;

/// The fields of a row, in file order.
pub type Fields = Map<String, Value>;

/// One row of a data file.
#[derive(Debug, Clone, PartialEq)]
pub struct DataRow {
    /// Where it is, for messages: `line 3`, or `entry 3` of an array; both from 1.
    pub place: String,
    /// Its number, from 1.
    pub number: usize,
    /// Its fields.
    pub fields: Fields,
}

/// Reads the rows of a file; blank lines are skipped. See [`common::read_text`] for encodings.
///
/// # Errors
/// A file that cannot be read, a row that is not a JSON object, no row at all.
pub fn read_rows(path: &Path) -> Result<Vec<DataRow>, Error> {
    let text = common::read_text(path)?;
    let row = |number: usize, place: String, value: Result<Value, Error>| match value {
        Ok(Value::Object(fields)) => Ok(DataRow { place, number, fields }),
        Ok(other) => Err(Error::at(path, format!("{place}: is {other}, expected a JSON object"))),
        Err(e) => Err(e.within(place).within(path.display())),
    };
    let rows: Vec<DataRow> = if text.trim_start().starts_with('[') {
        let all: Vec<Value> = serde_json::from_str(&text).map_err(|e| Error::at(path, e))?;
        let entries = (1..).zip(all).map(|(n, value)| row(n, format!("entry {n}"), Ok(value)));
        entries.collect::<Result<_, _>>()?
    } else {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let parse = |line: &str| serde_json::from_str(line).map_err(Error::input);
        lines.map(|(n, line)| row(n, format!("line {n}"), parse(line))).collect::<Result<_, _>>()?
    };
    if rows.is_empty() {
        return Err(Error::at(path, "has no row, expected JSONL or a JSON array of objects"));
    }
    Ok(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_arrays_have_the_same_rows_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = dir.path().join("d.jsonl");
            std::fs::write(&path, text).unwrap();
            read_rows(&path)
        };
        let lines = read("\u{feff}{\"a\":1}\r\n\r\n{\"a\":2}").unwrap();
        let array = read("[{\"a\":1},\n{\"a\":2}]").unwrap();
        assert_eq!((lines.len(), &lines[1].fields), (2, &array[1].fields));
        assert_eq!((lines[1].place.as_str(), array[1].place.as_str()), ("line 3", "entry 2"));
        for (text, place) in
            [("{}\n7", "line 2: is 7"), ("{", "line 1"), ("[{}, 3]", "entry 2"), ("\n", "no row")]
        {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(place), "{message}");
        }
    }
}
