//! Files that are whole or absent, and progress on a terminal.

use std::io::{IsTerminal, Write as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::options::{Common, Failure, Result};

/// `println!` that does not panic: a reader that closes early (`| head`) is no failure, a full disk is one.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::put(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;

/// Writes to stdout; `false` where nobody reads any more.
pub(crate) fn put(text: std::fmt::Arguments<'_>) -> bool {
    let mut out = std::io::stdout();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => true,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => false,
        Err(e) => {
            eprintln!("sparks: stdout: {e}");
            std::process::exit(1);
        }
    }
}

/// Whether a file is written to and never replaced: a pipe, `/dev/null`. `/dev/stdout` may be a link to a
/// regular file.
fn is_device(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc") || path.exists() && !path.is_file()
}

/// The folder of a file that can be written.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether `out` can be written, asked before hours of work: its folder is there and takes files, and it is
/// not one of the `inputs`.
pub(crate) fn ready(out: &Path, inputs: &[&Path]) -> Result {
    if out.is_dir() {
        return Err(Failure::input(format!("{}: is a folder, expected a file", out.display())));
    }
    if is_device(out) {
        return Ok(());
    }
    let folder = folder_of(out);
    if !folder.is_dir() {
        return Err(Failure::input(format!("{}: no folder {}", out.display(), folder.display())));
    }
    tempfile::tempfile_in(folder).map_err(|e| Failure::input(format!("{}: {e}", out.display())))?;
    let same = |input: &&Path| matches!((input.canonicalize(), out.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if inputs.iter().any(same) {
        return Err(Failure::input(format!(
            "{}: is an input of this command, expected another file",
            out.display()
        )));
    }
    Ok(())
}

/// Writes a file under a temporary name beside its place, syncs and renames it; where a link is in its place,
/// in that of the file it leads to.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result {
    ready(path, &[])?;
    let failed = |e: std::io::Error| Failure::other(format!("{}: {e}", path.display()));
    if is_device(path) {
        return std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(failed);
    }
    let place = path.canonicalize().unwrap_or(path.to_owned());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // As any program makes a file: readable by whom the umask lets.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.prefix(".sparks").tempfile_in(folder_of(&place)).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(&place).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Prints one JSON object on stdout.
pub(crate) fn print_json(value: &serde_json::Value) {
    say!("{value}");
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
