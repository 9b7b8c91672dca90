//! One safetensors file, on disk or in memory: its header and the bytes of its tensors.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;
use safetensors::{Dtype as FileDtype, SafeTensorError};

use crate::Error;

/// Above any real header, in bytes.
const MAX_HEADER: u64 = 100_000_000;

enum Data<'a> {
    File(File),
    Memory(&'a [u8]),
}

impl Data<'_> {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(out, offset),
            Self::Memory(bytes) => {
                let at = usize::try_from(offset).ok().and_then(|from| bytes.get(from..)?.get(..out.len()));
                out.copy_from_slice(at.ok_or(std::io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// A file whose header is read and fits its length.
pub(crate) struct TensorFile<'a> {
    path: PathBuf,
    data: Data<'a>,
    header: Metadata,
    /// Where the data begin.
    start: usize,
}

impl TensorFile<'static> {
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        // A pipe would block for ever.
        let meta = std::fs::metadata(&path).map_err(|e| Error::io(&path, e))?;
        if !meta.is_file() {
            return Err(Error::at(&path, "not a regular file, expected safetensors"));
        }
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        Self::new(path, Data::File(file), meta.len())
    }
}

impl<'a> TensorFile<'a> {
    /// The bytes of a file; messages call it `model.safetensors`.
    pub(super) fn in_memory(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new(PathBuf::from("model.safetensors"), Data::Memory(bytes), bytes.len() as u64)
    }

    fn new(path: PathBuf, data: Data<'a>, len: u64) -> Result<Self, Error> {
        let bad =
            |why: &dyn std::fmt::Display| Error::at(&path, format_args!("not a safetensors file: {why}"));
        let mut n = [0; 8];
        data.read_at(0, &mut n).map_err(|e| bad(&e))?;
        let n = u64::from_le_bytes(n);
        if n > MAX_HEADER.min(len.saturating_sub(8)) {
            return Err(bad(&SafeTensorError::InvalidHeaderLength));
        }
        let mut header = vec![0; n as usize];
        data.read_at(8, &mut header).map_err(|e| Error::io(&path, e))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|e| bad(&e))?;
        let start = 8 + n as usize;
        if start as u64 + header.data_len() as u64 != len {
            return Err(Error::at(
                &path,
                "the file does not end where its header says: truncated or damaged",
            ));
        }
        Ok(Self { path, data, header, start })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Where a tensor's data are, where the file has it.
    pub(crate) fn tensor<'b>(&'b self, name: &'b str) -> Option<Stored<'b>> {
        let info = self.header.info(name)?;
        let (from, to) = info.data_offsets;
        let (shape, offset) = (&*info.shape, (self.start + from) as u64);
        Some(Stored { file: self, name, offset, kind: info.dtype, shape, len: to - from })
    }
}

/// A tensor's place in a file.
pub(crate) struct Stored<'a> {
    file: &'a TensorFile<'a>,
    name: &'a str,
    offset: u64,
    pub(crate) kind: FileDtype,
    pub(crate) shape: &'a [usize],
    /// In bytes.
    pub(super) len: usize,
}

impl Stored<'_> {
    /// Reads bytes of the tensor from `offset` on.
    pub(crate) fn read_at(&self, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        self.file.data.read_at(self.offset + offset as u64, out).map_err(|e| Error::io(&self.file.path, e))
    }

    /// An error about this tensor.
    pub(crate) fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::at(&self.file.path, format_args!("`{}` {what}", self.name))
    }
}
