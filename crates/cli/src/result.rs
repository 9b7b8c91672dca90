//! `--out` of commands whose result is a table of numbers: JSON, or NumPy's .npz by the extension.
//!
//! An .npz holds the numbers of the JSON object, as f64: a field `a` of an object `b` is the array `b.a`; a list of
//! objects is one array for each of their numeric fields, with the list as first axis. Texts are left out, null is
//! NaN. Lists of unequal lengths are written item by item (`per_pair.0.patched`).

use std::io::{Cursor, Write as _};
use std::path::Path;

use common::{Error, write_whole};
use ndarray::{ArrayD, IxDyn};
use serde_json::Value;
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::options::Result;

/// Writes a result: .npz by the extension, else JSON.
pub(crate) fn write_result(path: &Path, result: &Value) -> Result {
    if path.extension().is_none_or(|e| e != "npz") {
        return write_whole(path, format!("{result:#}\n").as_bytes());
    }
    let mut tables = Vec::new();
    collect("", result, &mut tables);
    write_whole(path, &npz(&tables).map_err(|e| Error::internal(format!("{}: {e}", path.display())))?)
}

/// An uncompressed archive with one .npy file for each array, as `numpy.savez` writes it.
fn npz(tables: &[(String, ArrayD<f64>)]) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // The same bytes at any time of day.
    let stored = FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    for (name, table) in tables {
        archive.start_file(format!("{name}.npy"), stored)?;
        archive.write_all(&npy(table))?;
    }
    Ok(archive.finish()?.into_inner())
}

/// A .npy file, version 1.0: magic, length of the header, header padded to 64 bytes, values in C order.
fn npy(table: &ArrayD<f64>) -> Vec<u8> {
    let shape: String = table.shape().iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic and length have 10 bytes, the header ends with a line feed.
    let padding = (header.len() + 11).next_multiple_of(64) - header.len() - 11;
    header += &" ".repeat(padding);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(table.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

/// Adds the arrays of `value`, whose name is `name`.
fn collect(name: &str, value: &Value, tables: &mut Vec<(String, ArrayD<f64>)>) {
    let child = |field: &str| if name.is_empty() { field.to_owned() } else { format!("{name}.{field}") };
    if let Some(table) = table(value) {
        tables.push((name.to_owned(), table));
        return;
    }
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                collect(&child(field), value, tables);
            }
        }
        Value::Array(items) => {
            let Some(Value::Object(first)) = items.first() else {
                for (i, item) in items.iter().enumerate() {
                    collect(&child(&i.to_string()), item, tables);
                }
                return;
            };
            for field in first.keys() {
                let column: Option<Vec<Value>> = items.iter().map(|item| item.get(field).cloned()).collect();
                match column.map(Value::Array) {
                    Some(column) if table(&column).is_some() => collect(&child(field), &column, tables),
                    _ => {
                        for (i, item) in items.iter().enumerate() {
                            collect(&child(&format!("{i}.{field}")), &item[field], tables);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

/// The array of a number, or of nested lists of numbers of equal lengths.
fn table(value: &Value) -> Option<ArrayD<f64>> {
    fn shape(value: &Value, into: &mut Vec<usize>) {
        if let Value::Array(items) = value {
            into.push(items.len());
            if let Some(first) = items.first() {
                shape(first, into);
            }
        }
    }
    fn fill(value: &Value, shape: &[usize], into: &mut Vec<f64>) -> Option<()> {
        match (value, shape) {
            (Value::Array(items), [n, rest @ ..]) if items.len() == *n => {
                items.iter().try_for_each(|item| fill(item, rest, into))
            }
            (Value::Number(x), []) => {
                into.push(x.as_f64()?);
                Some(())
            }
            (Value::Null, []) => {
                into.push(f64::NAN);
                Some(())
            }
            _ => None,
        }
    }
    let (mut dims, mut values) = (Vec::new(), Vec::new());
    shape(value, &mut dims);
    fill(value, &dims, &mut values)?;
    // Only nulls: absent, such as a mean over pairs of unequal lengths.
    if values.iter().all(|x| x.is_nan()) {
        return None;
    }
    ArrayD::from_shape_vec(IxDyn(&dims), values).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_become_named_arrays() {
        let result = json!({
            "metric": "kl", "clean": 1.5, "share": null, "grid": [[1, 2, 3], [4, null, 6]],
            "effects": [{ "head": "L0H0", "change": 0.5 }, { "head": "L0H1", "change": -1 }],
            "per_pair": [{ "id": "a", "x": [1, 2] }, { "id": "b", "x": [3] }],
        });
        let mut tables = Vec::new();
        collect("", &result, &mut tables);
        let shapes: Vec<(&str, &[usize])> = tables.iter().map(|(name, t)| (&**name, t.shape())).collect();
        let expected: [(&str, &[usize]); 5] = [
            ("clean", &[]),
            ("grid", &[2, 3]),
            ("effects.change", &[2]),
            ("per_pair.0.x", &[2]),
            ("per_pair.1.x", &[1]),
        ];
        assert_eq!(shapes, expected);
        assert!(tables[1].1[[1, 1]].is_nan() && tables[2].1[[1]] == -1.0);
    }
}
