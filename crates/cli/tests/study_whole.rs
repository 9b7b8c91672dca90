//! A study with every stage, on the embedded model: what it writes, and that killing it changes nothing.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use burn::tensor::Device;
use model_qwen::{Checkpoint, Dtype};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use study::demo::Demo;

/// Kills of the test; `SPARKS_KILLS=20` for the number of the issue.
const KILLS: usize = 3;

/// The demo in small: every stage has jobs.
fn small(dir: &Path, name: &str) {
    let out = dir.join(name);
    let sizes = Demo {
        problems: 6,
        limit: 3,
        samples: 2,
        pairs: 6,
        sft: (2, 1),
        grpo: (2, 1),
        draws: 1,
        trials: 1,
        ..Demo::new(&out, 0)
    };
    sizes.prepare().unwrap();
}

fn start(dir: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparks"));
    command.args(args).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn ok(dir: &Path, args: &[&str]) -> String {
    let out = start(dir, args).wait_with_output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// The results, with the study's folder under one name.
fn results(dir: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(dir.join(name).join("results.json")).unwrap();
    text.replace(dir.join(name).to_str().unwrap(), "study")
}

#[test]
fn every_stage_is_in_the_results_and_a_killed_study_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    small(dir, "whole");
    let plan = ok(dir, &["study", "whole/study.toml", "--dry-run"]);
    for stage in ["checkpoints/SFT", "attribution/SFT-2/", "answers/GRPO-1/hard", "controls/negative/seed-0"]
    {
        assert!(plan.contains(&format!("todo {stage}")), "{stage} is not in\n{plan}");
    }
    ok(dir, &["study", "whole/study.toml", "--quiet"]);
    let whole = results(dir, "whole");
    let value: Value = serde_json::from_str(&whole).unwrap();
    let n = |name: &str| value[name].as_array().unwrap().len();
    assert_eq!((n("trainings"), n("checkpoints"), n("benchmarks"), n("answers")), (2, 5, 2, 10));
    assert_eq!((n("heads"), n("cases"), n("think")), (2 * 3 * 2, 4, 1));
    assert!(n("interventions") > 0 && n("transfers") > 0 && n("hypotheses") >= 5);
    assert_eq!(value["checkpoints"][1]["parent"], "base");
    assert_eq!(value["controls"]["positive"]["trials"].as_array().unwrap().len(), 1);
    // Noise is as large as each training's change of the weights, the median over matrices.
    let load = |at: &str| {
        Checkpoint::open(&dir.join("whole").join(at)).unwrap().load(Dtype::F32, &Device::flex()).unwrap()
    };
    let base = load("world/base");
    for (at, name) in ["SFT", "GRPO"].into_iter().enumerate() {
        let last = load(&format!("stages/checkpoints/{name}/run/checkpoints/step-2"));
        let mut sizes = toy::changes(&base, &last).unwrap();
        sizes.sort_by(f64::total_cmp);
        let noise = &value["controls"]["matched"][at];
        assert_eq!((&noise["training"], noise["trials"].as_array().unwrap().len()), (&name.into(), 1));
        let change = noise["change"].as_f64().unwrap();
        assert!(change > 0.0 && (change / sizes[sizes.len() / 2] - 1.0).abs() < 1e-12, "{name}: {change}");
    }
    // All heads are tested, those of no circuit too.
    let heads = value["model"]["n_layers"].as_u64().unwrap() * value["model"]["n_heads"].as_u64().unwrap();
    for study in value["heads"].as_array().unwrap() {
        let of = |checkpoint: &Value| checkpoint["tests"].as_array().unwrap().len() as u64;
        assert!(study["checkpoints"].as_array().unwrap().iter().all(|at| of(at) == heads));
    }
    // Completions that end a thinking are counted in the samples.
    let asked = &value["think"][0];
    for condition in asked["conditions"].as_array().unwrap().iter().filter(|c| c["action"].is_null()) {
        let name = |key: &Value| key.as_str().unwrap().to_owned();
        let (at, on, mode) =
            (name(&asked["checkpoint"]), name(&condition["benchmark"]), name(&condition["mode"]));
        let place = dir.join(format!("whole/stages/think/{at}/{on}/{mode}/samples/samples.jsonl"));
        let samples = std::fs::read_to_string(place).unwrap();
        let rows: Vec<Value> = samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ended = |row: &&Value| row["completion"].as_str().is_some_and(|text| text.contains("</think>"));
        let completions: Vec<&Value> = rows.iter().filter(|row| row["completion"].is_string()).collect();
        let share = completions.iter().copied().filter(ended).count() as f64 / completions.len() as f64;
        assert_eq!(condition["thinks"].as_f64().unwrap(), share, "{at} on {on}, {mode}");
    }
    for row in value["interventions"].as_array().unwrap() {
        // The difference is that of the means, and one random set gives no p-value.
        let [before, after, difference] =
            ["untouched", "accuracy", "difference"].map(|k| row[k]["estimate"].as_f64().unwrap());
        assert!((after - before - difference).abs() < 1e-12 && row["p_value"].is_null());
    }
    for file in
        ["tables/interventions.csv", "tables/hypotheses.csv", "arrays.npz", "report.html", "study.toml"]
    {
        assert!(dir.join("whole").join(file).exists(), "{file}");
    }

    small(dir, "killed");
    let kills = std::env::var("SPARKS_KILLS").map_or(KILLS, |n| n.parse().unwrap());
    let seed = std::env::var("SPARKS_KILL_SEED").map_or(0, |n| n.parse().unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..kills {
        let mut child = start(dir, &["study", "killed/study.toml", "--quiet"]);
        std::thread::sleep(Duration::from_millis(rng.random_range(100..3000)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ok(dir, &["study", "killed/study.toml", "--quiet", "--threads", "1"]);
    assert_eq!(results(dir, "killed"), whole);

    let compared: Value = serde_json::from_str(&ok(dir, &["compare", "whole", "killed", "--json"])).unwrap();
    assert!(compared["unmatched"].as_array().unwrap().is_empty());
    let settings = compared["settings"].as_array().unwrap();
    assert!(settings.iter().all(|row| row[2].as_str().unwrap().contains("whole")), "paths alone differ");
    assert!(compared["heads"].as_array().unwrap().iter().all(|h| h["new"][1] == h["new"][2]));
}
