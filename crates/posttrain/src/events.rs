//! TensorBoard event files: `TFRecord`s of the messages `Event`, `Summary` and `SessionLog`.
//!
//! Three messages of a few fields are encoded here. The crates for it need `protoc` to build (tboard) or an old
//! `image` and `protobuf` (tensorboard-rs).

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::Error;

/// How every event file's name begins, with the second in which it was made after it.
const PREFIX: &str = "events.out.tfevents.";

/// The event file of one process; made when the first scalars come.
#[derive(Debug)]
pub(crate) struct Events {
    dir: PathBuf,
    /// What earlier files in the folder hold from this step on is void.
    from: usize,
    file: Option<(PathBuf, File)>,
}

impl Events {
    pub(crate) fn new(dir: &Path, from: usize) -> Self {
        Self { dir: dir.to_owned(), from, file: None }
    }

    /// Writes the numbers of a step: `eval_x` as `eval/x` and others as `train/x`, as `transformers` names them.
    pub(crate) fn write(&mut self, step: usize, metrics: &Map<String, Value>) -> Result<(), Error> {
        let numbers = metrics.iter().filter(|(name, _)| *name != "step");
        let values: Vec<u8> = numbers
            .filter_map(|(name, value)| {
                let tag = match name.strip_prefix("eval_") {
                    Some(rest) => format!("eval/{rest}"),
                    None => format!("train/{name}"),
                };
                Some(message(1, &[text(1, &tag), fixed32(2, value.as_f64()? as f32)].concat()))
            })
            .flatten()
            .collect();
        let event = event(now(), step, &message(5, &values));
        if self.file.is_none() {
            self.file = Some(self.begin()?);
        }
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(&record(&event)).map_err(|e| Error::io(path, e))
    }

    /// Begins a file that TensorBoard reads after the ones in the folder.
    fn begin(&self) -> Result<(PathBuf, File), Error> {
        let entries = std::fs::read_dir(&self.dir).map_err(|e| Error::io(&self.dir, e))?;
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
        let seconds = names.filter_map(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        let next: u64 = seconds.max().map_or(0, |last: u64| last + 1).max(now() as u64);
        let path = self.dir.join(format!("{PREFIX}{next:010}.sparks"));
        let mut file =
            OpenOptions::new().create_new(true).append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        file.write_all(&head(now(), self.from)).map_err(|e| Error::io(&path, e))?;
        Ok((path, file))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The version, and the start of a session: TensorBoard drops what it has read of steps from `from` on.
fn head(time: f64, from: usize) -> Vec<u8> {
    let start = [8, 1];
    [record(&event(time, 0, &text(3, "brain.Event:2"))), record(&event(time, from, &message(7, &start)))]
        .concat()
}

/// `Event`: wall time, step, and one of version, summary and session.
fn event(time: f64, step: usize, what: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1 << 3 | 1];
    bytes.extend(time.to_le_bytes());
    if step > 0 {
        bytes.push(2 << 3);
        varint(&mut bytes, step as u64);
    }
    bytes.extend(what);
    bytes
}

fn message(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    varint(&mut bytes, inner.len() as u64);
    bytes.extend(inner);
    bytes
}

fn text(field: u8, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

fn fixed32(field: u8, value: f32) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 5];
    bytes.extend(value.to_le_bytes());
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Length, its checksum, data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What tensorboard 2.21's `RecordWriter` wrote of these messages (`tools/oracles/events.py`).
    const WRITTEN: &str = "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c\
        0f000000000000006d532b0909000000000000f83f10073a020801774771c7\
        33000000000000000ca7205609000000000000044010ac022a250a110a0a747261696e2f6c6f7373150000803e\
        0a100a096576616c2f6c6f737315000080bf1f90336f";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn records_are_tensorboards() {
        let value = |tag: &str, x: f32| message(1, &[text(1, tag), fixed32(2, x)].concat());
        let summary = message(5, &[value("train/loss", 0.25), value("eval/loss", -1.0)].concat());
        let bytes = [head(1.5, 7), record(&event(2.5, 300, &summary))].concat();
        assert_eq!(hex(&bytes), WRITTEN);
    }

    /// Data of the records in a file, checksums checked.
    fn read(path: &Path) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut all) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let data = &rest[12..12 + length];
            assert_eq!(
                (&rest[8..12], &rest[12 + length..16 + length]),
                (&masked(&rest[..8])[..], &masked(data)[..])
            );
            all.push(data.to_vec());
            rest = &rest[16 + length..];
        }
        all
    }

    #[test]
    fn a_resumed_run_writes_a_later_file_that_begins_at_its_step() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = serde_json::json!({"step": 3, "loss": 0.5, "eval_loss": null, "name": "x"});
        for from in [0, 3] {
            let mut events = Events::new(dir.path(), from);
            events.write(3, metrics.as_object().unwrap()).unwrap();
            events.write(4, metrics.as_object().unwrap()).unwrap();
        }
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), 2);
        let (first, second) = (read(&files[0]), read(&files[1]));
        assert_eq!((first.len(), second.len()), (4, 4));
        assert_eq!(second[1][9..], [16, 3, 58, 2, 8, 1]);
        let loss = message(1, &[text(1, "train/loss"), fixed32(2, 0.5)].concat());
        assert_eq!(first[3][9..], [&[16, 4][..], &message(5, &loss)].concat());
    }
}
