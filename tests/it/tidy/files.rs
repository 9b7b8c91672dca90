//! First lines and lengths of the files, `unsafe` in one crate, no logic twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::root;

/// Longest file, and the median.
const LONGEST: usize = 500;
const MEDIAN: usize = 140;
/// More equal lines in a row than this, in two places, are one thing written twice.
const SHARED: usize = 12;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, into);
            } else if name.ends_with(".rs") {
                into.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for folder in ["benches", "crates", "downstream", "examples", "tests"] {
        walk(&root().join(folder), &mut files);
    }
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn files_start_with_what_they_are_and_stay_short() {
    let files = sources();
    let mut lengths = Vec::new();
    let mut long = Vec::new();
    for (path, text) in &files {
        assert!(text.starts_with("//!"), "{} does not start with //!", path.display());
        lengths.push(text.lines().count());
        if text.lines().count() > LONGEST {
            long.push(format!("{}: {}", path.display(), text.lines().count()));
        }
        let at = path.to_str().unwrap();
        let inside = text.split("#[cfg(test)]").next().unwrap();
        if at.contains("/src/") && !at.contains("crates/kernels/") && !at.contains("crates/cli/") {
            assert!(!inside.contains("unsafe {"), "{at}: unsafe lives in kernels alone");
        }
    }
    assert!(long.is_empty(), "longer than {LONGEST} lines: {long:#?}");
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN, "the median file has {median} lines, at most {MEDIAN}");
}

#[test]
fn no_logic_stands_twice() {
    let files = sources();
    let mut seen: HashMap<Vec<&str>, (usize, usize)> = HashMap::new();
    let mut twice: Vec<String> = Vec::new();
    for (which, (path, text)) in files.iter().enumerate() {
        // Lines with code in them: no comments, imports, braces alone.
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(n, line)| (n + 1, line.trim()))
            .filter(|(_, line)| line.chars().filter(|c| c.is_alphanumeric()).count() > 2)
            .filter(|(_, line)| {
                !line.starts_with("//") && !line.starts_with("use ") && !line.starts_with('#')
            })
            .collect();
        let mut end = 0;
        for window in lines.windows(SHARED + 1) {
            let key: Vec<&str> = window.iter().map(|(_, line)| *line).collect();
            let (first, last) = (window[0].0, window[SHARED].0);
            if let Some((file, line)) = seen.get(&key) {
                if first > end {
                    twice.push(format!("{}:{first} is {}:{line}", path.display(), files[*file].0.display()));
                }
                end = last;
            } else {
                seen.insert(key, (which, first));
            }
        }
    }
    assert!(twice.is_empty(), "more than {SHARED} equal lines: {twice:#?}");
}
