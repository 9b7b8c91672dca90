//! GRPO whose completions come from servers, and `sparks eval --server`.
#![allow(clippy::unwrap_used)]

mod runs;
#[path = "../../server/tests/vllm/mod.rs"]
mod vllm;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use vllm::Vllm;

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn sparks(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sparks")).args(args).current_dir(dir).output().unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The run file of the tiny model that vLLM served.
fn run_file(dir: &Path, server: &Vllm, change: impl Fn(String) -> String) {
    let fixture = at("tests/fixtures/vllm");
    let mut text = std::fs::read_to_string(fixture.join("grpo.toml")).unwrap();
    for (name, path) in [("MODEL", fixture.join("model")), ("PROBLEMS", fixture.join("problems.jsonl"))] {
        text = text.replace(name, path.to_str().unwrap());
    }
    std::fs::write(dir.join("grpo.toml"), change(text.replace("SERVER", &server.url))).unwrap();
}

/// A run of so many steps; `more` settings.
fn grpo(dir: &Path, server: &Vllm, steps: usize, more: &[&str]) -> Output {
    run_file(dir, server, |text| text);
    let steps = format!("train.steps={steps}");
    let sets = more.iter().flat_map(|set| ["--set", set]);
    let args: Vec<&str> = ["grpo", "grpo.toml", "--set", &steps].into_iter().chain(sets).collect();
    sparks(dir, &args)
}

fn metrics(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"))
}

fn records(dir: &Path, step: usize) -> Vec<posttrain_grpo::Record> {
    posttrain_grpo::read_completions(&dir.join(format!("run/completions/step-{step}.jsonl.gz"))).unwrap()
}

/// What a run left whose bits another run should have.
fn bits(dir: &Path, step: usize) -> Vec<Vec<u8>> {
    let names = ["adapter_model.safetensors", "optimizer.safetensors", "model.safetensors"];
    let files = names.map(|name| dir.join(format!("run/checkpoints/step-{step}/{name}")));
    files.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

#[test]
fn exchanges_that_vllm_had_give_the_run_that_it_gave() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(at("tests/fixtures/vllm/exchanges.jsonl")).unwrap();
    let server = Vllm::replay(&text);
    let out = grpo(dir.path(), &server, 3, &[]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(server.count("/v1/completions"), text.lines().count());
    assert!(!stderr(&out).contains("warning"), "{}", stderr(&out));
    let lines = metrics(dir.path());
    assert_eq!(lines.len(), 3);
    for line in &lines {
        // Both compute in f32: 2.4e-6 where the exchanges were recorded, and a policy trained elsewhere is another
        // policy in the last bits.
        assert!(number(line, "sampling/sampling_logp_difference/max") < 3e-5, "{line}");
        let (low, high) =
            ("sampling/importance_sampling_ratio/min", "sampling/importance_sampling_ratio/max");
        assert!(number(line, low) > 0.9995 && number(line, high) < 1.0005, "{line}");
        assert_eq!(number(line, "sample/staleness_max"), 0.0);
    }
    assert!(number(&lines[2], "grad_norm") > 0.0);
    // Each step's completions are of its own version, and no version is left behind.
    assert_eq!(server.count("/v1/load_lora_adapter"), 3);
    assert!(server.state().adapters.is_empty() && !dir.path().join("run/rollouts").exists());
}

#[test]
fn a_server_that_dies_and_comes_back_costs_nothing() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Vllm::start();
    let out = grpo(whole.path(), &server, 4, &[]);
    assert!(out.status.success());
    // A server that draws from equal chances does not have the policy.
    let said = stderr(&out);
    assert_eq!(said.matches("warning: step 0: the servers' log-probabilities differ").count(), 1, "{said}");
    let expected = (bits(whole.path(), 4), records(whole.path(), 3));
    assert!(!expected.0.is_empty());

    let server = Vllm::start();
    let out = std::thread::scope(|scope| {
        scope.spawn(|| {
            while server.count("/v1/completions") < 24 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut state = server.state();
            state.dead = true;
            state.adapters.clear();
            drop(state);
            std::thread::sleep(Duration::from_millis(700));
            server.state().dead = false;
        });
        grpo(broken.path(), &server, 4, &[])
    });
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!((bits(broken.path(), 4), records(broken.path(), 3)), expected);
}

#[test]
fn a_server_that_stays_away_ends_the_run_after_a_checkpoint() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Vllm::start();
    assert!(grpo(whole.path(), &server, 4, &[]).status.success());

    server.state().completions = 0;
    server.state().dead_at = Some(24);
    let out = grpo(broken.path(), &server, 4, &["rollouts.patience=0.3"]);
    let message = stderr(&out);
    assert_eq!(out.status.code(), Some(1), "{message}");
    assert!(message.contains("interrupted after 1 of 4 steps") && message.contains(&server.url), "{message}");
    assert!(broken.path().join("run/checkpoints/step-1").exists());

    // At another address, and with other patience.
    server.state().dead_at = None;
    server.state().dead = false;
    let out = sparks(broken.path(), &["grpo", "--resume", "run", "--set", "rollouts.patience=9"]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(bits(broken.path(), 4), bits(whole.path(), 4));
    for step in 0..4 {
        assert_eq!(records(broken.path(), step), records(whole.path(), step));
    }
    let out = sparks(broken.path(), &["grpo", "--resume", "run", "--set", "rollouts.staleness=1"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("rollouts.staleness"), "{}", stderr(&out));
}

#[test]
fn completions_of_earlier_weights_are_used_with_their_own_log_probabilities() {
    let dir = tempfile::tempdir().unwrap();
    let server = Vllm::start();
    let out = grpo(dir.path(), &server, 5, &["rollouts.staleness=2"]);
    assert!(out.status.success(), "{}", stderr(&out));
    let lines = metrics(dir.path());
    let behind: Vec<f64> = lines.iter().map(|line| number(line, "sample/staleness_max")).collect();
    assert!(behind[0] == 0.0 && behind.iter().all(|&n| n <= 2.0) && behind[2..].contains(&2.0), "{behind:?}");
    // The ratio of a stale completion is of its own log-probabilities, ln(1/64), not of the trainer's.
    let (step, line) = lines.iter().enumerate().rfind(|(at, _)| behind[*at] == 2.0).unwrap();
    assert!(number(line, "ratio_max") != 1.0, "{line}");
    assert_eq!(number(&lines[0], "ratio_max"), 1.0);
    let of: Vec<Option<usize>> = records(dir.path(), step).iter().map(|record| record.sampled_at).collect();
    assert!(of.contains(&Some(step - 2)), "{of:?}");
    // No generation was asked for twice, and none that no step trains on.
    assert_eq!(server.count("/v1/completions"), 5 * 16);
}

#[test]
fn without_an_adapter_whole_weights_go_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Vllm::start();
    let out = grpo(dir.path(), &server, 3, &["lora.modules_to_save=['lm_head']"]);
    assert!(
        out.status.code() == Some(2) && stderr(&out).contains("lora.modules_to_save"),
        "{}",
        stderr(&out)
    );
    let lora = "[lora]\nrank = 4\nalpha = 8.0\n";
    run_file(dir.path(), &server, |text| {
        assert!(text.contains(lora));
        text.replace(lora, "")
    });
    let out = sparks(dir.path(), &["grpo", "grpo.toml"]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(server.count("/collective_rpc"), 3);
    assert!(server.state().version.starts_with("step-2-") && !dir.path().join("run/rollouts").exists());
}

#[test]
fn what_a_run_and_its_servers_do_not_fit_is_said_before_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let server = Vllm::start();
    let refused = |more: &[&str], says: &str| {
        let out = grpo(dir.path(), &server, 1, more);
        let message = stderr(&out);
        assert!(out.status.code() == Some(2) && message.contains(says), "{more:?}: {message}");
        assert!(!dir.path().join("run").exists());
    };
    refused(&["grpo.max_tokens=90"], "the servers take 96 together");
    refused(&["rollouts.clip_max=2", "rollouts.correction=none"], "rollouts.clip_max");
    refused(&["grpo.loss=vespo"], "rollouts.correction");
    refused(&["grpo.rollout_batch=9"], "rollouts.concurrency");
    refused(&["rollouts.clip_min=4"], "rollouts.clip_min");
    server.state().raw = true;
    refused(&[], "--logprobs-mode processed_logprobs");
}

#[test]
fn a_benchmark_is_answered_by_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let (server, model) = (Vllm::start(), at("tests/fixtures/vllm/model"));
    let problem = |n: usize| json!({ "id": n.to_string(), "problem": format!("{n}+{n}="), "answer": (2 * n).to_string() });
    let problems: String = (0..6).map(|n| format!("{}\n", problem(n))).collect();
    std::fs::write(dir.path().join("p.jsonl"), problems).unwrap();
    let eval = |out: &str, more: &[&str]| {
        let base =
            ["eval", model.to_str().unwrap(), "--suite", "p.jsonl", "--template", "plain", "--out", out];
        let how = ["--samples", "3", "--temperature", "1", "--max-tokens", "5", "--json"];
        let args: Vec<&str> = base.iter().chain(&how).chain(more).copied().collect();
        sparks(dir.path(), &args)
    };
    let samples = |run: &str| -> Vec<String> {
        let text = std::fs::read_to_string(dir.path().join(run).join("samples.jsonl")).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let url = ["--server", &server.url];
    let out = eval("a", &url);
    assert!(out.status.success(), "{}", stderr(&out));
    let measures: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&measures["records"], &measures["problems"]), (&json!(18), &json!(6)));

    // Interrupted by a server that went away, and gone on with.
    server.state().completions = 0;
    server.state().dead_at = Some(7);
    let out = eval("b", &[&url[..], &["--server-patience", "0.2", "--batch", "1"]].concat());
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert_eq!(samples("b").len(), 6);
    (server.state().dead, server.state().dead_at) = (false, None);
    assert!(eval("b", &url).status.success());
    assert_eq!(samples("a"), samples("b"));

    for (more, says) in [
        (&["--ablate", "L0H0"][..], "L0H0 ablated by zero: a server runs the model as it is"),
        (&["--scale", "2", "--heads", "L1H1"], "L1H1 scaled by 2: a server runs the model as it is"),
        (&["--dtype", "bf16"], "--dtype has no effect"),
        (&["--max-tokens", "95"], "problem 0: its prompt has"),
    ] {
        let more = [&url[..], more].concat();
        let out = if more.contains(&"--max-tokens") {
            let base =
                ["eval", model.to_str().unwrap(), "--suite", "p.jsonl", "--template", "plain", "--out", "c"];
            sparks(dir.path(), &[&base[..], &more].concat())
        } else {
            eval("c", &more)
        };
        assert!(out.status.code() == Some(2) && stderr(&out).contains(says), "{}", stderr(&out));
    }
    // Weights are not needed beside the tokenizer.
    let bare = dir.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    for name in ["config.json", "tokenizer.json", "generation_config.json"] {
        std::fs::copy(model.join(name), bare.join(name)).unwrap();
    }
    let args =
        ["eval", "bare", "--suite", "p.jsonl", "--template", "plain", "--out", "d", "--max-tokens", "5"];
    let out = sparks(dir.path(), &[&args[..], &url].concat());
    assert!(out.status.success(), "{}", stderr(&out));
}

/// Names of two models, another model than MODEL, another tokenizer: said, or refused.
#[test]
fn servers_of_another_model_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second, model) = (Vllm::start(), Vllm::start(), at("tests/fixtures/vllm/model"));
    let problem = |n: usize| json!({ "id": n.to_string(), "problem": format!("{n}+{n}="), "answer": (2 * n).to_string() });
    let problems: String = (0..4).map(|n| format!("{}\n", problem(n))).collect();
    std::fs::write(dir.path().join("p.jsonl"), problems).unwrap();
    let eval = |out: &str, more: &[&str]| {
        let base = ["eval", model.to_str().unwrap(), "--suite", "p.jsonl", "--template", "plain"];
        let args: Vec<&str> =
            base.iter().chain(&["--max-tokens", "5", "--out", out]).chain(more).copied().collect();
        sparks(dir.path(), &args)
    };
    let [url, other] = [&first, &second].map(|server| ["--server", &server.url]);
    // The model's own folder, wherever it lies there.
    first.state().root = Some("/served/elsewhere/model".into());
    let out = eval("a", &url);
    assert!(out.status.success() && !stderr(&out).contains("serves"), "{}", stderr(&out));
    first.state().root = Some("/served/Qwen2.5-7B".into());
    let out = eval("b", &url);
    assert!(
        out.status.success() && stderr(&out).contains("serves /served/Qwen2.5-7B, and MODEL"),
        "{}",
        stderr(&out)
    );
    let refused = |out: &str, more: &[&str], says: &str| {
        let out = eval(out, more);
        assert!(out.status.code() == Some(2) && stderr(&out).contains(says), "{}", stderr(&out));
    };
    refused("c", &[&url[..], &["--strict"]].concat(), "serves /served/Qwen2.5-7B, and MODEL");
    // A run that was begun with another, and two at the same time.
    refused("a", &[&url[..], &["--samples", "2"]].concat(), "Qwen2.5-7B");
    second.state().root = Some("org/model".into());
    refused("d", &[&url[..], &other].concat(), "expected one model");
    first.state().root = Some("org/model".into());
    assert!(eval("e", &[&url[..], &other].concat()).status.success());
    second.state().tokens = Some(vec![1, 2, 3]);
    refused("f", &[&url[..], &other].concat(), "makes other ids than MODEL's of the prompt of problem 0");
}
