//! Whole files or none: written to a temporary name in the same folder, synced, renamed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Temporary files and folders that are being written. [`exit_without_partial_files`] removes them.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file or folder that is being written: where the program ends by [`exit_without_partial_files`],
/// it is removed.
#[derive(Debug)]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Makes a temporary file or folder by `make`, which returns its path and what the caller needs of it.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn begin<T, E>(make: impl FnOnce() -> Result<(PathBuf, T), E>) -> Result<(Self, T), E> {
        let mut list = unfinished();
        let (path, made) = make()?;
        list.push(path.clone());
        Ok((Self(path), made))
    }

    /// Ends the work by `place`, which moves the file or folder to its place. The program cannot end by
    /// [`exit_without_partial_files`] meanwhile.
    pub fn finish<T>(self, place: impl FnOnce() -> T) -> T {
        let mut list = unfinished();
        list.retain(|path| *path != self.0);
        let placed = place();
        drop(list);
        placed
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().retain(|path| *path != self.0);
    }
}

/// Whether `path` is written to in place and never replaced: a pipe, a device such as `/dev/null`, or a name of
/// an open descriptor such as `/dev/stdout`.
pub fn is_device(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let descriptor = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];
    descriptor.iter().any(|d| path.starts_with(d)) || path.exists() && !path.is_file() && !path.is_dir()
}

/// Refuses a file where a folder is wanted: at `path` or above it.
///
/// # Errors
/// The file, by name.
pub fn check_folder(path: impl AsRef<Path>) -> Result<(), Error> {
    let file = path.as_ref().ancestors().find(|place| place.is_file());
    file.map_or(Ok(()), |file| Err(Error::at(file, "is a file, expected a folder")))
}

/// Makes a folder and those above it, where they are not there.
///
/// # Errors
/// As [`check_folder`]; what the operating system refuses.
pub fn make_folder(path: impl AsRef<Path>) -> Result<(), Error> {
    check_folder(&path)?;
    std::fs::create_dir_all(&path).map_err(|e| Error::io(path, e))
}

/// Writes `bytes` to `path`, which afterwards is the whole new file or what it was before.
///
/// # Errors
/// A folder that is missing or cannot be written, a full disk; the message names the file.
pub fn write_whole(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    write_with(path, |file| file.write_all(bytes))
}

/// Writes what `write` writes to `path`, which afterwards is the whole new file or what it was before.
///
/// Where `path` is a link, the file that it leads to is replaced and the link stays. A [device](is_device) is
/// written to directly.
///
/// # Errors
/// As [`write_whole`], and what `write` returns.
pub fn write_with(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut io::BufWriter<&mut std::fs::File>) -> io::Result<()>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let written = || -> io::Result<()> {
        if is_device(path) {
            let mut device = std::fs::OpenOptions::new().write(true).open(path)?;
            let mut buffer = io::BufWriter::new(&mut device);
            write(&mut buffer)?;
            return buffer.flush();
        }
        let place = followed(path);
        let (unfinished, mut file) = temporary(&place)?;
        let mut buffer = io::BufWriter::new(file.as_file_mut());
        write(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        file.as_file().sync_all()?;
        unfinished.finish(|| file.persist(&place)).map_err(|e| e.error)?;
        Ok(())
    };
    written().map_err(|e| Error::io(path, e))
}

/// Writes `bytes` to `path` where nothing is there yet; whether it did.
///
/// # Errors
/// As [`write_whole`].
pub fn write_new(path: impl AsRef<Path>, bytes: &[u8]) -> Result<bool, Error> {
    let path = path.as_ref();
    let written = || -> io::Result<bool> {
        let (unfinished, mut file) = temporary(path)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        match unfinished.finish(|| file.persist_noclobber(path)) {
            Ok(_) => Ok(true),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e.error),
        }
    };
    written().map_err(|e| Error::io(path, e))
}

/// A temporary file beside `place`.
fn temporary(place: &Path) -> io::Result<(Unfinished, tempfile::NamedTempFile)> {
    let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{name}.");
    builder.prefix(&prefix).suffix(".tmp");
    // What the umask leaves, as for any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    Unfinished::begin(|| {
        let file = builder.tempfile_in(folder)?;
        io::Result::Ok((file.path().to_owned(), file))
    })
}

/// The file that a link leads to, also where that file does not exist yet; `path` itself where it is no link.
fn followed(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    match path.read_link() {
        Ok(target) => path.parent().unwrap_or(Path::new("")).join(target),
        Err(_) => path.to_owned(),
    }
}

/// Removes the temporary files and folders of writes that are under way and ends the process with `status`. For a
/// program that is interrupted by a signal.
pub fn exit_without_partial_files(status: i32) -> ! {
    // Held to the end, so that no other thread begins or finishes a file.
    let list = unfinished();
    for path in list.iter() {
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
    std::process::exit(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_whole(&path, b"first").unwrap();
        let failed = write_with(&path, |file| {
            file.write_all(b"sec")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.unwrap_err().is_io());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("a"), dir.path().join("b/c"));
        std::fs::write(&file, b"").unwrap();
        make_folder(&folder).unwrap();
        make_folder(&folder).unwrap();
        for place in [file.clone(), file.join("b/c")] {
            let error = make_folder(place).unwrap_err();
            assert!(
                error.is_input() && error.to_string().ends_with("a: is a file, expected a folder"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert!(write_new(&path, b"first").unwrap() && !write_new(&path, b"second").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_their_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, later) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        std::fs::write(&file, b"first").unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        std::os::unix::fs::symlink("new", &later).unwrap();
        write_whole(&link, b"second").unwrap();
        write_whole(&later, b"third").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"second");
        assert_eq!(std::fs::read(dir.path().join("new")).unwrap(), b"third");
        assert!(link.is_symlink() && later.is_symlink());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_are_written_to_in_place() {
        assert!(is_device("/dev/null") && is_device("/dev/stdout") && !is_device("/dev/shm"));
        write_whole("/dev/null", b"x").unwrap();
        assert!(write_whole("/dev/full", b"x").unwrap_err().is_io());
        assert!(!Path::new("/dev/full").is_file());
    }
}
