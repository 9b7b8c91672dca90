//! `sparks study`: jobs are done once, shards and resumed studies give the results of one run, for any number of
//! threads.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Exit status, stdout and stderr.
fn sparks(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparks"));
    let out = command.args(args).current_dir(dir).env("HF_HUB_OFFLINE", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn ok(dir: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = sparks(dir, args);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    stdout
}

/// A run folder `run` with checkpoints of steps 2, 4 and 5, a pairs file, and a study of them in `c.toml`.
fn prepare(dir: &Path) {
    let trace = root("tests/fixtures/sft-trace");
    let model = trace.join("tied").display().to_string();
    let run = format!(
        "model.path = '{model}'\ndata.train = '{}'\nrun.dir = 'run'\nrun.checkpoint_every = 2\nrun.keep = 9\n\
         train.steps = 5\ntrain.batch_size = 4\noptimizer.lr = 1e-2\n",
        trace.join("data.jsonl").display()
    );
    std::fs::write(dir.join("sft.toml"), run).unwrap();
    ok(dir, &["sft", "sft.toml"]);
    let pair = |i: u32| {
        let ids = |from: u32| (0..6).map(|k| 1 + (7 * i + from * k) % 23).collect::<Vec<u32>>();
        format!(
            "{{\"id\":\"p{i}\",\"clean_ids\":{:?},\"corrupt_ids\":{:?},\"answer_ids\":[{}],\"distractor_ids\":[{}]}}\n",
            ids(3),
            ids(5),
            1 + i % 5,
            8 + i % 5
        )
    };
    std::fs::write(dir.join("pairs.jsonl"), (0..6).map(pair).collect::<String>()).unwrap();
    let study = format!(
        "study.dir = 'study'\nstudy.title = 'Five steps'\n\
         [[checkpoint]]\nname = 'base'\npath = '{model}'\n\
         [[checkpoint]]\nname = 'sft'\npath = 'run'\n\
         [[suite]]\nname = 'ids'\npairs = 'pairs.jsonl'\n\
         [attribution]\nparts = 2\n\
         [[circuit]]\nname = 'top'\ntop = 20\n\
         [[circuit]]\nname = 'signed'\nthreshold = 0.001\nsigned = true\nsource_only = true\n\
         [controls]\ndraws = 20\nnulls = 2\n"
    );
    std::fs::write(dir.join("c.toml"), study).unwrap();
}

fn results(dir: &Path, study: &str) -> Vec<u8> {
    std::fs::read(dir.join(study).join("results.json")).unwrap()
}

#[test]
fn a_study_is_the_same_however_it_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    let planned = ok(dir, &["study", "c.toml", "--dry-run"]);
    // 4 checkpoints × (2 kinds × 2 parts + 2 rules × (circuit, noise, draws) + roles), and tests of all but the base.
    assert_eq!(planned.lines().count(), 4 * (4 + 6 + 1) + 3 * 2, "{planned}");
    assert!(planned.lines().all(|line| line.starts_with("todo ")) && !dir.join("study").exists());
    of_the_jobs_that_are_selected(dir, &planned);

    ok(dir, &["study", "c.toml", "--threads", "1"]);
    let whole = results(dir, "study");
    let page = std::fs::read_to_string(dir.join("study/report.html")).unwrap();
    assert!(page.contains("Five steps"));
    scores_are_of_the_metric(dir);
    assert!(ok(dir, &["study", "c.toml", "--dry-run"]).lines().all(|line| line.starts_with("done ")));

    // What was lost is done again, nothing else is.
    let lost = dir.join("study/stages/circuits/sft-4/ids/top");
    let kept = dir.join("study/stages/circuits/sft-2/ids/top/done.json");
    let before = std::fs::metadata(&kept).unwrap().modified().unwrap();
    std::fs::remove_dir_all(&lost).unwrap();
    std::fs::remove_file(dir.join("study/results.json")).unwrap();
    ok(dir, &["study", "c.toml", "--from", "circuits"]);
    assert_eq!(results(dir, "study"), whole);
    assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), before);

    // Shards, stage after stage, in a folder of their own.
    let text = std::fs::read_to_string(dir.join("c.toml")).unwrap().replace("'study'", "'shards'");
    std::fs::write(dir.join("s.toml"), text).unwrap();
    for (stage, shard) in
        [("attribution", "0/2"), ("attribution", "1/2"), ("circuits", "0/2"), ("circuits", "1/2")]
    {
        ok(dir, &["study", "s.toml", "--only", stage, "--shard", shard]);
        assert!(!dir.join("shards/results.json").exists());
    }
    let left: Value =
        serde_json::from_str(&ok(dir, &["study", "s.toml", "--only", "circuits", "--json"])).unwrap();
    assert!(left["results"].is_null() && left["missing"][0].as_str().unwrap().starts_with("heads/base"));
    ok(dir, &["study", "s.toml"]);
    assert_eq!(
        String::from_utf8(results(dir, "shards")).unwrap().replace("shards", "study"),
        String::from_utf8(whole).unwrap()
    );
}

/// A dry run tells of the stages and the shard that are asked for, in its list and in its sums.
fn of_the_jobs_that_are_selected(dir: &Path, all: &str) {
    let plan = |more: &[&str]| {
        let (code, stdout, stderr) = sparks(dir, &[&["study", "c.toml", "--dry-run"], more].concat());
        assert_eq!(code, 0, "{stderr}");
        (stdout, stderr)
    };
    let (scored, sums) = plan(&["--only", "attribution"]);
    assert!(
        scored.lines().count() == 16 && scored.lines().all(|l| l.starts_with("todo attribution/")),
        "{scored}"
    );
    assert!(sums.contains("attribution: 16 of 16 jobs to do") && !sums.contains("circuits: "), "{sums}");
    let (later, sums) = plan(&["--from", "circuits"]);
    assert_eq!(later.lines().count(), all.lines().count() - 16, "{later}");
    assert!(!sums.contains("attribution: ") && sums.contains("circuits: 8 of 8"), "{sums}");
    // The shards are parts of the whole.
    let mut parts: Vec<String> = Vec::new();
    for shard in ["0/3", "1/3", "2/3"] {
        let (part, sums) = plan(&["--shard", shard]);
        assert!(sums.contains("attribution: 6 of 6") || sums.contains("attribution: 5 of 5"), "{sums}");
        parts.extend(part.lines().map(str::to_owned));
    }
    parts.sort_unstable();
    let mut all: Vec<&str> = all.lines().collect();
    all.sort_unstable();
    assert_eq!(parts, all);
}

/// Edges have the scores of the metric, by a rule that ranks them as a loss too: those of the circuit's file.
fn scores_are_of_the_metric(dir: &Path) {
    let found: Value = serde_json::from_slice(&results(dir, "study")).unwrap();
    for study in found["heads"].as_array().unwrap() {
        let rule = study["rule"].as_str().unwrap();
        for checkpoint in study["checkpoints"].as_array().unwrap() {
            let place = format!(
                "study/stages/circuits/{}/ids/{rule}/circuit.json",
                checkpoint["label"].as_str().unwrap()
            );
            let file: Value = serde_json::from_slice(&std::fs::read(dir.join(place)).unwrap()).unwrap();
            let edges = checkpoint["circuit"]["edges"].as_array().unwrap();
            assert!(!edges.is_empty(), "{rule}");
            for edge in edges {
                let scored = &file["edges"][edge["edge"].as_str().unwrap()];
                assert_eq!(
                    edge["score"].as_f64().unwrap() as f32,
                    scored["score"].as_f64().unwrap() as f32,
                    "{rule} {edge}"
                );
            }
        }
    }
}

#[test]
fn a_changed_setting_redoes_what_depends_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    ok(dir, &["study", "c.toml"]);
    let text = std::fs::read_to_string(dir.join("c.toml")).unwrap();
    let todo = |from: &str, to: &str| {
        std::fs::write(dir.join("d.toml"), text.replace(from, to)).unwrap();
        let plan = ok(dir, &["study", "d.toml", "--dry-run"]);
        let stages =
            |line: &str| line.strip_prefix("todo ").map(|name| name.split('/').next().unwrap().to_owned());
        let mut stages: Vec<String> = plan.lines().filter_map(stages).collect();
        stages.dedup();
        stages.sort_unstable();
        stages.dedup();
        stages
    };
    assert_eq!(todo("nulls = 2", "nulls = 3"), ["circuits"]);
    assert_eq!(todo("draws = 20", "draws = 21"), ["heads"]);
    assert_eq!(todo("top = 20", "top = 19"), ["circuits", "heads"]);
    assert_eq!(todo("parts = 2", "parts = 2\nsteps = 4"), ["attribution", "circuits", "heads"]);
    assert_eq!(todo("Five steps", "Another title"), [""; 0]);
}

#[test]
fn what_a_study_cannot_use_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    let text = std::fs::read_to_string(dir.join("c.toml")).unwrap();
    let other = format!("path = '{}'", root("crates/toy/assets").display());
    for (from, to, expected) in [
        ("path = 'run'", other.as_str(), "checkpoint sft: its graph differs from the base's"),
        ("parts = 2", "partz = 2", "partz"),
        ("top = 20", "top = 20\nthreshold = 0.1", "circuit top: expected one of `top` and `threshold`"),
        ("name = 'sft'", "name = 'base'", "checkpoint name `base` is given twice"),
        ("path = 'run'", "path = 'run'\nsteps = [3]", "no checkpoint of step 3; there are 2, 4, 5"),
        ("path = 'run'", "path = 'run'\nadapter = 'a'", "`adapter` has no effect on a run folder"),
        ("parts = 2", "parts = 0", "attribution.parts is 0"),
        ("parts = 2", "steps = 0", "attribution.steps is 0, expected 1 to"),
        ("top = 20", "top = 99999", "circuit top: top is 99999, and the graph has "),
        ("pairs.jsonl", "none.jsonl", "none.jsonl"),
        ("name = 'ids'", "name = '../ids'", "suite name `../ids`"),
        (
            "[attribution]",
            "[interventions]\n[attribution]",
            "[interventions] has no effect without a [[benchmark]]",
        ),
        (
            "pairs = 'pairs.jsonl'",
            "description = 'none'",
            "suite ids: expected one of `pairs` and `openings`",
        ),
        (
            "[attribution]",
            "[transfers]\nsuites = ['other']\n[attribution]",
            "transfers.suites: `other` is no suite",
        ),
        (
            "[attribution]",
            "[[train]]\nname = 't'\nmethod = 'sft'\nfile = 'sft.toml'\nparent = 'x'\n[attribution]",
            "train t: parent: `x` is no checkpoint before it",
        ),
        (
            "[attribution]",
            "[[train]]\nname = 't'\nmethod = 'sft'\nfile = 'sft.toml'\noverrides = { run = { dir = 'a' } }\n[attribution]",
            "overrides.run.dir: it is the study's",
        ),
    ] {
        assert!(text.contains(from));
        std::fs::write(dir.join("d.toml"), text.replacen(from, to, 1)).unwrap();
        let (code, _, stderr) = sparks(dir, &["study", "d.toml"]);
        assert!(code == 2 && stderr.contains(expected), "{to}: {code} {stderr}");
    }
}

#[test]
fn a_training_goes_on_from_the_adapter_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    let lora = "[lora]\nrank = 2\nalpha = 8.0\n";
    let run = std::fs::read_to_string(dir.join("sft.toml")).unwrap();
    std::fs::write(dir.join("lora.toml"), run + lora).unwrap();
    // The second has a learning rate that moves nothing, so that its checkpoint is the first's last one.
    let trainings = "[[train]]\nname = 'first'\nmethod = 'sft'\nfile = 'lora.toml'\nsteps = [5]\n\
                     [[train]]\nname = 'second'\nmethod = 'sft'\nfile = 'lora.toml'\nparent = 'first'\nsteps = [5]\n\
                     [train.overrides]\noptimizer = { lr = 1e-30 }\n";
    let text = std::fs::read_to_string(dir.join("c.toml")).unwrap();
    let text = text.replace("[[checkpoint]]\nname = 'sft'\npath = 'run'\n", "");
    std::fs::write(dir.join("t.toml"), text.replacen("[[suite]]", &format!("{trainings}[[suite]]"), 1))
        .unwrap();
    ok(dir, &["study", "t.toml"]);
    assert!(dir.join("study/stages/checkpoints/second/parent/model.safetensors").exists());
    let found: Value = serde_json::from_slice(&results(dir, "study")).unwrap();
    assert_eq!(found["checkpoints"][2]["parent"], "first-5");
    let clean = |at: &Value| at["circuit"]["clean"].as_f64().unwrap();
    let [first, second] = [0, 1].map(|k| clean(&found["trainings"][k]["checkpoints"][0]));
    let base = clean(&found["base"]);
    // Merging adds B·A to the weights in f32, which rounds otherwise than the adapter beside them does.
    assert!((first - second).abs() < 1e-4 * first.abs().max(1.0), "{first} {second}");
    assert!((first - base).abs() > 0.01, "{first} {base}");
}
