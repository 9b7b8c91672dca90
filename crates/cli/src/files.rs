//! What a command writes never replaces what it reads, and two of its outputs have two places.
//!
//! The paths are those of the command line itself, so that no command can forget one: a path is read unless its
//! flag is in [`WRITTEN`]. Folders are told of by what opens them ([`Files::keep`]).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, ValueHint};
use common::Error;

use crate::options::Result;

/// The flags of what a command writes.
const WRITTEN: [&str; 5] = ["out", "dot", "svg", "html", "mib"];

/// The paths on the command line, with their flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files {
    written: Vec<(String, PathBuf)>,
    read: Vec<(String, PathBuf)>,
}

impl Files {
    /// The paths in `matches`, which `command` parsed.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let mut files = Self::default();
        files.add(command, matches);
        files
    }

    fn add(&mut self, command: &Command, matches: &ArgMatches) {
        for arg in command.get_arguments().filter(|arg| arg.get_value_hint() == ValueHint::AnyPath) {
            let id = arg.get_id().as_str();
            let name = arg.get_value_names().and_then(|names| names.first());
            let name = name.map_or_else(|| id.to_uppercase(), ToString::to_string);
            let flag = arg.get_long().map_or(name, |long| format!("--{long}"));
            let list = if WRITTEN.contains(&id) { &mut self.written } else { &mut self.read };
            for path in matches.try_get_raw(id).ok().flatten().into_iter().flatten() {
                let given = (flag.clone(), PathBuf::from(path));
                // A global flag is in the matches of the command and of its subcommand.
                if !list.contains(&given) {
                    list.push(given);
                }
            }
        }
        if let Some((name, matches)) = matches.subcommand()
            && let Some(command) = command.find_subcommand(name)
        {
            self.add(command, matches);
        }
    }

    /// Refuses an output over an input, and two outputs at one place.
    pub(crate) fn check(&self) -> Result {
        for (flag, path) in &self.read {
            self.replaces(flag, path)?;
        }
        for (at, (flag, path)) in self.written.iter().enumerate() {
            if let Some((other, first)) = self.written[..at].iter().find(|(_, first)| same(first, path)) {
                let what = format!("{flag} and {other} {}: expected two files", first.display());
                return Err(Error::at(path, what));
            }
        }
        Ok(())
    }

    /// Refuses an output over `path`, which is read; `what` is its name for the user.
    fn replaces(&self, what: &str, path: &Path) -> Result {
        match self.written.iter().find(|(_, out)| same(out, path)) {
            Some((_, out)) => {
                let what = format!("is an input of this command ({what} {})", path.display());
                Err(Error::at(out, format!("{what}, expected another place")))
            }
            None => Ok(()),
        }
    }

    /// Refuses an output over `folder`, which is read, or over a file in it. A page, which `--html` writes, may be
    /// written again.
    pub(crate) fn keep(&self, what: &str, folder: &Path) -> Result {
        self.replaces(what, folder)?;
        let Ok(place) = folder.canonicalize() else { return Ok(()) };
        // In the cache of the hub, files of a checkpoint are links.
        let inside = |out: &Path| {
            let linked = || std::fs::read_dir(&place).into_iter().flatten().flatten();
            real(out).is_some_and(|out| out.starts_with(&place)) || linked().any(|f| same(&f.path(), out))
        };
        let is_file = |out: &Path| out.is_file() && !common::is_device(out);
        let mut written = self.written.iter();
        match written.find(|(flag, out)| is_file(out) && inside(out) && !(flag == "--html" && is_page(out))) {
            Some((_, out)) => {
                let what = format!("is a file of {} ({what}), which this command reads", folder.display());
                Err(Error::at(out, format!("{what}; expected another place")))
            }
            None => Ok(()),
        }
    }
}

/// Where a file is or would be, through links of folders.
fn real(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

/// Whether two paths are one place. Devices can be read and written at once.
fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok().or_else(|| real(path));
    !common::is_device(a) && real(a).is_some() && real(a) == real(b)
}

/// Whether a file is a page of HTML, by how `sparks watch` begins it.
fn is_page(path: &Path) -> bool {
    let mut start = [0; 14];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start.eq_ignore_ascii_case(b"<!doctype html")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Paths that are read. A new flag for a path belongs here or in [`WRITTEN`].
    const READ: [&str; 14] = [
        "adapter",
        "base",
        "circuit",
        "config",
        "data",
        "fill_from",
        "folder",
        "input",
        "others",
        "pairs",
        "resume",
        "run",
        "scores",
        "shards",
    ];

    #[test]
    fn every_path_of_the_command_line_is_read_or_written() {
        fn walk(command: &Command, found: &mut Vec<String>) {
            let paths = command.get_arguments().filter(|arg| arg.get_value_hint() == ValueHint::AnyPath);
            found.extend(paths.map(|arg| arg.get_id().to_string()));
            command.get_subcommands().for_each(|command| walk(command, found));
        }
        let mut found = Vec::new();
        walk(&crate::Cli::command(), &mut found);
        found.sort_unstable();
        found.dedup();
        let mut known: Vec<&str> = READ.iter().chain(&WRITTEN).copied().collect();
        known.sort_unstable();
        assert_eq!(found, known);
    }

    fn files(args: &[&str]) -> Files {
        let mut command = crate::Cli::command();
        let matches = command.try_get_matches_from_mut(args).unwrap();
        Files::of(&command, &matches)
    }

    #[test]
    fn outputs_have_places_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("s.json"), "{}").unwrap();
        std::os::unix::fs::symlink(at("s.json"), at("link.json")).unwrap();
        let circuit = |scores: &str, out: &str, svg: &str| {
            let args = ["sparks", "circuit", &at(scores), "--top", "1", "--out", &at(out), "--svg", &at(svg)];
            files(&args).check().map_err(|e| e.to_string())
        };
        assert_eq!(circuit("s.json", "c.json", "c.svg"), Ok(()));
        for (scores, out, svg) in [("s.json", "s.json", "c.svg"), ("link.json", "c.json", "./s.json")] {
            let message = circuit(scores, out, svg).unwrap_err();
            let expected = format!("is an input of this command (SCORES {})", at(scores));
            assert!(message.contains(&expected), "{message}");
        }
        let message = circuit("s.json", "c.json", "./c.json").unwrap_err();
        assert!(message.contains("--svg and --out") && message.contains("expected two files"), "{message}");
    }

    #[test]
    fn files_of_a_folder_stay() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for (name, text) in
            [("run/metrics.jsonl", "{}"), ("run/page.html", "<!DOCTYPE html>\n"), ("blob", "")]
        {
            std::fs::create_dir_all(at("run")).unwrap();
            std::fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(at("blob"), at("run/weights")).unwrap();
        let watch = |html: &str| {
            let files = files(&["sparks", "watch", &at("run"), "--html", &at(html)]);
            files.check().and_then(|()| files.keep("RUN", Path::new(&at("run")))).is_ok()
        };
        let expected = [
            ("run/page.html", true),
            ("run/new.html", true),
            ("run/metrics.jsonl", false),
            ("run/../run/metrics.jsonl", false),
            ("run/weights", false),
            ("blob", false),
            ("run", false),
        ];
        for (html, fine) in expected {
            assert_eq!(watch(html), fine, "{html}");
        }
    }
}
