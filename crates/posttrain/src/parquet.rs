//! Rows of Parquet files, the hub's format of data sets.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::{Field, Row};
use serde_json::{Number, Value, json};

use crate::Error;
use crate::rows::Fields;

/// The fields of each row; `None` where the file does not begin as Parquet does.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<Fields>>, Error> {
    let io = |e| Error::io(path, e);
    let mut file = File::open(path).map_err(io)?;
    let mut start = Vec::new();
    (&mut file).take(4).read_to_end(&mut start).map_err(io)?;
    if start != b"PAR1" {
        return Ok(None);
    }
    // Some damage makes the library panic in place of an error.
    let all = std::panic::catch_unwind(|| {
        let reader = SerializedFileReader::new(file)?;
        let rows = reader.get_row_iter(None)?.map(|row| row.map(|row| fields(&row)));
        rows.collect::<Result<Vec<Fields>, parquet::errors::ParquetError>>()
    });
    match all {
        Ok(Ok(rows)) => Ok(Some(rows)),
        Ok(Err(e)) => Err(Error::at(path, e)),
        Err(_) => Err(Error::at(path, "damaged Parquet file")),
    }
}

fn fields(row: &Row) -> Fields {
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

/// A value as JSON has it: what JSON does not know becomes a text, and bytes that are no text an object, so that
/// nothing takes them for one.
fn value(field: &Field) -> Value {
    let float = |x: f64| Number::from_f64(x).map_or_else(|| x.to_string().into(), Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(x) => (*x).into(),
        Field::Byte(x) => (*x).into(),
        Field::Short(x) => (*x).into(),
        Field::Int(x) => (*x).into(),
        Field::Long(x) => (*x).into(),
        Field::UByte(x) => (*x).into(),
        Field::UShort(x) => (*x).into(),
        Field::UInt(x) => (*x).into(),
        Field::ULong(x) => (*x).into(),
        Field::Float16(x) => float(f64::from(*x)),
        Field::Float(x) => float(f64::from(*x)),
        Field::Double(x) => float(*x),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => text.into(),
            Err(_) => json!({ "bytes": bytes.len() }),
        },
        Field::Group(row) => Value::Object(fields(row)),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let key = |key: &Field| value(key).as_str().map_or_else(|| key.to_string(), str::to_owned);
            Value::Object(map.entries().iter().map(|(k, v)| (key(k), value(v))).collect())
        }
        Field::Decimal(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => field.to_string().into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::rows::read_rows;

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/parquet").join(name)
    }

    fn rows(name: &str) -> Vec<Fields> {
        read_rows(&file(name)).unwrap().into_iter().map(|row| row.fields).collect()
    }

    #[test]
    fn rows_are_those_of_the_same_data_in_json() {
        for name in ["none", "snappy", "zstd", "gzip"] {
            assert_eq!(rows(&format!("{name}.parquet")), rows("rows.jsonl"), "{name}");
        }
        assert_eq!(rows("hub.parquet"), rows("hub.jsonl"));
        let several = read_rows(&file("[gz]*p*.parquet")).unwrap();
        assert_eq!(
            (several.len(), several[6].place.as_str(), several[6].number),
            (7, "gzip.parquet: row 7", 7)
        );
    }

    #[test]
    fn what_json_does_not_know_is_text_and_bytes_are_not_taken_for_text() {
        let expected = json!({"day": "2026-01-02", "price": "1.50", "image": {"bytes": 3}, "text": "as bytes",
            "nan": "NaN", "map": {"a": 1}});
        assert_eq!(Value::Object(rows("other.parquet").remove(0)), expected);
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.parquet");
        let whole = std::fs::read(file("snappy.parquet")).unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_rows(&path)
        };
        for n in [0, 4, 11, 12, whole.len() / 2, whole.len() - 1] {
            let message = read(&whole[..n]).unwrap_err().to_string();
            assert!(message.contains("d.parquet"), "{n}: {message}");
        }
        // Any damage is an error or other rows.
        let mut state = 1u64;
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            if let Err(e) = read(&bytes) {
                assert!(e.to_string().contains("d.parquet"), "{e}");
            }
        }
    }
}
