//! The folders of checkpoints: which there are, whether one is whole (all files there, of the length that they state
//! themselves), and what is left of those that are not.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::run_folder::REFERENCE;
use crate::{Error, Progress};

/// Reads a checkpoint's state, and what the caller's loop kept, after a look at its other files; tensors are not
/// read.
pub(crate) fn whole(dir: &Path) -> Result<(Progress, Value), Error> {
    let path = dir.join("state.json");
    let mut state = json(&path)?;
    let kept = state.get_mut("loop").map(Value::take).unwrap_or_default();
    let progress = serde_json::from_value(state).map_err(|e| Error::at(&path, e))?;
    let progress = (progress, kept);
    tensors(&dir.join("optimizer.safetensors"))?;
    let adapter = dir.join("adapter_config.json");
    if adapter.exists() {
        json(&adapter)?;
        tensors(&dir.join("adapter_model.safetensors"))?;
        return Ok(progress);
    }
    model(dir)?;
    let reference = dir.join(REFERENCE);
    if reference.exists() {
        model(&reference)?;
    }
    Ok(progress)
}

/// The files of a whole model.
fn model(dir: &Path) -> Result<(), Error> {
    json(&dir.join("config.json"))?;
    let index = dir.join("model.safetensors.index.json");
    if !index.exists() {
        return tensors(&dir.join("model.safetensors"));
    }
    let index = json(&index)?;
    let mut shards: Vec<&str> =
        index["weight_map"].as_object().into_iter().flatten().filter_map(|(_, f)| f.as_str()).collect();
    shards.sort_unstable();
    shards.dedup();
    shards.iter().try_for_each(|shard| tensors(&dir.join(shard)))
}

fn json(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_str(&text).map_err(|e| Error::at(path, e))
}

/// Checks that a safetensors file is as long as its header states: eight bytes with the header's length, the
/// header, and the tensors up to the largest of its `data_offsets`.
fn tensors(path: &Path) -> Result<(), Error> {
    let io = |e| Error::io(path, e);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut header = [0; 8];
    file.read_exact(&mut header).map_err(io)?;
    let n = u64::from_le_bytes(header);
    if n > length - 8 {
        return Err(Error::at(path, format!("has {length} bytes, expected {n} of its header and more")));
    }
    let mut header = Vec::new();
    file.take(n).read_to_end(&mut header).map_err(io)?;
    let header: Value = serde_json::from_slice(&header).map_err(|e| Error::at(path, e))?;
    let ends = header.as_object().into_iter().flatten().filter_map(|(_, t)| t["data_offsets"][1].as_u64());
    let expected = ends.max().unwrap_or(0).saturating_add(8 + n);
    if length != expected {
        return Err(Error::at(path, format!("has {length} bytes, expected {expected}")));
    }
    Ok(())
}

/// Renames a damaged checkpoint, out of the way of its step's next one and of the rotation.
pub(crate) fn put_aside(checkpoint: &Path) -> Result<(), Error> {
    let aside = checkpoint.with_extension("damaged");
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(|e| Error::io(&aside, e))?;
    }
    std::fs::rename(checkpoint, &aside).map_err(|e| Error::io(checkpoint, e))
}

/// Steps of the checkpoints, oldest first.
pub(crate) fn steps(checkpoints: &Path) -> Result<Vec<usize>, Error> {
    let entries = std::fs::read_dir(checkpoints).map_err(|e| Error::io(checkpoints, e))?;
    let step = |name: &str| name.strip_prefix("step-").and_then(|n| n.parse().ok());
    let mut steps: Vec<usize> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| step(&entry.file_name().to_string_lossy()))
        .collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Removes what a killed run left half written.
pub(crate) fn sweep(checkpoints: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(checkpoints).map_err(|e| Error::io(checkpoints, e))?.filter_map(Result::ok)
    {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with("step-") && name.ends_with(".part") || name.starts_with(".step-") {
            std::fs::remove_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        }
    }
    Ok(())
}
