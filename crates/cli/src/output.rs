//! Output paths checked before the work, stdout, and progress bars.

use std::io::{IsTerminal, Write as _};
use std::path::Path;

use common::Error;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::options::{Common, Result};

/// `println!` that does not panic: a closed pipe (`| head`) is no error, a full disk is one.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::put(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;

/// Writes to stdout; `false` where the reader has closed it.
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

/// Checks that `out` can be written, before hours of work: its folder exists and takes files.
pub(crate) fn ready(out: &Path) -> Result {
    if out.is_dir() {
        return Err(Error::at(out, "is a folder, expected a file"));
    }
    if common::is_device(out) {
        return Ok(());
    }
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Error::at(out, format!("no folder {}", folder.display())));
    }
    tempfile::tempfile_in(folder).map(drop).map_err(|e| Error::io(out, e))
}

/// Prints one JSON object on stdout.
pub(crate) fn print_json(value: &serde_json::Value) {
    say!("{value}");
}

/// A value as JSON.
pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(Error::internal)
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
