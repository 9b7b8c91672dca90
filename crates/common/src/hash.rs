//! SHA-256 of files and folders, by which results name their inputs.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// SHA-256 of bytes, in lower-case hex.
pub fn hash_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// SHA-256 of a file's bytes, in lower-case hex.
///
/// # Errors
/// A file that cannot be read.
pub fn file_hash(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    std::io::copy(&mut file, &mut hash).map_err(|e| Error::io(path, e))?;
    Ok(format!("{:x}", hash.finalize()))
}

/// SHA-256 over names and contents of the files in `dir` whose name is `wanted`; a thread for each file.
///
/// # Errors
/// A folder or a file that cannot be read.
pub fn folder_hash(dir: impl AsRef<Path>, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let dir = dir.as_ref();
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let mut names: Vec<String> =
        entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|name| wanted(name)).collect();
    names.sort();
    let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    let hashes: Vec<Result<String>> = std::thread::scope(|scope| {
        let running: Vec<_> = paths.iter().map(|path| scope.spawn(move || file_hash(path))).collect();
        let joined = |t: std::thread::ScopedJoinHandle<'_, Result<String>>| {
            t.join().unwrap_or_else(|_| Err(Error::internal("hashing a file panicked")))
        };
        running.into_iter().map(joined).collect()
    });
    let mut hash = Sha256::new();
    for (name, of) in names.iter().zip(hashes) {
        hash.update(format!("{name} {}\n", of?));
    }
    Ok(format!("{:x}", hash.finalize()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_wanted_files_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.txt", "two"), ("a.txt", "one"), ("c.bin", "three")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(file_hash(dir.path().join("a.txt")).unwrap(), hash_of(b"one"));
        let listed = format!("a.txt {}\nb.txt {}\n", hash_of(b"one"), hash_of(b"two"));
        let found = folder_hash(dir.path(), |name| name.ends_with(".txt")).unwrap();
        assert_eq!(found, hash_of(listed.as_bytes()));
        assert!(file_hash(dir.path().join("none")).is_err());
    }
}
