//! Reading tensors from safetensors files: one file, or shards with an index.
//!
//! The files are untrusted. A header is parsed once; a tensor's kind, shape and place are checked against
//! the file and against what the model expects before anything is allocated for it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use half::{bf16, f16};
use kernels::FileMap;
use rayon::prelude::*;
use safetensors::tensor::Metadata;
use safetensors::{Dtype as FileDtype, SafeTensors};
use serde_json::Value;

use crate::checkpoint::{Dtype, read_json};
use crate::weights::Source;
use crate::{Config, Error, Qwen};

impl Qwen {
    /// A model from a checkpoint held in memory: the text of `config.json` and the bytes of
    /// `model.safetensors`.
    ///
    /// # Errors
    /// As [`crate::Checkpoint::load`].
    pub fn from_bytes(config: &str, weights: &[u8], device: &Device) -> Result<Self, Error> {
        let config = Config::parse(config)?;
        let tensors = SafeTensors::deserialize(weights).map_err(|e| Error::input(readable(&e)))?;
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
        let view = self.tensors.tensor(name).map_err(|e| Error::input(e.to_string()))?;
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

/// One mapped file with its header.
struct TensorFile {
    path: PathBuf,
    map: FileMap,
    header: Metadata,
    /// Where the data begin.
    start: usize,
}

impl TensorFile {
    fn open(path: PathBuf) -> Result<Self, Error> {
        // A pipe would block for ever, and a folder cannot be mapped.
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => return Err(Error::at(&path, "not a regular file, expected safetensors")),
            Err(e) => return Err(Error::at(&path, e)),
        }
        let map = FileMap::open(&path).map_err(|e| Error::at(&path, e))?;
        let (len, header) = SafeTensors::read_metadata(&map).map_err(|e| Error::at(&path, readable(&e)))?;
        Ok(Self { path, map, header, start: len + 8 })
    }
}

/// The weight files of a folder, and which of them has which tensor.
pub(crate) struct WeightFiles {
    files: Vec<TensorFile>,
    /// Tensor to file, where an index says so; a single file has all.
    index: Option<HashMap<String, usize>>,
}

impl WeightFiles {
    /// The weights of a checkpoint folder.
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
                Error::at(
                    &index_path,
                    format!("`{tensor}` is in {file}, expected the name of a file in this folder"),
                )
            })?;
            let at = match by_name.get(name) {
                Some(&at) => at,
                None => {
                    let path = dir.join(name);
                    inside(dir, &path)?;
                    files.push(TensorFile::open(path)?);
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

    /// The names of all tensors, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.files.iter().flat_map(|f| f.header.offset_keys()).collect();
        names.sort_unstable();
        names
    }

    /// Whether both tensors are there and are not the same bytes.
    pub(crate) fn differ(&self, a: &str, b: &str) -> Result<bool, Error> {
        let has = |name: &str| match &self.index {
            Some(index) => index.contains_key(name),
            None => self.files.iter().any(|file| file.header.info(name).is_some()),
        };
        if !has(a) || !has(b) {
            return Ok(false);
        }
        let (a, b) = (self.tensor(a)?, self.tensor(b)?);
        if (a.kind, a.shape, a.len) != (b.kind, b.shape, b.len) {
            return Ok(true);
        }
        let (mut left, mut right) = (vec![0u8; PIECE.min(a.len)], vec![0u8; PIECE.min(a.len)]);
        for at in (0..a.len).step_by(PIECE) {
            let n = PIECE.min(a.len - at);
            let read = |stored: &Stored<'_>, piece: &mut [u8]| {
                let read = stored.file.map.read_at(stored.offset + at, piece);
                read.map_err(|e| Error::at(&stored.file.path, e))
            };
            read(&a, &mut left[..n])?;
            read(&b, &mut right[..n])?;
            if left[..n] != right[..n] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where a tensor's data are: the file, and their kind, shape and place in it.
    fn tensor(&self, name: &str) -> Result<Stored<'_>, Error> {
        let at = match &self.index {
            None => 0,
            Some(index) => *index
                .get(name)
                .ok_or_else(|| Error::input(format!("model.safetensors.index.json: no tensor `{name}`")))?,
        };
        let file = &self.files[at];
        let missing = || Error::at(&file.path, format!("no tensor `{name}`"));
        let info = file.header.info(name).ok_or_else(missing)?;
        let (from, to) = info.data_offsets;
        match to.checked_add(file.start) {
            Some(end) if from <= to && end <= file.map.len() => {}
            _ => return Err(Error::at(&file.path, format!("`{name}` lies outside the file"))),
        }
        Ok(Stored { file, offset: file.start + from, kind: info.dtype, shape: &info.shape, len: to - from })
    }
}

/// The name of a shard, where it is a plain file name.
fn shard_name(file: &Value) -> Option<&str> {
    file.as_str().filter(|f| !f.is_empty() && !f.contains(['/', '\\', '\0']) && *f != ".." && *f != ".")
}

/// Refuses a shard that a symbolic link puts outside its folder. The hub's cache is allowed for: there
/// `snapshots/REVISION/FILE` is a link into `blobs` of the same repository.
fn inside(dir: &Path, path: &Path) -> Result<(), Error> {
    let (Ok(folder), Ok(real)) = (dir.canonicalize(), path.canonicalize()) else {
        // A missing file says so when it is opened.
        return Ok(());
    };
    let blobs = folder
        .parent()
        .filter(|snapshots| snapshots.file_name().is_some_and(|name| name == "snapshots"))
        .and_then(Path::parent)
        .map(|repository| repository.join("blobs"));
    if real.starts_with(&folder) || blobs.is_some_and(|blobs| real.starts_with(blobs)) {
        return Ok(());
    }
    Err(Error::at(path, format!("is a link to {}, expected a file in this folder", real.display())))
}

/// A tensor's place in a file.
struct Stored<'a> {
    file: &'a TensorFile,
    offset: usize,
    kind: FileDtype,
    shape: &'a [usize],
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

/// Loads tensors by name and shape, and notes those that are not finite.
pub(crate) struct Loader<'a> {
    files: &'a WeightFiles,
    dtype: Dtype,
    device: &'a Device,
    /// Names of tensors with NaN or infinity, quoted.
    pub(crate) not_finite: Vec<String>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(files: &'a WeightFiles, dtype: Dtype, device: &'a Device) -> Self {
        Self { files, dtype, device, not_finite: Vec::new() }
    }

    fn get<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        dtype: Dtype,
    ) -> Result<Tensor<D>, Error> {
        let stored = self.files.tensor(name)?;
        let at = |e: Error| Error::at(&stored.file.path, e);
        if stored.shape != shape {
            return Err(at(wrong_shape(name, stored.shape, &shape)));
        }
        let finite = AtomicBool::new(true);
        let data = convert(name, stored.kind, dtype, stored.len, shape, |offset, piece| {
            let file = &stored.file.map;
            file.read_at(stored.offset + offset, piece).map_err(|e| Error::input(e.to_string()))?;
            if !all_finite(stored.kind, piece) {
                finite.store(false, Ordering::Relaxed);
            }
            Ok(())
        });
        let data = data.map_err(at)?;
        if !finite.into_inner() {
            self.not_finite.push(format!("`{name}`"));
        }
        Ok(on_device(data, dtype, self.device))
    }

    /// One line that names the first few tensors with NaN or infinity, where there are any.
    pub(crate) fn warning(&self) -> Option<String> {
        const SHOWN: usize = 4;
        let names = &self.not_finite;
        let shown = names[..names.len().min(SHOWN)].join(", ");
        match names.len() {
            0 => None,
            n if n <= SHOWN => Some(format!("NaN or infinity in {shown}")),
            n => Some(format!("NaN or infinity in {shown} and {} more tensors", n - SHOWN)),
        }
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

/// Whether no element has all exponent bits set: adding one to the exponent then carries into the sign.
fn all_finite(kind: FileDtype, bytes: &[u8]) -> bool {
    let half = |exponent: u16, one: u16| {
        let carry = |b: &[u8]| (u16::from_le_bytes([b[0], b[1]]) & exponent) + one;
        bytes.chunks_exact(2).fold(0, |all, b| all | carry(b)) & 0x8000 == 0
    };
    match kind {
        FileDtype::F32 => {
            let carry = |b: &[u8]| (u32::from_le_bytes([b[0], b[1], b[2], b[3]]) & 0x7f80_0000) + 0x0080_0000;
            bytes.chunks_exact(4).fold(0, |all, b| all | carry(b)) & 0x8000_0000 == 0
        }
        FileDtype::BF16 => half(0x7f80, 0x0080),
        FileDtype::F16 => half(0x7c00, 0x0400),
        _ => true,
    }
}

fn wrong_shape(name: &str, found: &[usize], expected: &[usize]) -> Error {
    Error::input(format!("`{name}` has shape {found:?}, expected {expected:?}"))
}

/// Files have the low byte first.
const LITTLE: bool = cfg!(target_endian = "little");

/// Bytes of a file that one thread reads at a time: they stay in its cache until they are converted.
const PIECE: usize = 1 << 19;

/// A tensor's values in `dtype`, piece by piece and on all threads: `read(offset, piece)` fills a piece with the
/// file's bytes.
fn convert<const D: usize>(
    name: &str,
    kind: FileDtype,
    dtype: Dtype,
    len: usize,
    shape: [usize; D],
    read: impl Fn(usize, &mut [u8]) -> Result<(), Error> + Sync,
) -> Result<TensorData, Error> {
    fn pieces<T: Copy + Default + Send + Sync, const N: usize>(
        len: usize,
        read: impl Fn(usize, &mut [u8]) -> Result<(), Error> + Sync,
        f: impl Fn([u8; N]) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut out = vec![T::default(); len / N];
        let all = out.par_chunks_mut(PIECE / N).enumerate();
        all.try_for_each_init(Vec::new, |buffer, (at, out)| {
            buffer.resize(out.len() * N, 0u8);
            read(at * PIECE, buffer)?;
            for (o, b) in out.iter_mut().zip(buffer.chunks_exact(N)) {
                *o = f(b.try_into().unwrap_or([0; N]));
            }
            Ok::<(), Error>(())
        })?;
        Ok(out)
    }
    /// The file's bytes are the tensor's.
    fn same<T: bytemuck::Pod + Send>(
        len: usize,
        read: impl Fn(usize, &mut [u8]) -> Result<(), Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut out = vec![T::zeroed(); len / size_of::<T>()];
        let all = out.par_chunks_mut(PIECE / size_of::<T>()).enumerate();
        all.try_for_each(|(at, out)| read(at * PIECE, bytemuck::cast_slice_mut(out)))?;
        Ok(out)
    }
    let f = f32::from_le_bytes;
    Ok(match (kind, dtype) {
        (FileDtype::F32, Dtype::F32) if LITTLE => TensorData::new(same::<f32>(len, read)?, shape),
        (FileDtype::F32, Dtype::F32) => TensorData::new(pieces(len, read, f)?, shape),
        (FileDtype::BF16, Dtype::F32) => {
            TensorData::new(pieces(len, read, |b| bf16::from_le_bytes(b).to_f32())?, shape)
        }
        (FileDtype::F16, Dtype::F32) => {
            TensorData::new(pieces(len, read, |b| f16::from_le_bytes(b).to_f32())?, shape)
        }
        (FileDtype::F32, Dtype::Bf16) => TensorData::new(pieces(len, read, |b| bf16::from_f32(f(b)))?, shape),
        (FileDtype::BF16, Dtype::Bf16) if LITTLE => TensorData::new(same::<bf16>(len, read)?, shape),
        (FileDtype::BF16, Dtype::Bf16) => TensorData::new(pieces(len, read, bf16::from_le_bytes)?, shape),
        (FileDtype::F16, Dtype::Bf16) => {
            TensorData::new(pieces(len, read, |b| bf16::from_f32(f16::from_le_bytes(b).to_f32()))?, shape)
        }
        (FileDtype::F32, Dtype::F16) => TensorData::new(pieces(len, read, |b| f16::from_f32(f(b)))?, shape),
        (FileDtype::BF16, Dtype::F16) => {
            TensorData::new(pieces(len, read, |b| f16::from_f32(bf16::from_le_bytes(b).to_f32()))?, shape)
        }
        (FileDtype::F16, Dtype::F16) if LITTLE => TensorData::new(same::<f16>(len, read)?, shape),
        (FileDtype::F16, Dtype::F16) => TensorData::new(pieces(len, read, f16::from_le_bytes)?, shape),
        _ => return Err(Error::input(format!("`{name}` is {kind:?}, expected F32, BF16 or F16"))),
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
