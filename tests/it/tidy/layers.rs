//! The layer table of `docs/ARCHITECTURE.md` and the dependencies that `cargo metadata` lists are the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{cargo, packages, root, text};

/// One row of the table.
struct Row {
    layer: u8,
    package: String,
    /// Folder names of the crates that it depends on.
    uses: BTreeSet<String>,
}

/// The rows `| L0 | `folder` | `package` | `a`, `b` |` of the table, by folder, and the folders in its order.
fn table() -> (BTreeMap<String, Row>, Vec<String>) {
    let page = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (mut rows, mut order) = (BTreeMap::new(), Vec::new());
    for line in page.lines().filter(|line| line.starts_with("| L") && line.as_bytes()[3].is_ascii_digit()) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [layer, folder, package, uses] = cells[..] else { panic!("not four cells: {line}") };
        let names =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let row = Row {
            layer: layer.trim_start_matches('L').parse().unwrap(),
            package: names(package).remove(0),
            uses: names(uses).into_iter().collect(),
        };
        let folder = names(folder).remove(0);
        order.push(folder.clone());
        assert!(rows.insert(folder, row).is_none(), "twice in the table: {line}");
    }
    (rows, order)
}

/// The folder under `crates/`, or nothing for `tests`, `benches` and `examples`.
fn folder(package: &Value) -> Option<String> {
    let path = text(package, "manifest_path").replace('\\', "/");
    let (_, rest) = path.rsplit_once("/crates/")?;
    Some(rest.trim_end_matches("/Cargo.toml").to_owned())
}

#[test]
fn the_layer_table_is_what_cargo_lists() {
    let (rows, order) = table();
    let packages = packages();
    let folders: BTreeMap<String, String> =
        packages.iter().filter_map(|p| Some((text(p, "name").to_owned(), folder(p)?))).collect();
    for package in &packages {
        let Some(folder) = folder(package) else { continue };
        let row = rows.get(&folder).unwrap_or_else(|| panic!("crates/{folder} is in no layer"));
        assert_eq!(text(package, "name"), row.package, "package of crates/{folder}");
        let uses: BTreeSet<String> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| folders.get(text(dependency, "name")).cloned())
            .collect();
        assert_eq!(uses, row.uses, "crates/{folder}: dependencies (left), docs/ARCHITECTURE.md (right)");
    }
    for (folder, row) in &rows {
        assert!(folders.values().any(|f| f == folder), "the table has {folder}, crates/ has not");
        for below in &row.uses {
            let place = |name: &String| order.iter().position(|f| f == name).unwrap();
            let down = rows[below].layer < row.layer
                || rows[below].layer == row.layer && place(below) < place(folder);
            assert!(down, "{folder} (L{}) uses {below} (L{})", row.layer, rows[below].layer);
        }
    }
}

#[test]
fn library_names_are_folder_names() {
    for package in packages() {
        let Some(folder) = folder(&package) else { continue };
        for target in package["targets"].as_array().unwrap() {
            if target["kind"][0] == "lib" {
                assert_eq!(text(target, "name"), folder.replace('-', "_"));
            }
        }
    }
}

/// GPU backends are chosen by programs. A library that names one would force it on its users.
#[test]
fn libraries_name_no_gpu() {
    for package in packages().iter().filter(|p| folder(p).is_some_and(|f| f != "cli")) {
        let dependencies = package["dependencies"].as_array().unwrap();
        for burn in dependencies.iter().filter(|d| text(d, "name") == "burn") {
            for feature in burn["features"].as_array().unwrap() {
                let gpu = ["cuda", "rocm", "wgpu", "vulkan", "metal"].contains(&feature.as_str().unwrap());
                assert!(!gpu, "{} names the backend {feature}", text(package, "name"));
            }
        }
    }
}

/// Packages of a lock file, `name version`.
fn locked(path: &str) -> BTreeSet<String> {
    let lock = std::fs::read_to_string(root().join(path)).unwrap();
    let value =
        |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches(['"', ' ', '=']).to_owned());
    let lines: Vec<&str> = lock.lines().collect();
    lines
        .windows(2)
        .filter_map(|two| Some(value(two[0], "name")? + " " + &value(two[1], "version")?))
        .collect()
}

/// What is built of the workspace is all that `downstream` needs: no other version has to be fetched.
#[test]
fn downstream_has_no_version_of_its_own() {
    let (ours, theirs) = (locked("Cargo.lock"), locked("downstream/Cargo.lock"));
    assert!(ours.len() > 200 && theirs.len() > 100);
    let alone: Vec<&String> = theirs.difference(&ours).collect();
    assert_eq!(alone, ["downstream 0.1.0"], "`cargo update -p NAME --precise VERSION` in downstream");
}

#[test]
fn circuits_need_no_training_code() {
    let trees = [
        cargo(&["tree", "-p", "circuits", "--edges", "normal", "--prefix", "none", "--format", "{p}"]),
        cargo(&[
            "tree",
            "--manifest-path",
            "downstream/Cargo.toml",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]),
    ];
    for tree in trees {
        let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        for needed in ["circuits", "ablation", "sparks-hooks", "burn-flex"] {
            assert!(names.contains(&needed), "no {needed}");
        }
        for name in names {
            let training =
                ["burn-optim", "burn-train", "burn-dataset", "sparks-kernels", "sparks-study", "sparks-hub"];
            let alien = training.contains(&name)
                || ["tokenizers", "posttrain", "model-", "hf-hub"]
                    .iter()
                    .any(|start| name.starts_with(start));
            assert!(!alien, "circuits depend on {name}");
        }
    }
}
