//! Runs the examples that take no arguments and those that draw a study, and checks that the READMEs name them.
#![allow(clippy::unwrap_used)]

#[path = "../crates/study/tests/synthetic/mod.rs"]
mod synthetic;

use std::path::Path;
use std::process::Command;

/// The programs whose names begin so, without their ending.
fn programs(starts: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| starts.iter().any(|start| name.starts_with(start)))
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    names.sort();
    names
}

/// Cargo builds the examples of a package before it runs the package's tests.
fn run(name: &str, arguments: &[&Path]) -> Vec<u8> {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap().join("examples");
    let program = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let out = Command::new(&program).args(arguments).output().unwrap_or_else(|e| {
        panic!("{}: {e}; `cargo test -p examples` builds the examples too", program.display())
    });
    assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn they_run() {
    let names = programs(&["0"]);
    assert_eq!(names.len(), 7, "{names:?}");
    for name in names {
        let lines = run(&name, &[]).iter().filter(|&&byte| byte == b'\n').count();
        assert!(lines >= 2, "{name} prints its findings");
    }
}

#[test]
fn figures_and_tables_are_drawn() {
    let study = tempfile::tempdir().unwrap();
    let out = study.path().join("drawn");
    let results = synthetic::results(1, 1.0);
    std::fs::write(study.path().join("results.json"), results.to_json().unwrap()).unwrap();
    let names = programs(&["figure_", "table_"]);
    for n in (2..=18).filter(|n| *n != 12) {
        assert!(names.iter().any(|name| name.starts_with(&format!("figure_{n:02}_"))), "figure {n}");
    }
    assert_eq!(names.iter().filter(|name| name.starts_with("table_")).count(), 5);
    for name in names {
        let said = String::from_utf8(run(&name, &[study.path(), &out])).unwrap();
        assert!(said.contains(&name), "{name}: {said}");
        let svg = std::fs::read_to_string(out.join(format!("{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{name}");
        let png = std::fs::read(out.join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 2000, "{name}: {} bytes", png.len());
        // What the study has is drawn and tabled; what it does not have is said.
        let missing = said.matches("not in this study: ").count();
        // Behind the description, which says it once more.
        let drawn = svg.split("</desc>").nth(1).unwrap();
        assert_eq!(missing, drawn.matches(">Not in this study: ").count(), "{name}");
        let tables = std::fs::read_dir(&out).unwrap().filter(|file| {
            let file = file.as_ref().unwrap().file_name().into_string().unwrap();
            file.starts_with(&name) && file.ends_with(".csv")
        });
        assert!(missing + tables.count() >= 1, "{name}");
    }
}

#[test]
fn they_are_short_and_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in programs(&["0", "figure_", "table_"]) {
        let lines = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap().lines().count();
        assert!(lines <= 60, "{name} has {lines} lines, at most 60");
        for page in ["README.md", "../README.md"] {
            let page = folder.join(page);
            let text = std::fs::read_to_string(&page).unwrap();
            assert!(text.contains(&name), "{} does not name {name}", page.display());
        }
    }
}
