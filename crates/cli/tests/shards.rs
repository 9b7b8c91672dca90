//! Shards of the commands that loop over rows: joined, they are one run, byte for byte; what does not belong together is
//! refused by name.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn sparks(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparks"));
    command.args(args).current_dir(dir).env_remove("SPARKS_SHARD").output().unwrap()
}

fn ok(dir: &Path, args: &[&str]) -> String {
    let out = sparks(dir, args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn refused(dir: &Path, args: &[&str]) -> String {
    let out = sparks(dir, args);
    assert_eq!(out.status.code(), Some(2), "{args:?}");
    String::from_utf8(out.stderr).unwrap()
}

/// A folder with the model and nine pairs of the EAP-IG fixture, of two lengths, and scores of that model.
fn given() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(fixture("eap/model").canonicalize().unwrap(), dir.path().join("model"))
        .unwrap();
    let text = std::fs::read_to_string(fixture("eap/pairs.jsonl")).unwrap();
    let mut rows = Vec::new();
    for (i, line) in text.lines().cycle().take(9).enumerate() {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["id"] = format!("p{i}").into();
        if i % 3 == 0 {
            for side in ["clean_ids", "corrupt_ids"] {
                row[side].as_array_mut().unwrap().insert(0, (i + 1).into());
            }
        }
        rows.push(format!("{row}\n"));
    }
    std::fs::write(dir.path().join("p.jsonl"), rows.concat()).unwrap();
    std::fs::write(dir.path().join("other.jsonl"), rows[1..].concat()).unwrap();
    ok(dir.path(), &["attribute", "model", "--pairs", "p.jsonl", "--out", "s.json"]);
    ok(dir.path(), &["circuit", "s.json", "--top", "30", "--no-prune", "--out", "c.json"]);
    dir
}

const FAITHFULNESS: [&str; 8] =
    ["faithfulness", "model", "--pairs", "p.jsonl", "--batch", "2", "--nulls", "2"];

fn jobs() -> Vec<Vec<&'static str>> {
    let with = |first: &[&'static str], more: &[&'static str]| [first, more].concat();
    let patch = ["patch", "model", "--pairs", "p.jsonl"];
    let sweep = ["sweep", "model", "--pairs", "p.jsonl"];
    vec![
        with(&FAITHFULNESS, &["--circuit", "c.json"]),
        with(&FAITHFULNESS, &["--circuit", "c.json", "--fill", "mean-positional", "--metric", "kl"]),
        with(&FAITHFULNESS, &["--circuit", "s.json", "--curve"]),
        with(&patch, &[]),
        with(&patch, &["--site", "resid_mid", "--noise"]),
        with(&patch, &["--by", "both", "--batch", "3"]),
        with(&sweep, &[]),
        with(&sweep, &["--fill", "resample"]),
        with(&sweep, &["--heads", "L1H0,L0H1,L1H1", "--scale", "0.3", "--batch", "2"]),
    ]
}

#[test]
fn joined_shards_have_the_bytes_of_one_run() {
    let dir = given();
    let dir = dir.path();
    let bytes = |name: &str| std::fs::read(dir.join(name)).unwrap();
    for job in jobs() {
        for end in ["json", "npz"] {
            let (whole, all) = (format!("whole.{end}"), format!("all.{end}"));
            ok(dir, &[&job[..], &["--out", &whole]].concat());
            for (shard, out) in [("0/3", "a.json"), ("1/3", "b.json"), ("2/3", "c3.json")] {
                let said = ok(dir, &[&job[..], &["--shard", shard, "--out", out, "--json"]].concat());
                assert!(said.contains("\"n_rows\":"), "{said}");
            }
            ok(dir, &["merge", "c3.json", "a.json", "b.json", "--out", &all]);
            assert!(bytes(&whole) == bytes(&all), "{job:?}, {end}");
        }
        // One shard of one is one run.
        ok(dir, &[&job[..], &["--shard", "0/1", "--out", "all.npz"]].concat());
        assert!(bytes("whole.npz") == bytes("all.npz"), "{job:?}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let dir = given();
    let dir = dir.path();
    let patch = ["patch", "model", "--pairs", "p.jsonl"];
    let sweep = ["sweep", "model", "--pairs", "p.jsonl"];
    let shard = |job: &[&str], shard: &str, out: &str| {
        ok(dir, &[job, &["--shard", shard, "--out", out]].concat());
    };
    shard(&patch, "0/2", "a.json");
    shard(&patch, "1/2", "b.json");
    shard(&[&patch[..], &["--noise"]].concat(), "1/2", "noise.json");
    shard(&["patch", "model", "--pairs", "other.jsonl"], "1/2", "pairs.json");
    shard(&[&patch[..], &["--batch", "5"]].concat(), "1/2", "batch.json");
    shard(&patch, "1/3", "third.json");
    shard(&sweep, "1/2", "sweep.json");
    // Another model.
    std::fs::create_dir(dir.join("changed")).unwrap();
    for path in std::fs::read_dir(dir.join("model")).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&path, dir.join("changed").join(path.file_name().unwrap())).unwrap();
    }
    let config = dir.join("changed/config.json");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + "\n").unwrap();
    shard(&["patch", "changed", "--pairs", "p.jsonl"], "1/2", "model.json");
    // A file without one of its rows.
    let mut cut: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("b.json")).unwrap()).unwrap();
    cut["rows"].as_array_mut().unwrap().pop();
    std::fs::write(dir.join("cut.json"), cut.to_string()).unwrap();
    for (files, expected) in [
        (&["a.json"][..], "1 given, expected all 2 shards; missing: 1/2"),
        (&["a.json", "a.json"], "shard 0/2 is given twice, first as a.json"),
        (&["a.json", "third.json"], "shard 1/3, but a.json is one of 2"),
        (&["a.json", "noise.json"], "a.json and noise.json: `noise` differs: false and true"),
        (&["a.json", "pairs.json"], "`pairs_file` differs"),
        (&["a.json", "batch.json"], "`batch` differs: 32 and 5"),
        (&["a.json", "model.json"], "`model` differs"),
        (&["a.json", "sweep.json"], "`command` differs: \"patch\" and \"sweep\""),
        (&["a.json", "s.json"], "s.json: is of another kind"),
        (&["a.json", "cut.json"], "cut.json: 3 rows, expected the 4 of its shard"),
        (&["a.json", "b.json"], ""),
    ] {
        let args = [&["merge"], files, &["--out", "all.json"]].concat();
        if expected.is_empty() {
            ok(dir, &args);
        } else {
            let message = refused(dir, &args);
            assert!(message.contains(expected), "{files:?}: {message}");
        }
    }
    for (args, expected) in [
        (&["--shard", "0/2"][..], "missing --out"),
        (&["--shard", "0/2", "--out", "x.npz"], "expected a .json"),
        (&["--shard", "9/10", "--out", "x.json"], "--shard 9/10: no pair left of 9 for this shard"),
    ] {
        let message = refused(dir, &[&patch[..], args].concat());
        assert!(message.contains(expected), "{message}");
    }
    let message =
        refused(dir, &[&FAITHFULNESS[..], &["--circuit", "c.json", "--shard", "5/9", "--out", "x"]].concat());
    assert!(message.contains("no batch of pairs left of 5 for this shard"), "{message}");
    // Every shard refuses a head that is not there.
    let message =
        refused(dir, &[&sweep[..], &["--heads", "L0H0,L9H9", "--shard", "0/2", "--out", "x"]].concat());
    assert!(message.contains("L9H9"), "{message}");
}

#[test]
fn shards_of_an_evaluation_share_a_folder_or_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let problems =
        (10..17).map(|i| format!("{{\"id\":\"{i}\",\"problem\":\"{i}+12=\",\"answer\":\"{}\"}}\n", i + 12));
    std::fs::write(dir.join("d.jsonl"), problems.collect::<String>()).unwrap();
    let toy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets");
    let eval =
        ["eval", toy.to_str().unwrap(), "--suite", "d.jsonl", "--template", "plain", "--max-tokens", "8"];
    let eval = [&eval[..], &["--samples", "2", "--temperature", "1", "--json", "--out"]].concat();
    let run = |out: &str, more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&ok(dir, &[&eval[..], &[out], more].concat())).unwrap()
    };
    let bytes = |run: &str| std::fs::read(dir.join(run).join("samples.jsonl")).unwrap();
    let whole = run("whole", &[]);
    // In one folder; the last shard finds all samples there.
    for (shard, missing) in [("0/3", 8), ("2/3", 4)] {
        let said = run("shared", &["--shard", shard]);
        assert_eq!((&said["missing"], said["pass_at_1"].is_null()), (&missing.into(), true), "{said}");
    }
    assert_eq!(run("shared", &["--shard", "1/3"])["pass_at_1"], whole["pass_at_1"]);
    assert_eq!(run("shared", &[])["pass_at_1"], whole["pass_at_1"]);
    assert!(bytes("shared") == bytes("whole") && !dir.join("shared/samples-0-of-3.jsonl").exists());
    // A folder each.
    for (shard, out) in [("1/2", "one"), ("2/2", "two")] {
        run(out, &["--shard", shard]);
    }
    let message = refused(dir, &["merge", "one", "--out", "all"]);
    assert!(message.contains("8 of 14 samples are missing, those of shards 0/2"), "{message}");
    ok(dir, &["merge", "one", "two", "--out", "all"]);
    assert!(bytes("all") == bytes("whole"));
    assert_eq!(run("all", &[])["pass_at_1"], whole["pass_at_1"]);
    // What a shard cannot do.
    let message = refused(dir, &[&eval[..], &["whole", "--regrade", "--shard", "0/2"]].concat());
    assert!(message.contains("--regrade: grades the samples of all shards"), "{message}");
    let message = refused(dir, &[&eval[..], &["x", "--shard", "8/9"]].concat());
    assert!(message.contains("no problem left of 7"), "{message}");
}
