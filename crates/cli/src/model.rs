//! The folder of a MODEL: as given, or fetched from the hub into the cache; and suites on the hub.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use bench_math::Problems;
use bench_math::suite::{self, SUITES};
use common::Error;
use hub::{DataFile, DownloadProgress, Hub, Id, Settings};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::options::{Common, Result};

/// The folder of a checkpoint. A folder of that name is preferred to a hub id.
pub(crate) fn folder(common: &Common, model: &str) -> Result<PathBuf> {
    let dir = PathBuf::from(model);
    let Ok(id) = model.parse::<Id>() else { return Ok(dir) };
    if dir.exists() {
        return Ok(dir);
    }
    let neither = |e: Error| match e.is_input() {
        true => Error::input(format!("{e} (nor is there a folder {model})")),
        false => e,
    };
    let mut bar = Bar::new(common);
    open(common)?.checkpoint(&id, &mut |p| bar.show(p)).map_err(neither)
}

/// The problems of a suite, which `flag` names: those of a file, of a named suite in the folder of `--data`, or of the
/// fetched file for `hf://datasets/…`.
pub(crate) fn suite(common: &Common, flag: &str, suite: &str, data: Option<&Path>) -> Result<Problems> {
    let path = fetched(common, flag, suite)?;
    if let (Some(data), false) = (data, SUITES.iter().any(|named| named.name == path)) {
        let what = format!(
            "--data {}: no effect with {flag} {suite}, which is no file of that folder",
            data.display()
        );
        return Err(Error::input(format!("{what}; leave it out")));
    }
    let data = data.unwrap_or(Path::new("benchmarks"));
    if let Some(file) = suite::file(&path, data) {
        common.files.keep(flag, &file)?;
    }
    let problems = suite::load(&path, data, common.seed())?;
    common.warn_unread(suite, &problems.unread)?;
    Ok(problems)
}

/// The path of a suite.
fn fetched(common: &Common, flag: &str, suite: &str) -> Result<String> {
    if !suite.starts_with("hf://") {
        return Ok(suite.into());
    }
    let file: DataFile = suite.parse().map_err(|e| Error::input(format!("{flag}: {e}")))?;
    let mut bar = Bar::new(common);
    let path = open(common)?.data_file(&file, &mut |p| bar.show(p))?;
    path.into_os_string().into_string().map_err(|p| Error::at(p, "not UTF-8"))
}

fn open(common: &Common) -> Result<Hub> {
    let mut settings = Settings::from_env();
    settings.offline |= common.offline;
    Hub::new(settings)
}

/// A progress bar for each downloaded file, only on a terminal.
struct Bar {
    bar: ProgressBar,
    file: String,
}

impl Bar {
    fn new(common: &Common) -> Self {
        let shown = !common.quiet && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        Self { bar, file: String::new() }
    }

    fn show(&mut self, p: DownloadProgress) {
        if self.file != p.file {
            self.file = p.file.into();
            self.bar.reset();
            self.bar.set_message(self.file.clone());
        }
        self.bar.set_length(p.total);
        self.bar.set_position(p.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
