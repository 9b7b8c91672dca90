//! Weights of a checkpoint: one safetensors file, or shards with an index.
//!
//! The files are untrusted. A header is read once; a tensor's dtype, shape and place are checked against the file
//! and against what the model expects before anything is allocated for it. Weights are read and not mapped: see
//! `docs/DESIGN.md`.

mod convert;
mod file;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safetensors::Dtype as FileDtype;
use serde_json::Value;

use crate::checkpoint::read_json;
use crate::weights::Source;
use crate::{Config, Dtype, Error, Qwen};
use convert::PIECE;
use file::Stored;
pub(crate) use file::TensorFile;

const EMBED: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

impl Qwen {
    /// A model from a checkpoint held in memory: the text of `config.json` and the bytes of `model.safetensors`.
    /// Values may be NaN or infinite.
    ///
    /// # Errors
    /// As [`crate::Checkpoint::load_as_is`].
    pub fn from_bytes(config: &str, weights: &[u8], device: &Device) -> Result<Self, Error> {
        let files = WeightFiles { files: vec![TensorFile::in_memory(weights)?], index: None };
        Ok(files.load(&Config::parse(config)?, Dtype::F32, device)?.model)
    }
}

/// A model as its files have it.
pub(crate) struct Loaded {
    pub(crate) model: Qwen,
    /// The first few tensors with NaN or infinity, where there are any.
    pub(crate) not_finite: Option<String>,
    /// What differs from the files or from `config.json`, in words.
    pub(crate) warnings: Vec<String>,
}

/// The weight files of a folder, and which of them has which tensor.
pub(crate) struct WeightFiles<'a> {
    files: Vec<TensorFile<'a>>,
    /// Tensor to file, where an index says so; a single file has all.
    index: Option<HashMap<String, usize>>,
}

impl WeightFiles<'static> {
    /// The weights of a checkpoint folder. Files may be links to anywhere, as the hub's cache makes them; the
    /// paths in an index may not leave the folder.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let single = dir.join("model.safetensors");
        let index_path = dir.join("model.safetensors.index.json");
        if single.exists() {
            return Self::single(single);
        }
        if !index_path.exists() {
            return Err(Error::at(dir, "has neither model.safetensors nor model.safetensors.index.json"));
        }
        let value = read_json(&index_path)?;
        let names = value["weight_map"]
            .as_object()
            .ok_or_else(|| Error::at(&index_path, "missing object `weight_map`"))?;
        let (mut files, mut by_name, mut index) = (Vec::new(), BTreeMap::new(), HashMap::new());
        for (tensor, file) in names {
            let name = shard_name(file).ok_or_else(|| {
                let expected = "expected the name of a file in this folder";
                Error::at(&index_path, format_args!("`{tensor}` is in {file}, {expected}"))
            })?;
            let at = match by_name.get(name) {
                Some(&at) => at,
                None => {
                    files.push(TensorFile::open(dir.join(name))?);
                    by_name.insert(name.to_owned(), files.len() - 1);
                    files.len() - 1
                }
            };
            index.insert(tensor.clone(), at);
        }
        Ok(Self { files, index: Some(index) })
    }

    /// One file that has every tensor.
    pub(crate) fn single(path: PathBuf) -> Result<Self, Error> {
        Ok(Self { files: vec![TensorFile::open(path)?], index: None })
    }
}

impl WeightFiles<'_> {
    /// The names of all tensors, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.files.iter().flat_map(TensorFile::names).collect();
        names.sort_unstable();
        names
    }

    /// A model of these weights.
    pub(crate) fn load(&self, config: &Config, dtype: Dtype, device: &Device) -> Result<Loaded, Error> {
        let mut config = config.clone();
        let mut source = Loader::new(self, dtype, device);
        let mut warnings = Vec::new();
        // `transformers` takes what the file has.
        if config.tied && self.differ(HEAD, EMBED)? {
            config.tied = false;
            config.raw["tie_word_embeddings"] = false.into();
            let what = "`tie_word_embeddings` is true, and `lm_head.weight` is not the embedding";
            warnings.push(format!("{what}: the output projection is taken from the file"));
        }
        source.embed_from_head = config.tied && self.find(EMBED).is_none() && self.find(HEAD).is_some();
        let model = Qwen::build(config, &mut source)?;
        if let Some(names) = shortened(&source.narrowed) {
            warnings.push(format!("F64 weights are rounded to f32 or to the dtype asked for: {names}"));
        }
        let unread = self.unread(&source, model.config.tied);
        if let Some(names) = shortened(&unread) {
            warnings.push(format!(
                "{} tensors that this model does not have are not read: {names}",
                unread.len()
            ));
        }
        Ok(Loaded { model, not_finite: source.not_finite(), warnings })
    }

    /// The file that has a tensor of exactly this name, and the tensor.
    fn exact<'b>(&'b self, name: &'b str) -> Option<(&'b TensorFile<'b>, Option<Stored<'b>>)> {
        let file = match &self.index {
            Some(index) => self.files.get(*index.get(name)?)?,
            None => self.files.iter().find(|file| file.tensor(name).is_some())?,
        };
        Some((file, file.tensor(name)))
    }

    /// The name of a tensor in the files: its own, or without the prefix `model.` as base models are saved.
    fn stored_name<'b>(&'b self, name: &'b str) -> Option<&'b str> {
        [Some(name), name.strip_prefix("model.")]
            .into_iter()
            .flatten()
            .find(|name| self.exact(name).is_some())
    }

    fn find<'b>(&'b self, name: &'b str) -> Option<(&'b TensorFile<'b>, Option<Stored<'b>>)> {
        self.exact(self.stored_name(name)?)
    }

    /// Tensors that no parameter was made of. Left out are those that change nothing: rotary frequencies, which
    /// follow from the configuration, and the copy of the embedding in a tied model.
    fn unread(&self, source: &Loader<'_>, tied: bool) -> Vec<String> {
        let harmless =
            |name: &str| name.ends_with("rotary_emb.inv_freq") || tied && [EMBED, HEAD].contains(&name);
        let mut names = self.names();
        names.dedup();
        names.retain(|name| !source.read.contains(name) && !harmless(name));
        names.into_iter().map(|name| format!("`{name}`")).collect()
    }

    fn tensor<'b>(&'b self, name: &'b str) -> Result<Stored<'b>, Error> {
        match self.find(name) {
            Some((_, Some(stored))) => Ok(stored),
            Some((file, None)) => Err(Error::at(file.path(), format_args!("no tensor `{name}`"))),
            None if self.index.is_some() => {
                Err(Error::input(format_args!("model.safetensors.index.json: no tensor `{name}`")))
            }
            None => {
                let path = self.files.first().map_or(Path::new("model.safetensors"), |file| file.path());
                Err(Error::at(path, format_args!("no tensor `{name}`")))
            }
        }
    }

    /// Whether both tensors are there and are not the same bytes.
    fn differ(&self, a: &str, b: &str) -> Result<bool, Error> {
        if self.find(a).is_none() || self.find(b).is_none() {
            return Ok(false);
        }
        let (a, b) = (self.tensor(a)?, self.tensor(b)?);
        if (a.kind, a.shape, a.len) != (b.kind, b.shape, b.len) {
            return Ok(true);
        }
        let (mut left, mut right) = (vec![0u8; PIECE.min(a.len)], vec![0u8; PIECE.min(a.len)]);
        for at in (0..a.len).step_by(PIECE) {
            let n = PIECE.min(a.len - at);
            a.read_at(at, &mut left[..n])?;
            b.read_at(at, &mut right[..n])?;
            if left[..n] != right[..n] {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The path of a shard in its folder, where it does not leave it.
fn shard_name(file: &Value) -> Option<&str> {
    let inside = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    file.as_str().filter(|path| !path.is_empty() && !path.contains(['\\', '\0']) && inside(path))
}

/// Loads tensors by name and shape, and remembers which were read, are not finite, or were F64.
pub(crate) struct Loader<'a> {
    files: &'a WeightFiles<'a>,
    dtype: Dtype,
    device: &'a Device,
    /// Whether the output projection is stored and the embedding, which is the same, is not.
    embed_from_head: bool,
    not_finite: Vec<String>,
    narrowed: Vec<String>,
    /// Names in the files of all tensors asked for.
    read: HashSet<String>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(files: &'a WeightFiles<'a>, dtype: Dtype, device: &'a Device) -> Self {
        Self {
            files,
            dtype,
            device,
            embed_from_head: false,
            not_finite: Vec::new(),
            narrowed: Vec::new(),
            read: HashSet::new(),
        }
    }

    fn get<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        dtype: Dtype,
    ) -> Result<Tensor<D>, Error> {
        let name = if self.embed_from_head && name == EMBED { HEAD } else { name };
        let stored = self.files.tensor(name)?;
        self.read.extend(self.files.stored_name(name).map(str::to_owned));
        if stored.shape != shape {
            return Err(stored.error(format_args!("has shape {:?}, expected {shape:?}", stored.shape)));
        }
        let values = stored.values(dtype, shape)?;
        if !values.finite {
            self.not_finite.push(format!("`{name}`"));
        }
        if stored.kind == FileDtype::F64 {
            self.narrowed.push(format!("`{name}`"));
        }
        Ok(Tensor::from_data(values.data, (self.device, dtype.of_tensor())))
    }

    /// One line that names the first few tensors with NaN or infinity, where there are any.
    pub(crate) fn not_finite(&self) -> Option<String> {
        shortened(&self.not_finite).map(|names| format!("NaN or infinity in {names}"))
    }
}

/// The first few names, and how many more there are; `None` of none.
fn shortened(names: &[String]) -> Option<String> {
    const SHOWN: usize = 4;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        0 => None,
        n if n <= SHOWN => Some(shown),
        n => Some(format!("{shown} and {} more tensors", n - SHOWN)),
    }
}

impl Source for Loader<'_> {
    type Error = Error;
    fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Tensor<2>, Error> {
        self.get(name, shape, self.dtype)
    }
    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor<1>, Error> {
        self.get(name, [len], Dtype::F32)
    }
}
