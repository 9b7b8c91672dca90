//! Whole files or none: written aside, synced, renamed.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::Error;

/// Writes `bytes` to `path`, which afterwards is the whole new file or what it was before.
///
/// # Errors
/// A folder that is missing or cannot be written; the message names the file.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&aside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&aside, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&aside);
        Error::at(path, e)
    })
}
