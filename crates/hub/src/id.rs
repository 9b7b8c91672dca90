//! Names of repositories: `org/name`, `org/name@revision`, and of files of data sets.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A repository at a revision (a branch, a tag or a commit; `main` where none is given).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// `org/name`
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// A file of a data set: `hf://datasets/org/name[@revision]/path[#sha256=HEX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// The data set.
    pub id: Id,
    /// The file's path in it.
    pub path: String,
    /// What the file must be, lower-case hex.
    pub sha256: Option<String>,
}

/// A part of a repository's name, as the hub allows it.
fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=96).contains(&text.len())
        && text.chars().all(inside)
        && !text.starts_with(['.', '-'])
        && !text.ends_with(['.', '-'])
        && !text.contains("..")
        && !text.contains("--")
}

/// A path below a folder, without tricks.
fn is_path(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p != "." && p != ".." && !p.contains(['\\', '?', '#', '%', '\0']);
    !text.is_empty() && text.split('/').all(part) && !text.contains(char::is_whitespace)
}

impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let named = repo.split_once('/').is_some_and(|(org, name)| is_name(org) && is_name(name));
        if !named || !is_path(revision) {
            return Err(Error::input(format!("{text:?}: expected org/name or org/name@revision")));
        }
        Ok(Self { repo: repo.into(), revision: revision.into() })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.revision)
    }
}

impl FromStr for DataFile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::input(format!(
                "{text:?}: expected hf://datasets/org/name@revision/path, then #sha256= and 64 hex digits if wanted"
            ))
        };
        let rest = text.strip_prefix("hf://datasets/").ok_or_else(bad)?;
        let (rest, sha256) = match rest.split_once("#sha256=") {
            Some((rest, hex)) => (rest, Some(hex.to_ascii_lowercase())),
            None => (rest, None),
        };
        let hex = |s: &str| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit());
        let mut parts = rest.splitn(3, '/');
        let (Some(org), Some(name), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        if !is_path(path) || !sha256.as_deref().is_none_or(hex) {
            return Err(bad());
        }
        Ok(Self { id: format!("{org}/{name}").parse().map_err(|_| bad())?, path: path.into(), sha256 })
    }
}

impl fmt::Display for DataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://datasets/{}/{}", self.id, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_tricks_refused() {
        let id: Id = "Qwen/Qwen2.5-0.5B@refs/pr/3".parse().expect("an id");
        assert_eq!((id.repo.as_str(), id.revision.as_str()), ("Qwen/Qwen2.5-0.5B", "refs/pr/3"));
        assert_eq!("a/b".parse::<Id>().expect("an id").revision, "main");
        for bad in
            ["a", "a/b/c", "../b", "a/..", "/a", "a/", "./a", "a/b@", "a/b@../x", "a b/c", "a/b@x y", "é/x"]
        {
            assert!(bad.parse::<Id>().is_err(), "{bad}");
        }
        let file: DataFile = "hf://datasets/o/d@v1/x/y.jsonl".parse().expect("a file");
        assert_eq!((file.path.as_str(), file.id.revision.as_str()), ("x/y.jsonl", "v1"));
        for bad in
            ["hf://o/d/x", "hf://datasets/o/d", "hf://datasets/o/d/../x", "hf://datasets/o/d/x#sha256=12"]
        {
            assert!(bad.parse::<DataFile>().is_err(), "{bad}");
        }
    }
}
