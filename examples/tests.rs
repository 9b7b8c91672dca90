//! Runs the examples that take no arguments, and checks that the READMEs name them.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// The programs `01_…` to `07_…`, without their ending.
fn programs() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with('0'))
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 7, "{names:?}");
    names
}

#[test]
fn they_run() {
    // Cargo builds the examples of a package before it runs the package's tests.
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap().join("examples");
    for name in programs() {
        let program = folder.join(&name).with_extension(std::env::consts::EXE_EXTENSION);
        let out = Command::new(&program).output().unwrap_or_else(|e| {
            panic!("{}: {e}; `cargo test -p examples` builds the examples too", program.display())
        });
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stdout.iter().filter(|&&byte| byte == b'\n').count() >= 2, "{name} prints its findings");
    }
}

#[test]
fn they_are_short_and_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in programs() {
        let lines = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap().lines().count();
        assert!(lines <= 60, "{name} has {lines} lines, at most 60");
        for page in ["README.md", "../README.md"] {
            let page = folder.join(page);
            let text = std::fs::read_to_string(&page).unwrap();
            assert!(text.contains(&name), "{} does not name {name}", page.display());
        }
    }
}
