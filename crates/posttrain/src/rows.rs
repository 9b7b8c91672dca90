//! Rows of data files: JSONL or one JSON array of objects, plain or gzip, or Parquet.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::{Error, parquet};

/// The fields of a row, in file order.
pub type Fields = Map<String, Value>;

/// One row of a data file.
#[derive(Debug, Clone, PartialEq)]
pub struct DataRow {
    /// Where it is, for messages: `line 3`, or `entry 3` of an array, from 1; behind the file's name where there
    /// are several.
    pub place: String,
    /// Its number, from 1; over all files where there are several.
    pub number: usize,
    /// Its fields.
    pub fields: Fields,
}

/// The file, or the files that a path with `*`, `?` or `[…]` matches, in the order of their names.
///
/// # Errors
/// A pattern that matches nothing, or is none.
pub fn data_files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']) && !path.exists());
    let Some(pattern) = pattern else { return Ok(vec![path.to_owned()]) };
    let bad = |e: &dyn std::fmt::Display| Error::at(path, e);
    let files =
        glob::glob(pattern).map_err(|e| bad(&e))?.collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e))?;
    if files.is_empty() { Err(Error::at(path, "no file matches")) } else { Ok(files) }
}

/// Reads the rows of a file, or of all [`data_files`] of a pattern. What a file is shows in its content. Blank lines are
/// skipped; see [`common::read_text`] for encodings.
///
/// # Errors
/// A file that cannot be read, a row that is not a JSON object, no row at all.
pub fn read_rows(path: &Path) -> Result<Vec<DataRow>, Error> {
    let files = data_files(path)?;
    if let [only] = files.as_slice()
        && only == path
    {
        return file_rows(path);
    }
    let mut all = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let before = all.last().map_or(0, |row: &DataRow| row.number);
        let rows = file_rows(file)?.into_iter();
        all.extend(rows.map(|row| DataRow {
            place: format!("{name}: {}", row.place),
            number: before + row.number,
            ..row
        }));
    }
    Ok(all)
}

fn file_rows(path: &Path) -> Result<Vec<DataRow>, Error> {
    if path.is_dir() {
        let expected =
            format!("is a folder, expected a file, or a pattern such as {}/*.parquet", path.display());
        return Err(Error::at(path, expected));
    }
    let rows: Vec<DataRow> = match parquet::read(path)? {
        Some(rows) => (1..)
            .zip(rows)
            .map(|(number, fields)| DataRow { place: format!("row {number}"), number, fields })
            .collect(),
        None => json_rows(path, &common::read_text(path)?)?,
    };
    if rows.is_empty() {
        return Err(Error::at(path, "has no row, expected JSONL, a JSON array of objects, or Parquet"));
    }
    Ok(rows)
}

fn json_rows(path: &Path, text: &str) -> Result<Vec<DataRow>, Error> {
    let row = |number: usize, place: String, value: Result<Value, Error>| match value {
        Ok(Value::Object(fields)) => Ok(DataRow { place, number, fields }),
        Ok(other) => Err(Error::at(path, format!("{place}: is {other}, expected a JSON object"))),
        Err(e) => Err(e.within(place).within(path.display())),
    };
    if text.trim_start().starts_with('[') {
        let all: Vec<Value> = serde_json::from_str(text).map_err(|e| Error::at(path, e))?;
        let entries = (1..).zip(all).map(|(n, value)| row(n, format!("entry {n}"), Ok(value)));
        return entries.collect();
    }
    let lines: Vec<(usize, &str)> =
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect();
    let parse = |line: &str| serde_json::from_str(line).map_err(Error::input);
    let rows = lines.into_par_iter().map(|(n, line)| row(n, format!("line {n}"), parse(line)));
    // All of them, and then the first error: the same one in every run.
    rows.collect::<Vec<_>>().into_iter().collect()
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
        std::fs::write(dir.path().join("e.jsonl"), "{\"b\":3}\n{\"b\":4}").unwrap();
        let both = read_rows(&dir.path().join("[de].json*")).unwrap();
        let places: Vec<(&str, usize)> = both.iter().map(|row| (row.place.as_str(), row.number)).collect();
        let expected = [
            ("d.jsonl: entry 1", 1),
            ("d.jsonl: entry 2", 2),
            ("e.jsonl: line 1", 3),
            ("e.jsonl: line 2", 4),
        ];
        assert_eq!(places, expected);
        assert!(read_rows(&dir.path().join("*.gz")).unwrap_err().to_string().contains("no file matches"));
        assert!(read_rows(dir.path()).unwrap_err().to_string().contains("is a folder"));
        for (text, place) in
            [("{}\n7", "line 2: is 7"), ("{", "line 1"), ("[{}, 3]", "entry 2"), ("\n", "no row")]
        {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(place), "{message}");
        }
    }
}
