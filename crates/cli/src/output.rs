//! Files that are whole or absent, and progress on a terminal.

use std::io::{IsTerminal, Write as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::common::{Common, Failure, Result};

/// Writes a file under a temporary name beside its place, syncs and renames it. What is no regular file (a pipe,
/// `/dev/null`) is written to and never replaced.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result {
    let failed = |e: std::io::Error| Failure::other(format!("{}: {e}", path.display()));
    if path.is_dir() {
        return Err(Failure::input(format!("{}: is a folder, expected a file", path.display())));
    }
    // `/dev/stdout` may be a link to a regular file.
    if path.starts_with("/dev") || path.starts_with("/proc") || path.exists() && !path.is_file() {
        return std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(failed);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::input(format!("{}: no folder {}", path.display(), folder.display())));
    }
    let mut file = tempfile::Builder::new().prefix(".sparks").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Refuses to write over what the command reads.
pub(crate) fn not_an_input(out: &Path, inputs: &[&Path]) -> Result {
    let Ok(place) = out.canonicalize() else { return Ok(()) };
    let same = |input: &&Path| out.is_file() && input.canonicalize().is_ok_and(|input| input == place);
    if inputs.iter().any(same) {
        return Err(Failure::input(format!(
            "{}: is an input of this command, expected another file",
            out.display()
        )));
    }
    Ok(())
}

/// Prints one JSON object on stdout.
pub(crate) fn print_json(value: &serde_json::Value) {
    let mut out = std::io::stdout();
    match writeln!(out, "{value}").and_then(|()| out.flush()) {
        // A reader that closes early (`| head`) is no failure; a full disk is.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("sparks: stdout: {e}");
            std::process::exit(1);
        }
        _ => {}
    }
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
