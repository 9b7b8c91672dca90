//! What the loop of `sparks sft` and `sparks grpo` does between two steps: evaluation, the best checkpoint, patience,
//! circuits, TensorBoard events; and that a resumed run does the same.
#![allow(clippy::unwrap_used)]

mod runs;

use std::path::Path;

use runs::{command, left, root, sparks, unmeasured};
use serde_json::Value;

/// A run file that overfits four rows, so that the loss of four others soon rises.
fn overfit(dir: &Path) {
    let trace = root("tests/fixtures/sft-trace");
    let rows = std::fs::read_to_string(trace.join("data.jsonl")).unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    std::fs::write(dir.join("d.jsonl"), rows[..4].join("\n")).unwrap();
    std::fs::write(dir.join("e.jsonl"), rows[rows.len() - 4..].join("\n")).unwrap();
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\ndata.eval = 'e.jsonl'\nrun.dir = 'run'\n\
         run.eval_every = 2\nrun.checkpoint_every = 3\nrun.best = 'eval_loss'\nrun.patience = 3\nrun.keep = 0\n\
         train.steps = 30\ntrain.batch_size = 4\noptimizer.lr = 1e-2\nschedule.kind = 'constant'\n\
         watch.pairs = '{}'\nwatch.every = 4\nwatch.top = 60\n",
        trace.join("tied").display(),
        root("tests/fixtures/eap/pairs.jsonl").display(),
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
}

fn steps(dir: &Path) -> Vec<usize> {
    let entries = std::fs::read_dir(dir.join("run/checkpoints")).unwrap().map(Result::unwrap);
    let step = |name: String| name.strip_prefix("step-").unwrap().parse().unwrap();
    let mut steps: Vec<usize> = entries.map(|e| step(e.file_name().into_string().unwrap())).collect();
    steps.sort_unstable();
    steps
}

fn events(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir.join("run")).unwrap().map(Result::unwrap);
    entries.filter(|e| e.file_name().to_string_lossy().contains("tfevents")).count()
}

#[test]
fn a_run_out_of_patience_ends_keeps_its_best_and_resumes_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    overfit(dir);
    let (status, message) = sparks(dir, &["sft", "c.toml"]);
    assert!(status == 0 && message.contains("run.patience") && message.contains("at step 2"), "{message}");
    // Best after 2 steps, then three evaluations without a better one.
    assert_eq!(steps(dir), [2, 3, 6, 8]);
    let losses: Vec<Option<f64>> =
        unmeasured(&dir.join("run/metrics.jsonl")).iter().map(|l| l["eval_loss"].as_f64()).collect();
    assert!(losses.len() == 8 && losses[1] < losses[3], "{losses:?}");
    let whole = left(dir);
    let state: Value = serde_json::from_slice(
        &whole.iter().find(|(name, _)| name == "run/checkpoints/step-8/state.json").unwrap().1,
    )
    .unwrap();
    assert_eq!((&state["loop"]["best"]["step"], &state["loop"]["waited"]), (&2.into(), &3.into()));
    // Gone on with from step 3, best and patience are as they were.
    for step in [6, 8] {
        std::fs::remove_dir_all(dir.join(format!("run/checkpoints/step-{step}"))).unwrap();
    }
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet"]), (0, String::new()));
    assert!(left(dir) == whole, "a resumed run has other bits");
    assert_eq!(events(dir), 2);
    // Out of patience it stays so; with more of it, it goes on, and rotation leaves the best alone.
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet"]), (0, String::new()));
    assert!(left(dir) == whole);
    let more = ["sft", "--resume", "run", "--set", "run.patience=5", "run.keep=1"];
    let (status, message) = sparks(dir, &more);
    assert!(status == 0 && message.contains("stopped after 12 steps"), "{message}");
    assert_eq!(steps(dir), [2, 12]);
    // Another file to evaluate on: what was best says nothing.
    let other = ["sft", "--resume", "run", "--set", "data.eval=d.jsonl", "train.steps=14"];
    let (status, message) = sparks(dir, &other);
    assert!(status == 0 && message.contains("at step 14"), "{message}");
    assert_eq!(steps(dir), [14]);
}

#[test]
fn a_circuit_has_a_line_with_what_changed_and_what_it_cost() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    overfit(dir);
    let few = ["sft", "c.toml", "--quiet", "--set", "watch.top=12", "train.steps=8", "optimizer.lr=0.1"];
    assert_eq!(sparks(dir, &few), (0, String::new()));
    let text = std::fs::read_to_string(dir.join("run/heads.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let at: Vec<u64> = lines.iter().map(|l| l["step"].as_u64().unwrap()).collect();
    assert_eq!(at, [0, 4, 8]);
    assert!(lines[0].get("turnover").is_none() && lines[0]["noise_floor"].is_f64(), "{}", lines[0]);
    for pair in lines.windows(2) {
        let heads = |line: &Value| line["heads"].as_array().unwrap().clone();
        let (before, now) = (heads(&pair[0]), heads(&pair[1]));
        let born: Vec<&Value> = now.iter().filter(|h| !before.contains(h)).collect();
        let died: Vec<&Value> = before.iter().filter(|h| !now.contains(h)).collect();
        let either = now.len() + died.len();
        assert_eq!(pair[1]["born"].as_array().unwrap().iter().collect::<Vec<_>>(), born);
        assert_eq!(pair[1]["died"].as_array().unwrap().iter().collect::<Vec<_>>(), died);
        let turnover = pair[1]["turnover"].as_f64().unwrap();
        assert!((turnover - (born.len() + died.len()) as f64 / either as f64).abs() < 1e-12);
    }
    assert!(lines[1]["turnover"].as_f64().unwrap() + lines[2]["turnover"].as_f64().unwrap() > 0.0);
    let metrics = std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    let watched: Vec<Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(watched[3]["watch_percent"].as_f64().unwrap() > 0.0 && watched[2].get("watch_time").is_none());
    assert_eq!(watched[7]["total_tokens"].as_u64(), watched[0]["tokens_seen"].as_u64().map(|n| 8 * n));
    // Four rows in batches of four.
    assert!(watched.iter().zip(1..).all(|(l, done)| l["epoch"] == f64::from(done) && l["steps"] == 8));
}

#[test]
fn a_policy_is_evaluated_on_held_out_problems() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\ndata.eval = 'e.jsonl'\nrun.dir = 'run'\nrun.eval_every = 1\n\
         run.best = 'eval_accuracy'\nrun.keep = 1\ntrain.steps = 2\ngrpo.group_size = 4\ngrpo.prompts = 1\n\
         grpo.max_tokens = 4\n",
        root("crates/toy/assets").display()
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
    let problem = |a: usize, b: usize| format!("{{\"problem\":\"{a}+{b}=\",\"answer\":{}}}\n", a + b);
    std::fs::write(dir.join("d.jsonl"), problem(12, 34)).unwrap();
    let held_out: String = (10..26).map(|a| problem(a, a + 3)).collect();
    std::fs::write(dir.join("e.jsonl"), held_out + "{\"problem\":\"1+1=\",\"answer\":\"}{ \\\\frac{\"}\n")
        .unwrap();
    let plan = command(dir, &["grpo", "c.toml", "--dry-run", "--json"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let example = plan["example"].as_str().unwrap();
    assert!(example.starts_with("12+34=⟦") && example.ends_with('⟧') && !dir.join("run").exists(), "{plan}");
    let (status, message) = sparks(dir, &["grpo", "c.toml"]);
    assert!(status == 0 && message.contains("best eval_accuracy"), "{message}");
    let greedy = unmeasured(&dir.join("run/metrics.jsonl"));
    let get = |line: &Value, name: &str| line[name].as_f64().unwrap();
    for line in &greedy {
        let right = get(line, "eval_accuracy") * 16.0;
        assert_eq!((right.fract(), line["eval_problems"].as_u64()), (0.0, Some(16)));
        let interval = stats::wilson(right as usize, 16, 0.95);
        assert_eq!(
            (get(line, "eval_accuracy_low"), get(line, "eval_accuracy_high")),
            (interval.low, interval.high)
        );
        assert!(get(line, "eval_length") >= 1.0 && get(line, "eval_truncated") < 1.0, "{line}");
        assert!(line["tokens_seen"].as_u64() > line["tokens"].as_u64(), "{line}");
    }
    // The judge is that of the reward: no completion of this model ends a thought.
    assert!(greedy.iter().all(|line| get(line, "eval_accuracy") > 0.0), "{greedy:?}");
    std::fs::remove_dir_all(dir.join("run")).unwrap();
    let after_think = "reward=[{kind='correct', after_think=true}]";
    let (status, message) = sparks(dir, &["grpo", "c.toml", "--set", after_think]);
    assert_eq!(status, 0, "{message}");
    let unthinking = unmeasured(&dir.join("run/metrics.jsonl"));
    assert!(unthinking.iter().all(|line| get(line, "eval_accuracy") == 0.0), "{unthinking:?}");
    // Sampled, several a problem: rates are of 32 completions.
    std::fs::remove_dir_all(dir.join("run")).unwrap();
    let (status, message) = sparks(dir, &["grpo", "c.toml", "--set", "run.eval_samples=2"]);
    assert_eq!(status, 0, "{message}");
    let sampled = unmeasured(&dir.join("run/metrics.jsonl"));
    assert!((get(&sampled[0], "eval_accuracy") * 32.0).fract() == 0.0);
    assert_ne!(get(&sampled[0], "eval_length"), get(&greedy[0], "eval_length"));
    let phases = std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    let line: Value = serde_json::from_str(phases.lines().next().unwrap()).unwrap();
    let parts: f64 = ["sample_time", "score_time", "train_time"].iter().map(|name| get(&line, name)).sum();
    assert!(parts > 0.0 && parts <= get(&line, "step_time"), "{line}");
}

#[test]
fn a_reference_and_an_entropy_weight_that_change_are_resumed_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'run'\nrun.keep = 0\nrun.checkpoint_every = 1\n\
         train.steps = 4\noptimizer.lr = 1e-3\ngrpo.group_size = 4\ngrpo.prompts = 1\ngrpo.max_tokens = 4\n\
         grpo.updates = 2\ngrpo.beta = 0.2\ngrpo.sync_reference = {{ every = 3, mix = 0.5 }}\n\
         grpo.entropy_coef = 0.1\ngrpo.adaptive_entropy = {{ target = 10, delta = 0.03 }}\n",
        root("crates/toy/assets").display()
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
    std::fs::write(dir.join("d.jsonl"), "{\"problem\":\"12+34=\",\"answer\":46}\n").unwrap();
    let (status, message) = sparks(dir, &["grpo", "c.toml", "--quiet"]);
    assert_eq!((status, message.as_str()), (0, ""));
    let whole = left(dir);
    let coef: Vec<f64> = unmeasured(&dir.join("run/metrics.jsonl"))
        .iter()
        .map(|l| l["entropy_coef"].as_f64().unwrap())
        .collect();
    assert!(coef.iter().zip([0.16, 0.22, 0.28, 0.34]).all(|(a, b)| (a - b).abs() < 1e-12), "{coef:?}");
    let weights = |step: usize| {
        std::fs::read(dir.join(format!("run/checkpoints/step-{step}/reference/model.safetensors")))
    };
    // After the third update, in the second step, and the sixth, in the third.
    assert!(weights(1).unwrap() != weights(2).unwrap() && weights(2).unwrap() != weights(3).unwrap());
    assert!(weights(3).unwrap() == weights(4).unwrap());
    for step in [3, 4] {
        std::fs::remove_dir_all(dir.join(format!("run/checkpoints/step-{step}"))).unwrap();
    }
    assert_eq!(sparks(dir, &["grpo", "--resume", "run", "--quiet"]), (0, String::new()));
    assert!(left(dir) == whole, "a resumed run has other bits");
    let (status, message) =
        sparks(dir, &["grpo", "c.toml", "--set", "lora.rank=2", "--set", "run.dir=other"]);
    assert!(status == 2 && message.contains("grpo.sync_reference"), "{message}");
}
