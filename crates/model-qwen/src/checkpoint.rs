//! Checkpoint folders of Hugging Face: `config.json`, `model.safetensors` or shards with an index,
//! `tokenizer.json`. Read through a memory map, one tensor at a time; written whole or not at all.
//!
//! Checkpoints are untrusted: every size is checked against the file before anything is allocated.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use half::{bf16, f16};
use kernels::FileMap;
use rayon::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as FileDtype, SafeTensors};
use serde_json::Value;

use crate::weights::Source;
use crate::{ChatTemplate, Config, Error, Param, Qwen, Text};

/// How weights are held in memory. Activations are f32 in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// Single precision, the reference.
    #[default]
    F32,
    /// Matrices in bfloat16: half the memory.
    Bf16,
    /// Matrices in half precision.
    F16,
}

impl Dtype {
    /// Bytes of one weight.
    pub fn bytes(self) -> u64 {
        if self == Dtype::F32 { 4 } else { 2 }
    }
}

impl std::str::FromStr for Dtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "f32" => Ok(Dtype::F32),
            "bf16" => Ok(Dtype::Bf16),
            "f16" => Ok(Dtype::F16),
            other => Err(Error::new(format!("dtype `{other}`: expected f32, bf16 or f16"))),
        }
    }
}

/// A checkpoint folder, opened and described but not loaded.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    /// Sizes and switches.
    pub config: Config,
    /// Tokens that end a completion: those of `generation_config.json`, else of `config.json`.
    pub stop_ids: Vec<u32>,
    /// What a user should know: stop ids beyond the vocabulary, for one.
    pub warnings: Vec<String>,
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|e| Error::at(path, e))
}

impl Checkpoint {
    /// Opens a folder and reads its configuration.
    ///
    /// # Errors
    /// A missing folder or file, or a configuration that is not implemented; the message names file and field.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        if !dir.is_dir() {
            return Err(Error::at(dir, "no such folder, expected a Hugging Face checkpoint folder"));
        }
        let path = dir.join("config.json");
        let config = Config::parse(&read(&path)?).map_err(|e| Error::at(&path, e))?;
        let mut warnings = Vec::new();
        let generation = dir.join("generation_config.json");
        let listed = if generation.exists() {
            let value: Value =
                serde_json::from_str(&read(&generation)?).map_err(|e| Error::at(&generation, e))?;
            value["eos_token_id"].clone()
        } else {
            Value::Null
        };
        let listed = if listed.is_null() { config.raw["eos_token_id"].clone() } else { listed };
        let ids: Vec<u64> = match &listed {
            Value::Array(ids) => ids.iter().filter_map(Value::as_u64).collect(),
            other => other.as_u64().into_iter().collect(),
        };
        let (known, unknown): (Vec<u64>, Vec<u64>) =
            ids.into_iter().partition(|&id| id < config.vocab as u64);
        if !unknown.is_empty() {
            warnings.push(format!(
                "stop ids {unknown:?} are outside the vocabulary of {} and are ignored",
                config.vocab
            ));
        }
        let stop_ids = known.into_iter().map(|id| id as u32).collect();
        Ok(Self { dir: dir.to_owned(), config, stop_ids, warnings })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// No `tokenizer.json`, or one that cannot be read.
    pub fn text(&self) -> Result<Text, Error> {
        Text::open(&self.dir.join("tokenizer.json"))
    }

    /// The chat template, from `chat_template.jinja` or `tokenizer_config.json`.
    ///
    /// # Errors
    /// No template, or one that cannot be parsed.
    pub fn chat_template(&self) -> Result<ChatTemplate, Error> {
        ChatTemplate::open(&self.dir)
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// A missing or truncated file, a missing tensor or one of another shape; the message names it.
    pub fn load(&self, dtype: Dtype, device: &Device) -> Result<Qwen, Error> {
        let files = WeightFiles::open(&self.dir)?;
        let mut source = Loader { files: &files, dtype, device, not_finite: Vec::new() };
        let model = Qwen::build(self.config.clone(), &mut source)?;
        if source.not_finite.is_empty() {
            Ok(model)
        } else {
            Err(Error::at(&self.dir, format!("NaN or infinity in {}", source.not_finite.join(", "))))
        }
    }
}

impl Qwen {
    /// A model from a checkpoint held in memory: the text of `config.json` and the bytes of
    /// `model.safetensors`.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn from_bytes(config: &str, weights: &[u8], device: &Device) -> Result<Self, Error> {
        let config = Config::parse(config)?;
        let tensors = SafeTensors::deserialize(weights).map_err(|e| Error::new(e.to_string()))?;
        let mut source = Memory { tensors, device };
        Qwen::build(config, &mut source)
    }
}

struct Memory<'a> {
    tensors: SafeTensors<'a>,
    device: &'a Device,
}

impl Memory<'_> {
    fn get<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, Error> {
        let view = self.tensors.tensor(name).map_err(|e| Error::new(e.to_string()))?;
        if view.shape() != shape {
            return Err(wrong_shape(name, view.shape(), &shape));
        }
        let bytes = view.data();
        let data = convert(name, view.dtype(), Dtype::F32, bytes.len(), shape, |offset, piece| {
            piece.copy_from_slice(&bytes[offset..offset + piece.len()]);
            Ok(())
        })?;
        Ok(on_device(data, Dtype::F32, self.device))
    }
}

impl Source for Memory<'_> {
    type Error = Error;
    fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Tensor<2>, Error> {
        self.get(name, shape)
    }
    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor<1>, Error> {
        self.get(name, [len])
    }
}

/// The memory-mapped weight files of a folder, and which of them has which tensor.
struct WeightFiles {
    files: Vec<(PathBuf, FileMap)>,
    /// Tensor to file, where an index says so; a single file has all.
    index: Option<HashMap<String, usize>>,
}

impl WeightFiles {
    fn open(dir: &Path) -> Result<Self, Error> {
        let single = dir.join("model.safetensors");
        let index_path = dir.join("model.safetensors.index.json");
        if single.exists() {
            return Ok(Self { files: vec![map(single)?], index: None });
        }
        if !index_path.exists() {
            return Err(Error::at(dir, "has neither model.safetensors nor model.safetensors.index.json"));
        }
        let value: Value =
            serde_json::from_str(&read(&index_path)?).map_err(|e| Error::at(&index_path, e))?;
        let names = value["weight_map"]
            .as_object()
            .ok_or_else(|| Error::at(&index_path, "missing object `weight_map`"))?;
        let (mut files, mut by_name, mut index) = (Vec::new(), BTreeMap::new(), HashMap::new());
        for (tensor, file) in names {
            let file = file
                .as_str()
                .filter(|f| !f.is_empty() && !f.contains(['/', '\\']) && *f != "..")
                .ok_or_else(|| {
                    Error::at(
                        &index_path,
                        format!("`{tensor}` is in {file}, expected the name of a file in this folder"),
                    )
                })?;
            let at = match by_name.get(file) {
                Some(&at) => at,
                None => {
                    files.push(map(dir.join(file))?);
                    by_name.insert(file.to_owned(), files.len() - 1);
                    files.len() - 1
                }
            };
            index.insert(tensor.clone(), at);
        }
        Ok(Self { files, index: Some(index) })
    }

    /// Where a tensor's data are: the file, and their kind, shape and place in it.
    fn tensor(&self, name: &str) -> Result<Stored<'_>, Error> {
        let at = match &self.index {
            None => 0,
            Some(index) => *index
                .get(name)
                .ok_or_else(|| Error::new(format!("model.safetensors.index.json: no tensor `{name}`")))?,
        };
        let (path, file) = &self.files[at];
        let tensors = SafeTensors::deserialize(file).map_err(|e| Error::at(path, readable(&e)))?;
        let view = tensors.tensor(name).map_err(|_| Error::at(path, format!("no tensor `{name}`")))?;
        let offset = view.data().as_ptr().addr() - file.as_ptr().addr();
        Ok(Stored {
            path,
            file,
            offset,
            kind: view.dtype(),
            shape: view.shape().to_vec(),
            len: view.data().len(),
        })
    }
}

/// A tensor's place in a file.
struct Stored<'a> {
    path: &'a Path,
    file: &'a FileMap,
    offset: usize,
    kind: FileDtype,
    shape: Vec<usize>,
    /// In bytes.
    len: usize,
}

fn readable(error: &safetensors::SafeTensorError) -> String {
    match error {
        safetensors::SafeTensorError::MetadataIncompleteBuffer => {
            "the file does not end where its header says: truncated or damaged".to_owned()
        }
        other => format!("not a safetensors file: {other}"),
    }
}

fn map(path: PathBuf) -> Result<(PathBuf, FileMap), Error> {
    let bytes = FileMap::open(&path).map_err(|e| Error::at(&path, e))?;
    SafeTensors::deserialize(&bytes).map_err(|e| Error::at(&path, readable(&e)))?;
    Ok((path, bytes))
}

struct Loader<'a> {
    files: &'a WeightFiles,
    dtype: Dtype,
    device: &'a Device,
    not_finite: Vec<String>,
}

impl Loader<'_> {
    fn get<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        dtype: Dtype,
    ) -> Result<Tensor<D>, Error> {
        let stored = self.files.tensor(name)?;
        let at = |e: Error| Error::at(stored.path, e);
        if stored.shape != shape {
            return Err(at(wrong_shape(name, &stored.shape, &shape)));
        }
        let mut finite = true;
        let data = convert(name, stored.kind, dtype, stored.len, shape, |offset, piece| {
            stored.file.read_at(stored.offset + offset, piece).map_err(|e| Error::new(e.to_string()))?;
            finite &= all_finite(stored.kind, piece);
            Ok(())
        });
        let data = data.map_err(at)?;
        if !finite {
            self.not_finite.push(format!("`{name}`"));
        }
        Ok(on_device(data, dtype, self.device))
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

/// Whether no element has all exponent bits set.
fn all_finite(kind: FileDtype, bytes: &[u8]) -> bool {
    match kind {
        FileDtype::F32 => bytes.chunks_exact(4).all(|x| x[3] & 0x7f != 0x7f || x[2] & 0x80 == 0),
        FileDtype::BF16 => bytes.chunks_exact(2).all(|x| x[1] & 0x7f != 0x7f || x[0] & 0x80 == 0),
        FileDtype::F16 => bytes.chunks_exact(2).all(|x| x[1] & 0x7c != 0x7c),
        _ => true,
    }
}

fn wrong_shape(name: &str, found: &[usize], expected: &[usize]) -> Error {
    Error::new(format!("`{name}` has shape {found:?}, expected {expected:?}"))
}

/// Bytes of a file that are converted together.
const PIECE: usize = 1 << 22;

/// A tensor's values in `dtype`, piece by piece: `read(offset, piece)` fills a piece with the file's bytes.
fn convert<const D: usize>(
    name: &str,
    kind: FileDtype,
    dtype: Dtype,
    len: usize,
    shape: [usize; D],
    read: impl FnMut(usize, &mut [u8]) -> Result<(), Error>,
) -> Result<TensorData, Error> {
    fn pieces<T: Copy + Default + Send + Sync, const N: usize>(
        len: usize,
        mut read: impl FnMut(usize, &mut [u8]) -> Result<(), Error>,
        f: impl Fn([u8; N]) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut out = vec![T::default(); len / N];
        let mut buffer = vec![0u8; PIECE.min(len)];
        for (at, out) in out.chunks_mut(PIECE / N).enumerate() {
            let bytes = &mut buffer[..out.len() * N];
            read(at * PIECE, bytes)?;
            out.par_chunks_mut(1 << 16).zip(bytes.par_chunks(N << 16)).for_each(|(out, bytes)| {
                for (o, b) in out.iter_mut().zip(bytes.chunks_exact(N)) {
                    *o = f(b.try_into().unwrap_or([0; N]));
                }
            });
        }
        Ok(out)
    }
    let f = f32::from_le_bytes;
    Ok(match (kind, dtype) {
        (FileDtype::F32, Dtype::F32) => TensorData::new(pieces(len, read, f)?, shape),
        (FileDtype::BF16, Dtype::F32) => {
            TensorData::new(pieces(len, read, |b| bf16::from_le_bytes(b).to_f32())?, shape)
        }
        (FileDtype::F16, Dtype::F32) => {
            TensorData::new(pieces(len, read, |b| f16::from_le_bytes(b).to_f32())?, shape)
        }
        (FileDtype::F32, Dtype::Bf16) => TensorData::new(pieces(len, read, |b| bf16::from_f32(f(b)))?, shape),
        (FileDtype::BF16, Dtype::Bf16) => TensorData::new(pieces(len, read, bf16::from_le_bytes)?, shape),
        (FileDtype::F16, Dtype::Bf16) => {
            TensorData::new(pieces(len, read, |b| bf16::from_f32(f16::from_le_bytes(b).to_f32()))?, shape)
        }
        (FileDtype::F32, Dtype::F16) => TensorData::new(pieces(len, read, |b| f16::from_f32(f(b)))?, shape),
        (FileDtype::BF16, Dtype::F16) => {
            TensorData::new(pieces(len, read, |b| f16::from_f32(bf16::from_le_bytes(b).to_f32()))?, shape)
        }
        (FileDtype::F16, Dtype::F16) => TensorData::new(pieces(len, read, f16::from_le_bytes)?, shape),
        _ => return Err(Error::new(format!("`{name}` is {kind:?}, expected F32, BF16 or F16"))),
    })
}

fn on_device<const D: usize>(data: TensorData, dtype: Dtype, device: &Device) -> Tensor<D> {
    let target = match dtype {
        Dtype::F32 => FloatDType::F32,
        Dtype::Bf16 => FloatDType::BF16,
        Dtype::F16 => FloatDType::F16,
    };
    Tensor::from_data(data, (device, DType::from(target)))
}

/// Writes `model` as a folder that `transformers` loads, weights in `dtype`; `from` is a folder to copy the
/// tokenizer and generation settings from. The folder appears whole: it is written beside its place, synced
/// and renamed.
///
/// # Errors
/// Anything the file system refuses; an existing folder of that name is replaced.
pub fn save(model: &Qwen, dir: &Path, dtype: Dtype, from: Option<&Path>) -> Result<(), Error> {
    let temporary = dir.with_extension("tmp");
    let io = |path: &Path| {
        let path = path.to_owned();
        move |e: std::io::Error| Error::at(&path, e)
    };
    if temporary.exists() {
        std::fs::remove_dir_all(&temporary).map_err(io(&temporary))?;
    }
    std::fs::create_dir_all(&temporary).map_err(io(&temporary))?;
    let mut config = model.config.raw.clone();
    let name = match dtype {
        Dtype::F32 => "float32",
        Dtype::Bf16 => "bfloat16",
        Dtype::F16 => "float16",
    };
    for key in ["torch_dtype", "dtype"] {
        if !config[key].is_null() {
            config[key] = name.into();
        }
    }
    let write = |file: &str, bytes: &[u8]| -> Result<(), Error> {
        let path = temporary.join(file);
        let mut out = File::create(&path).map_err(io(&path))?;
        out.write_all(bytes).map_err(io(&path))?;
        out.sync_all().map_err(io(&path))
    };
    let pretty = serde_json::to_string_pretty(&config).map_err(|e| Error::new(e.to_string()))?;
    write("config.json", pretty.as_bytes())?;
    write("model.safetensors", &to_bytes(model, dtype)?)?;
    for file in [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "chat_template.jinja",
        "special_tokens_map.json",
    ] {
        if let Some(source) = from.map(|from| from.join(file)).filter(|path| path.exists()) {
            std::fs::copy(&source, temporary.join(file)).map_err(io(&source))?;
        }
    }
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(io(dir))?;
    }
    std::fs::rename(&temporary, dir).map_err(io(dir))?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        File::open(parent).and_then(|d| d.sync_all()).map_err(io(parent))?;
    }
    Ok(())
}

/// The bytes of a `model.safetensors`.
fn to_bytes(model: &Qwen, dtype: Dtype) -> Result<Vec<u8>, Error> {
    let mut model = model.clone();
    let mut tensors = Vec::new();
    for (name, param) in model.params() {
        let (shape, data) = match param {
            Param::Matrix(w) => (w.dims().to_vec(), w.clone().inner().cast(DType::F32).into_data()),
            Param::Vector(w) => (w.dims().to_vec(), w.clone().inner().cast(DType::F32).into_data()),
        };
        let values: Vec<f32> = data.try_to_vec().map_err(|e| Error::new(format!("`{name}`: {e:?}")))?;
        let bytes: Vec<u8> = match dtype {
            Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        };
        tensors.push((name, shape, bytes));
    }
    let kind = match dtype {
        Dtype::F32 => FileDtype::F32,
        Dtype::Bf16 => FileDtype::BF16,
        Dtype::F16 => FileDtype::F16,
    };
    let views: Result<Vec<_>, Error> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(kind, shape.clone(), bytes);
            Ok((name.as_str(), view.map_err(|e| Error::new(e.to_string()))?))
        })
        .collect();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views?, Some(metadata)).map_err(|e| Error::new(e.to_string()))
}
