//! A file seen as bytes without reading it: how weights larger than a buffer are loaded.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A read-only memory map of a file.
#[derive(Debug)]
pub struct FileMap(Mmap);

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
        Ok(Self(map))
    }
}

impl Deref for FileMap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
