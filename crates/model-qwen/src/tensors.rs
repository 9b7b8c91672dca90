//! Safetensors files written and read one tensor at a time: what is on its way to the disk is a piece of a tensor,
//! never a second copy of a model.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use half::{bf16, f16};
use safetensors::Dtype as FileDtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::stored::TensorFile;
use crate::{Dtype, Error, Param};

/// Values that are copied from the device and written at a time: 4 MB in f32.
const PIECE: usize = 1 << 20;

/// A tensor to be written.
pub struct Entry<'a> {
    name: String,
    values: Values<'a>,
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("shape", &self.shape())
            .finish_non_exhaustive()
    }
}

enum Values<'a> {
    Matrix(&'a Tensor<2>, Dtype),
    Vector(&'a Tensor<1>, Dtype),
    /// A vector in f32 of so many values that is made when its turn comes.
    Made(usize, Box<dyn Fn() -> Tensor<1> + 'a>),
    /// One unsigned number.
    Number(u64),
}

impl<'a> Entry<'a> {
    /// A parameter of a model, its values in `dtype`.
    pub fn param(name: impl Into<String>, param: &'a Param<'_>, dtype: Dtype) -> Self {
        let values = match param {
            Param::Matrix(w) => Values::Matrix(w, dtype),
            Param::Vector(w) => Values::Vector(w, dtype),
        };
        Self { name: name.into(), values }
    }

    /// A vector in f32 of `n` values; `make` makes it when its turn comes.
    pub fn made(name: impl Into<String>, n: usize, make: impl Fn() -> Tensor<1> + 'a) -> Self {
        Self { name: name.into(), values: Values::Made(n, Box::new(make)) }
    }

    /// One u64, of shape `[1]`.
    pub fn number(name: impl Into<String>, number: u64) -> Self {
        Self { name: name.into(), values: Values::Number(number) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn dtype(&self) -> FileDtype {
        match self.values {
            Values::Matrix(_, dtype) | Values::Vector(_, dtype) => dtype.in_file(),
            Values::Made(..) => FileDtype::F32,
            Values::Number(_) => FileDtype::U64,
        }
    }

    fn shape(&self) -> Vec<usize> {
        match self.values {
            Values::Matrix(w, _) => w.dims().to_vec(),
            Values::Vector(w, _) => w.dims().to_vec(),
            Values::Made(n, _) => vec![n],
            Values::Number(_) => vec![1],
        }
    }

    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        (self.shape().iter().product::<usize>() * self.dtype().bitsize() / 8) as u64
    }

    fn write(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        match &self.values {
            Values::Number(number) => out.write_all(&number.to_le_bytes()),
            Values::Matrix(w, dtype) => {
                let [rows, width] = w.dims();
                let step = (PIECE / width.max(1)).max(1);
                pieces(rows, step).try_for_each(|range| {
                    write_values((*w).clone().inner().slice([range, 0..width]), *dtype, out)
                })
            }
            Values::Vector(w, dtype) => write_vector(w, *dtype, out),
            Values::Made(_, make) => write_vector(&make(), Dtype::F32, out),
        }
    }
}

fn pieces(n: usize, step: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..n).step_by(step).map(move |start| start..(start + step).min(n))
}

fn write_vector(w: &Tensor<1>, dtype: Dtype, out: &mut impl std::io::Write) -> std::io::Result<()> {
    pieces(w.dims()[0], PIECE)
        .try_for_each(|range| write_values(w.clone().inner().slice([range]), dtype, out))
}

fn write_values<const D: usize>(
    piece: Tensor<D>,
    dtype: Dtype,
    out: &mut impl std::io::Write,
) -> std::io::Result<()> {
    let data = piece.cast(DType::F32).into_data();
    let values = data.as_slice::<f32>().map_err(|e| std::io::Error::other(format!("{e:?}")))?;
    let bytes: Vec<u8> = match dtype {
        Dtype::F32 if cfg!(target_endian = "little") => return out.write_all(bytemuck::cast_slice(values)),
        Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
    };
    out.write_all(&bytes)
}

/// Writes one safetensors file and syncs it: the header, then the tensors in the order given. `metadata` are the
/// entries of the header's `__metadata__`.
///
/// # Errors
/// What the file system or the format refuses.
pub fn write_tensors(path: &Path, tensors: &[Entry<'_>], metadata: &[(&str, &str)]) -> Result<(), Error> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let from = end;
        end += tensor.bytes() as usize;
        let (dtype, shape) = (tensor.dtype(), tensor.shape());
        (tensor.name.clone(), TensorInfo { dtype, shape, data_offsets: (from, end) })
    });
    let metadata: HashMap<_, _> = metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let header = Metadata::new(metadata, infos.collect()).map_err(|e| Error::at(path, e))?;
    let mut header = serde_json::to_vec(&header).map_err(|e| Error::at(path, e))?;
    // Data begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| tensor.write(&mut out))?;
        out.into_inner()?.sync_all()
    };
    write().map_err(|e| Error::io(path, e))
}

/// A safetensors file whose header is read; tensors are read when they are asked for.
pub struct TensorReader {
    path: PathBuf,
    file: TensorFile<'static>,
}

impl std::fmt::Debug for TensorReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TensorReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TensorReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// A file that cannot be read, is no safetensors file, or does not end where its header says.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), file: TensorFile::open(path.to_owned())? })
    }

    /// Reads the f32 vector `name` of `n` values.
    ///
    /// # Errors
    /// No such tensor, one of another dtype or shape, a read error.
    pub fn vector(&self, name: &str, n: usize, device: &Device) -> Result<Tensor<1>, Error> {
        let stored = self.file.tensor(name).ok_or_else(|| self.missing(name))?;
        if stored.kind != FileDtype::F32 || stored.shape != [n] {
            let found = format!("is {:?} {:?}, expected F32 [{n}]", stored.kind, stored.shape);
            return Err(stored.error(found));
        }
        Ok(Tensor::from_data(stored.values(Dtype::F32, [n])?.data, device))
    }

    /// Reads the one u64 `name`.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn number(&self, name: &str) -> Result<u64, Error> {
        let stored = self.file.tensor(name).ok_or_else(|| self.missing(name))?;
        if stored.kind != FileDtype::U64 || stored.shape != [1] {
            let found = format!("is {:?} {:?}, expected U64 [1]", stored.kind, stored.shape);
            return Err(stored.error(found));
        }
        let mut bytes = [0; 8];
        stored.read_at(0, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn missing(&self, name: &str) -> Error {
        Error::at(&self.path, format_args!("no tensor `{name}`"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    /// More than one piece, whose last one is short, and the same bytes as `safetensors` writes at once.
    #[test]
    fn pieces_make_the_bytes_that_safetensors_writes() {
        let (dir, device) = (tempfile::tempdir().unwrap(), Device::flex());
        let path = dir.path().join("a.safetensors");
        let values: Vec<f32> = (0..PIECE + 1_717).map(|i| i as f32 * 0.37 - 5.0).collect();
        let mut vector = Tensor::<1>::from_data(&values[..], &device);
        let mut matrix = vector.clone().narrow(0, 0, PIECE + 1_716).reshape([(PIECE + 1_716) / 4, 4]);
        let (v, m) = (Param::Vector(&mut vector), Param::Matrix(&mut matrix));
        for dtype in Dtype::ALL {
            let entries = [Entry::number("t", 7), Entry::param("m", &m, dtype), Entry::param("v", &v, dtype)];
            write_tensors(&path, &entries, &[("format", "pt")]).unwrap();
            let bytes: Vec<u8> = match dtype {
                Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Dtype::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
                Dtype::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            };
            let view = |shape: &[usize]| {
                let n = shape.iter().product::<usize>() * dtype.bytes() as usize;
                TensorView::new(dtype.in_file(), shape.to_vec(), &bytes[..n]).unwrap()
            };
            let number = 7u64.to_le_bytes();
            let number = TensorView::new(FileDtype::U64, vec![1], &number).unwrap();
            let whole =
                [("t", number), ("m", view(&[(PIECE + 1_716) / 4, 4])), ("v", view(&[PIECE + 1_717]))];
            let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
            let whole = safetensors::serialize(whole, Some(metadata)).unwrap();
            assert!(std::fs::read(&path).unwrap() == whole, "{dtype}");
        }
        let entries = [Entry::number("t", 7), Entry::param("v", &v, Dtype::F32)];
        write_tensors(&path, &entries, &[]).unwrap();
        let read = TensorReader::open(&path).unwrap();
        assert_eq!(read.number("t").unwrap(), 7);
        let again = read.vector("v", values.len(), &device).unwrap();
        assert_eq!(again.into_data().try_to_vec::<f32>().unwrap(), values);
        assert!(read.vector("v", 3, &device).unwrap_err().to_string().contains("expected F32 [3]"));
        assert!(read.number("v").is_err() && read.number("n").is_err());
    }
}
