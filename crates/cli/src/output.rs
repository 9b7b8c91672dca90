//! Files that are whole or absent, and progress on a terminal.

use std::io::{IsTerminal, Write as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::common::{Common, Failure, Result};

/// Writes a file under a temporary name beside its place, syncs and renames it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result {
    let failed = |e: std::io::Error| Failure::other(format!("{}: {e}", path.display()));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::input(format!("{}: no folder {}", path.display(), folder.display())));
    }
    let mut file = tempfile::Builder::new().prefix(".sparks").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Prints one JSON object on stdout.
pub(crate) fn print_json(value: &serde_json::Value) {
    // A reader that closes early (`| head`) is no failure.
    let _ = writeln!(std::io::stdout(), "{value}");
}

/// A progress bar on stderr, only where that is a terminal.
pub(crate) fn progress(common: &Common, n: usize, what: &'static str) -> ProgressBar {
    if common.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(n as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
