//! The rules that no compiler checks: who may import whom, licences, first lines, lengths of files.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata(more: &[&str]) -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--offline"]).args(more).current_dir(root());
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The whole table: a crate and the crates of ours that it may name. Tests may name toy-model beside them.
const LAYERS: [(&str, &[&str]); 14] = [
    ("hooks", &[]),
    ("kernels", &[]),
    ("bench-math", &[]),
    ("hub", &[]),
    ("model-qwen", &["hooks", "kernels"]),
    ("toy-model", &["hooks"]),
    ("ablation", &["hooks"]),
    ("attribution", &["hooks", "ablation"]),
    ("circuits", &["hooks", "ablation"]),
    ("posttrain", &["hooks", "kernels", "model-qwen"]),
    ("posttrain-sft", &["hooks", "kernels", "model-qwen", "posttrain"]),
    ("posttrain-grpo", &["hooks", "kernels", "model-qwen", "posttrain"]),
    (
        "study",
        &[
            "hooks",
            "model-qwen",
            "bench-math",
            "ablation",
            "attribution",
            "circuits",
            "posttrain",
            "posttrain-sft",
            "posttrain-grpo",
        ],
    ),
    (
        "cli",
        &[
            "hooks",
            "model-qwen",
            "bench-math",
            "hub",
            "ablation",
            "attribution",
            "circuits",
            "posttrain",
            "posttrain-sft",
            "posttrain-grpo",
            "study",
        ],
    ),
];

#[test]
fn imports_only_point_down() {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().unwrap();
    let ours: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in LAYERS {
        let package =
            packages.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("no crate {name}"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let dev = dependency["kind"] == "dev";
            if ours.contains(&on) && !(dev && on == "toy-model") {
                assert!(allowed.contains(&on), "{name} may not depend on {on}: see docs/ARCHITECTURE.md");
            }
            let backend = ["flex", "cuda", "wgpu", "vulkan", "metal", "ndarray"];
            let features = dependency["features"].as_array().unwrap();
            if on == "burn" && !dev && name != "kernels" && name != "cli" {
                let named = features.iter().find(|f| backend.contains(&f.as_str().unwrap()));
                assert!(named.is_none(), "{name} names the backend {named:?}; only kernels and cli may");
            }
        }
    }
}

#[test]
fn circuits_need_no_training_code() {
    // A crate outside the workspace finds and judges circuits in a model of its own.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--manifest-path", "downstream/Cargo.toml", "--offline", "--locked"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root());
    let out = tree.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    for needed in ["attribution", "circuits", "ablation", "hooks", "burn-flex"] {
        assert!(names.contains(&needed), "downstream no longer uses {needed}");
    }
    for name in names {
        let training = ["burn-optim", "burn-train", "burn-dataset", "kernels", "study", "hub", "cli"];
        let alien = training.contains(&name)
            || ["tokenizers", "posttrain", "model-", "hf-hub"].iter().any(|start| name.starts_with(start));
        assert!(!alien, "downstream drags in {name}");
    }
}

#[test]
fn licences_are_permissive() {
    const FINE: [&str; 14] = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unlicense",
        "0BSD",
        "CC0-1.0",
        "BSL-1.0",
        "Unicode-3.0",
        "Unicode-DFS-2016",
        "MPL-2.0",
        "CDLA-Permissive-2.0",
    ];
    // What is built; the lock file also lists what other devices and platforms would need.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--workspace", "--offline", "--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(root());
    let out = tree.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.lines().count() > 100);
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap();
        let licence = licence.trim_end_matches("(*)").trim();
        let free = licence.split(" OR ").flat_map(|l| l.split('/')).any(|choice| {
            let terms = choice.split(" AND ").map(|l| l.split(" WITH ").next().unwrap_or(l));
            terms.into_iter().all(|l| FINE.contains(&l.trim_matches(['(', ')', ' '])))
        });
        assert!(free, "{package}: licence `{licence}`");
    }
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", "anchor"].contains(&name) && !name.starts_with('.') {
            sources(&path, into);
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    let mut files = Vec::new();
    for folder in ["crates", "downstream", "examples", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not start with //!", path.display());
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines, at most 600", path.display());
        let library =
            path.to_str().unwrap().contains("/src/") && !path.to_str().unwrap().contains("crates/cli");
        let inside = text.split("#[cfg(test)]").next().unwrap();
        if library && !path.to_str().unwrap().contains("/kernels/") {
            assert!(!inside.contains("unsafe {"), "{}: unsafe lives in kernels alone", path.display());
        }
    }
}
