//! burn and everything below it have one set of features, whichever package is built: so burn is built once.
//! What this test finds missing belongs to `crates/one-build/Cargo.toml`; `docs/DESIGN.md` gives the reason.

use std::collections::BTreeSet;

use super::{cargo, packages, text};

/// The lines `name vVERSION FEATURES` of a dependency tree.
fn tree(selection: &[&str], edges: &str) -> BTreeSet<String> {
    let args = ["tree", "--prefix", "none", "--format", "{p} {f}", "--edges", edges];
    let text = cargo(&[&args, selection].concat());
    text.lines()
        .map(|line| line.trim_end_matches("(*)").trim().to_owned())
        .filter(|l| !l.is_empty())
        .collect()
}

fn name(line: &str) -> String {
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn burn_is_built_once() {
    let below: BTreeSet<String> = tree(&["-p", "burn"], "normal,build").iter().map(|l| name(l)).collect();
    let built = tree(&["--workspace"], "normal,build,dev");
    let mut selections = vec![vec!["--workspace".to_owned()]];
    let packages = packages();
    let names = packages.iter().map(|p| text(p, "name")).filter(|name| *name != "sparks-one-build");
    selections.extend(names.map(|name| vec!["-p".to_owned(), name.to_owned()]));
    let mut missing = Vec::new();
    for selection in &selections {
        for edges in ["normal,build", "normal,build,dev"] {
            let selected: Vec<&str> = selection.iter().map(String::as_str).collect();
            let tree = tree(&selected, edges);
            if !tree.iter().any(|line| line.starts_with("burn-core v")) {
                continue;
            }
            for line in tree.iter().filter(|line| below.contains(&name(line)) && !built.contains(*line)) {
                let whole: Vec<&String> = built.iter().filter(|l| name(l) == name(line)).collect();
                missing.push(format!("{selection:?} ({edges}): {line}\n  the workspace: {whole:?}"));
            }
        }
    }
    assert!(missing.is_empty(), "built twice:\n{}", missing.join("\n"));
}
