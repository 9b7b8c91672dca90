//! Write checkpoints that `transformers` loads. A folder appears complete or not at all; a piece of a
//! tensor at a time is copied to the host.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Unfinished;
use serde_json::json;

use crate::tensors::{Entry, write_tensors};
use crate::{Dtype, Error, Param, Qwen};

/// The largest file of weights that [`save`] writes, in bytes; a larger model is written in shards, as
/// `transformers` does.
const SHARD: u64 = 5_000_000_000;

/// What `transformers` asks of a file's metadata.
pub(crate) const IN_TORCH: [(&str, &str); 1] = [("format", "pt")];

/// Files of a folder beside configuration and weights.
const COPIED: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// Writes `model` as a folder that `transformers` loads, weights in `dtype`, in shards of at most 5 GB;
/// `from` is a folder to copy the tokenizer and generation settings from. The folder appears whole: it is
/// written beside its place, synced and renamed.
///
/// # Errors
/// Anything the file system refuses, and a model with an adapter that is not merged; an existing folder of
/// that name is replaced.
pub fn save(model: &Qwen, dir: &Path, dtype: Dtype, from: Option<&Path>) -> Result<(), Error> {
    write(model, dir, Some(dtype), from, SHARD)
}

/// [`save`] with every parameter in the dtype that it is held in: a model whose matrices are in 16 bits has its norms
/// and biases in f32, in the folder too.
///
/// # Errors
/// As [`save`].
pub fn save_as_held(model: &Qwen, dir: &Path, from: Option<&Path>) -> Result<(), Error> {
    write(model, dir, None, from, SHARD)
}

/// [`save`] with another bound on the bytes of one file's weights. A single tensor above the bound has a
/// file of its own.
///
/// # Errors
/// As [`save`].
pub fn save_sharded(
    model: &Qwen,
    dir: &Path,
    dtype: Dtype,
    from: Option<&Path>,
    shard: u64,
) -> Result<(), Error> {
    write(model, dir, Some(dtype), from, shard)
}

fn write(
    model: &Qwen,
    dir: &Path,
    dtype: Option<Dtype>,
    from: Option<&Path>,
    shard: u64,
) -> Result<(), Error> {
    if model.has_adapter() {
        return Err(Error::at(
            dir,
            "the model has an adapter beside its weights: merge it, or save the adapter",
        ));
    }
    let mut config = model.config.raw.clone();
    for key in ["torch_dtype", "dtype"] {
        if !config[key].is_null() {
            config[key] = dtype.unwrap_or(Dtype::held(model.embed.dtype())).torch().into();
        }
    }
    whole_folder(dir, |folder| {
        write_file(&folder.join("config.json"), pretty(&config)?.as_bytes())?;
        let mut model = model.clone();
        let params = model.params();
        let in_file = |p: &Param<'_>| dtype.unwrap_or(Dtype::held(p.dtype()));
        let params: Vec<Entry<'_>> =
            params.iter().map(|(name, p)| Entry::param(name, p, in_file(p))).collect();
        let shards = split(&params, shard);
        if let [all] = &shards[..] {
            write_tensors(&folder.join("model.safetensors"), all, &IN_TORCH)?;
        } else {
            let mut map = serde_json::Map::new();
            for (at, tensors) in shards.iter().enumerate() {
                let file = format!("model-{:05}-of-{:05}.safetensors", at + 1, shards.len());
                write_tensors(&folder.join(&file), tensors, &IN_TORCH)?;
                map.extend(tensors.iter().map(|t| (t.name().to_owned(), file.clone().into())));
            }
            let total: u64 = params.iter().map(Entry::bytes).sum();
            let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
            write_file(&folder.join("model.safetensors.index.json"), pretty(&index)?.as_bytes())?;
        }
        for file in COPIED {
            if let Some(source) = from.map(|from| from.join(file)).filter(|path| path.exists()) {
                std::fs::copy(&source, folder.join(file)).map_err(|e| Error::io(&source, e))?;
            }
        }
        Ok(())
    })
}

pub(crate) fn pretty(value: &serde_json::Value) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|e| Error::input(e.to_string()))
}

/// Fills a new folder beside `dir` and renames it to `dir`. An existing `dir` is replaced where it is empty or has
/// only files of the kind that is written here; other files are never removed.
pub(crate) fn whole_folder(dir: &Path, fill: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |e: std::io::Error| Error::io(&path, e)
    };
    // `.` and `..` have no name of their own.
    let dir = if dir.exists() { &*dir.canonicalize().map_err(io(dir))? } else { dir };
    let (parent, name) = match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => (Path::new("."), name),
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(Error::at(dir, "expected the name of a new folder")),
    };
    if dir.exists() {
        only_a_checkpoint(dir)?;
    }
    common::check_folder(dir)?;
    common::make_folder(parent)?;
    let beside = |what: &str| {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        parent.join(format!(".{}.{}.{count}.{what}", name.to_string_lossy(), std::process::id()))
    };
    let (new, old) = (beside("new"), beside("old"));
    let made = || std::fs::create_dir(&new).map(|()| (new.clone(), ()));
    let (unfinished, ()) = Unfinished::begin(made).map_err(io(&new))?;
    let put = || {
        fill(&new)?;
        unfinished.finish(|| {
            if dir.exists() {
                std::fs::rename(dir, &old).map_err(io(dir))?;
            }
            std::fs::rename(&new, dir).map_err(io(dir))
        })?;
        File::open(parent).and_then(|d| d.sync_all()).map_err(io(parent))
    };
    let done = put();
    for folder in [&new, &old].into_iter().filter(|folder| folder.exists()) {
        // A folder that was moved away and could not be replaced goes back.
        if folder == &old && !dir.exists() {
            std::fs::rename(&old, dir).map_err(io(dir))?;
        } else {
            std::fs::remove_dir_all(folder).map_err(io(folder))?;
        }
    }
    done
}

/// Whether `dir` is a folder that holds nothing but what is written here.
fn only_a_checkpoint(dir: &Path) -> Result<(), Error> {
    if !dir.is_dir() {
        return Err(Error::at(dir, "is a file, expected a new or empty folder"));
    }
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let entry = entry.map_err(|e| Error::io(dir, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = ["config.json", "adapter_config.json", "model.safetensors.index.json"].contains(&&*name)
            || name.ends_with(".safetensors")
            || COPIED.contains(&&*name);
        if !ours || !entry.path().is_file() {
            return Err(Error::at(
                dir,
                format!("holds {name}, which would be lost; expected a new or empty folder"),
            ));
        }
    }
    Ok(())
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let at = |e| Error::io(path, e);
    let mut out = File::create(path).map_err(at)?;
    out.write_all(bytes).map_err(at)?;
    out.sync_all().map_err(at)
}

/// The parameters in order, cut so that no part has more than `limit` bytes where it has two tensors.
fn split<'a, 'b>(params: &'a [Entry<'b>], limit: u64) -> Vec<&'a [Entry<'b>]> {
    let (mut shards, mut start, mut size) = (Vec::new(), 0, 0);
    for (at, param) in params.iter().enumerate() {
        let bytes = param.bytes();
        if at > start && size + bytes > limit {
            shards.push(&params[start..at]);
            (start, size) = (at, 0);
        }
        size += bytes;
    }
    shards.push(&params[start..]);
    shards
}
