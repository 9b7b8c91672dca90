//! A file seen as bytes without reading it, for its header; and read in pieces, for its data.
//!
//! Mapped pages count as the process' memory once they are touched, so weights are read and not mapped: the
//! peak of loading is the weights and one piece.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A read-only memory map of a file.
#[derive(Debug)]
pub struct FileMap {
    map: Mmap,
    file: File,
}

impl FileMap {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is only read. Who rewrites a checkpoint while it is being loaded gets wrong
        // weights, as with any reader; who truncates it then stops the program, and loses nothing.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self { map, file })
    }

    /// Reads `out.len()` bytes from `offset` on.
    ///
    /// # Errors
    /// What the file system refuses, and a file that ends before.
    pub fn read_at(&self, offset: usize, out: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        self.file.read_exact_at(out, offset as u64)
    }
}

impl Deref for FileMap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}
