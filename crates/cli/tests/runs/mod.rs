//! Training runs of the command in a folder, and what they leave.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A path of the workspace.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The command with its arguments, in `dir`.
pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparks"));
    command.args(args).current_dir(dir).env("HF_HUB_OFFLINE", "1");
    command
}

/// Its exit status and stderr.
pub(crate) fn sparks(dir: &Path, args: &[&str]) -> (i32, String) {
    let out = command(dir, args).output().unwrap();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// The lines of a file of metrics without the fields that are measured.
pub(crate) fn unmeasured(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        posttrain::MEASURED.iter().for_each(|field| drop(value.as_object_mut().unwrap().remove(*field)));
        value
    };
    text.lines().map(line).collect()
}

/// The files of the run in `dir/run` but its configuration and TensorBoard events, without what is measured and so
/// differs between two runs of the same bits.
pub(crate) fn left(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut files, mut folders) = (Vec::new(), vec![dir.join("run")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            let path = entry.path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if name != "config.toml" && !name.contains("tfevents") {
                let bytes = match path.extension() {
                    Some(end) if end == "jsonl" => serde_json::to_vec(&unmeasured(&path)).unwrap(),
                    _ => std::fs::read(&path).unwrap(),
                };
                files.push((path.strip_prefix(dir).unwrap().display().to_string(), bytes));
            }
        }
    }
    files.sort();
    files
}
