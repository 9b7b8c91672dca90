//! Arrays in NumPy's format: an archive, stored, of one `.npy` file (version 1.0) for each.

use std::io::{Cursor, Write as _};

use common::Error;
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::Results;

/// An array of two dimensions, in C order.
pub(super) struct Array {
    pub(super) name: String,
    shape: [usize; 2],
    values: Vec<f64>,
}

/// Maps of heads `[layers, heads]` of each training, suite and rule, and shares of right samples `[checkpoints, problems]`
/// of each benchmark, checkpoints in the order of `answers`. What was not measured is NaN.
pub(super) fn arrays(results: &Results) -> Vec<Array> {
    let shape = [results.model.n_layers, results.model.n_heads];
    let map = |name: String, rows: &mut dyn Iterator<Item = (hooks::Head, f64)>| {
        let mut values = vec![f64::NAN; shape[0] * shape[1]];
        rows.for_each(|(head, x)| values[head.layer * shape[1] + head.head] = x);
        Array { name, shape, values }
    };
    let mut all = Vec::new();
    for study in &results.heads {
        let of = |what: &str| format!("{what}.{}.{}.{}", study.training, study.suite, study.rule);
        all.push(map(of("effect"), &mut study.effects.iter().map(|e| (e.head, e.effect))));
        all.push(map(of("before"), &mut study.effects.iter().map(|e| (e.head, e.before))));
        all.push(map(of("after"), &mut study.effects.iter().map(|e| (e.head, e.after))));
        all.push(map(of("frequency"), &mut study.frequency.iter().map(|f| (f.head, f.share))));
    }
    for benchmark in &results.benchmarks {
        let rows: Vec<&Vec<f64>> =
            results.answers.iter().filter(|a| a.benchmark == benchmark.name).map(|a| &a.rates).collect();
        all.push(Array {
            name: format!("rates.{}", benchmark.name),
            shape: [rows.len(), benchmark.n],
            values: rows.into_iter().flatten().copied().collect(),
        });
    }
    all
}

/// The archive. Its bytes are a function of the arrays: no time is in it.
pub(super) fn archive(arrays: &[Array]) -> Result<Vec<u8>, Error> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let how = FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    for array in arrays {
        zip.start_file(format!("{}.npy", array.name), how).map_err(Error::internal)?;
        zip.write_all(&npy(array)).map_err(Error::internal)?;
    }
    Ok(zip.finish().map_err(Error::internal)?.into_inner())
}

/// `.npy`: magic, version, length of the header, the header padded to a multiple of 64 bytes, the values.
fn npy(array: &Array) -> Vec<u8> {
    let [rows, columns] = array.shape;
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(array.values.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_numpy() {
        // numpy.save of [[1.0, nan]]: 128 bytes of header, two values.
        let array = Array { name: "a".into(), shape: [1, 2], values: vec![1.0, f64::NAN] };
        let bytes = npy(&array);
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        assert_eq!(bytes.len(), 128 + 16);
        assert_eq!(u16::from_le_bytes([bytes[8], bytes[9]]), 118);
        assert!(bytes[10..128].starts_with(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }"));
        assert_eq!(&bytes[128..136], &1.0f64.to_le_bytes());
        assert_eq!(archive(&[array]).ok().map(|b| b[..4].to_vec()), Some(b"PK\x03\x04".to_vec()));
    }
}
