//! `sparks sft` and `sparks grpo`: every key acts or is refused, runs resume, folders are locked, signals end a run
//! with a checkpoint.
#![allow(clippy::unwrap_used)]

mod runs;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runs::{command, left, root, sparks, unmeasured};

/// A run file over the tokenised rows of the traces, in `dir`.
fn sft_file(dir: &Path, more: &str) {
    let trace = root("tests/fixtures/sft-trace");
    let text = format!(
        "model.path = '{}'\nmodel.dtype = 'f32'\ndata.train = '{}'\ndata.eval = '{}'\ndata.max_length = 10\n\
         run.dir = 'run'\nrun.eval_every = 2\nrun.checkpoint_every = 2\n\
         train.steps = 5\ntrain.batch_size = 4\noptimizer.lr = 1e-2\noptimizer.weight_decay = 0.1\n\
         schedule.kind = 'wsd'\nschedule.decay_ratio = 0.5\n{more}",
        trace.join("tied").display(),
        trace.join("data.jsonl").display(),
        trace.join("data.jsonl").display(),
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
}

#[test]
fn two_settings_that_differ_and_unknown_keys_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "");
    assert!(sparks(dir, &["sft", "c.toml", "--dtype", "f16"]).1.contains("--dtype"));
    let twice = sparks(dir, &["sft", "c.toml", "--seed", "1", "--set", "run.seed=2"]);
    assert!(twice.0 == 2 && twice.1.contains("--seed"), "{twice:?}");
    for (set, name) in [
        ("optimizer.bets=1", "optimizer.betas"),
        ("optimiser.lr=1", "[optimizer]"),
        ("lr", "section.key"),
        ("train.steps=0", "train.steps"),
        ("data.eval=/no/such", "/no/such"),
        ("optimizer.learning_rate=1", "here it is optimizer.lr"),
        ("lora.r=4", "here it is lora.rank"),
        ("lora.targets=[]", "lora.targets is an empty list"),
        ("schedule.kind=constant_with_warmup", "here it is schedule.kind = \"constant\""),
        ("data.packing=true", "expected a text in `data.packing`"),
        ("optimizer.groups=[{lr=1}]", "a group without pattern"),
    ] {
        let (status, message) = sparks(dir, &["sft", "c.toml", "--set", set]);
        assert!(status == 2 && message.contains(name) && message.lines().count() == 1, "{set}: {message}");
    }
}

#[test]
fn a_resumed_run_changes_what_it_may_and_names_what_it_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "");
    assert_eq!(sparks(dir, &["sft", "c.toml", "--quiet", "--set", "train.steps=2"]).0, 0);
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet", "--set", "train.steps=4"]).0, 0);
    let lines = |dir: &Path| std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap().lines().count();
    assert_eq!(lines(dir), 4);
    let written = std::fs::read_to_string(dir.join("run/config.toml")).unwrap();
    assert!(written.contains("steps = 4"), "{written}");
    // The run file, whose train.steps is 5.
    assert_eq!(sparks(dir, &["sft", "c.toml", "--resume", "run", "--quiet"]).0, 0);
    assert_eq!(lines(dir), 5);
    for (args, name) in [
        (&["--set", "nonsense"][..], "nonsense"),
        (&["--set", "optimizer.lr=1"], "optimizer.lr"),
        (&["--set", "train.steps=3"], "train.steps"),
        (&["--set", "lora.rank=2"], "`lora.rank` is not set"),
        (&["--set", "sft.loss=dft"], "`sft.loss` is not set"),
        (&["--set", "grpo.beta=1"], "grpo"),
        (&["--seed", "4"], "seed"),
        (&["/no/such.toml"], "/no/such.toml"),
    ] {
        let (status, message) = sparks(dir, &[&["sft", "--resume", "run", "--quiet"], args].concat());
        assert!(status == 2 && message.contains(name), "{args:?}: {message}");
    }
    assert_eq!(sparks(dir, &["grpo", "--resume", "c.toml"]).0, 2);
    // What is refused once the data is read changes nothing either.
    let before = std::fs::read(dir.join("run/config.toml")).unwrap();
    let refused = sparks(dir, &["sft", "--resume", "run", "--set", "data.eval=/no/such", "train.steps=9"]);
    assert!(refused.0 == 2 && refused.1.contains("/no/such"), "{refused:?}");
    assert!(std::fs::read(dir.join("run/config.toml")).unwrap() == before);
}

fn wait(child: &mut Child) -> i32 {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        assert!(start.elapsed() < Duration::from_secs(120), "does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(120), "does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn signals_write_a_checkpoint_and_a_folder_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "");
    let long =
        ["sft", "c.toml", "--set", "train.steps=1000000", "run.checkpoint_every=0", "run.eval_every=1000000"];
    for signal in ["INT", "TERM"] {
        let _ = std::fs::remove_dir_all(dir.join("run"));
        let mut child = command(dir, &long).stderr(Stdio::piped()).spawn().unwrap();
        until(|| std::fs::read_to_string(dir.join("run/metrics.jsonl")).is_ok_and(|m| m.lines().count() > 2));
        let second = sparks(dir, &["sft", "c.toml", "--set", "optimizer.lr=1"]);
        assert!(second.0 == 2 && second.1.contains("another process"), "{second:?}");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        assert_eq!(wait(&mut child), 1, "{signal}");
        let mut message = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut message).unwrap();
        assert!(message.contains("sparks sft --resume run"), "{message}");
        assert_eq!(std::fs::read_dir(dir.join("run/checkpoints")).unwrap().count(), 1);
    }
}

/// A signal in an evaluation of seconds: the resumed run makes up for it and leaves what an unbroken one does.
#[cfg(unix)]
#[test]
fn a_signal_cuts_an_evaluation_short_and_the_resumed_run_makes_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "run.keep = 0\nrun.best = 'eval_loss'\n");
    let rows = std::fs::read_to_string(root("tests/fixtures/sft-trace/data.jsonl")).unwrap();
    std::fs::write(dir.join("e.jsonl"), rows.repeat(1000)).unwrap();
    let set = ["--set", "data.eval=e.jsonl", "train.steps=2"];
    let mut child = command(dir, &[&["sft", "c.toml", "--quiet"], &set[..]].concat()).spawn().unwrap();
    // The first step's line: the second step, and then the evaluation, take no time to begin.
    until(|| std::fs::read_to_string(dir.join("run/metrics.jsonl")).is_ok_and(|m| m.lines().count() == 1));
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(wait(&mut child), 1);
    let state = std::fs::read_to_string(dir.join("run/checkpoints/step-2/state.json")).unwrap();
    assert!(state.contains("pending"), "{state}");
    assert_eq!(unmeasured(&dir.join("run/metrics.jsonl")).len(), 1);
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet"]), (0, String::new()));
    let resumed = left(dir);
    std::fs::remove_dir_all(dir.join("run")).unwrap();
    assert_eq!(sparks(dir, &[&["sft", "c.toml", "--quiet"], &set[..]].concat()).0, 0);
    assert!(left(dir) == resumed);
}

#[test]
fn a_strict_resume_changes_nothing_where_a_checkpoint_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "");
    assert_eq!(sparks(dir, &["sft", "c.toml", "--quiet"]).0, 0);
    std::fs::write(dir.join("run/checkpoints/step-5/model.safetensors"), "short").unwrap();
    let before = left(dir);
    let (status, message) = sparks(dir, &["sft", "--resume", "run", "--strict"]);
    assert!(status == 2 && message.contains("step-5") && message.contains("--strict"), "{message}");
    assert!(left(dir) == before);
    let (status, message) = sparks(dir, &["sft", "--resume", "run"]);
    assert!(status == 0 && message.starts_with("warning: not whole"), "{message}");
    assert!(message.contains("step-4 is resumed in its place") && message.contains("model.safetensors"));
    assert!(dir.join("run/checkpoints/step-5.damaged").exists());
}

#[test]
fn a_dry_run_says_what_a_run_takes_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "");
    let out = command(dir, &["sft", "c.toml", "--dry-run", "--json", "--quiet"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&plan["rows"], &plan["truncated"], &plan["steps"]), (&16.into(), &8.into(), &5.into()));
    let trained = plan["trained_parameters"].as_u64().unwrap();
    assert_eq!(plan["bytes_without_activations"], 16 * trained);
    let number = |name: &str| plan[name].as_u64().unwrap();
    let parts: u64 = plan["bytes"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!((parts, number("bytes_peak")), (number("bytes_peak"), number("bytes_peak_stored")));
    assert!(number("bytes_peak_recomputed") < number("bytes_peak") && number("bytes_measured") > parts);
    // The first row: labels of its last five tokens, cut to ten tokens.
    assert_eq!(plan["example"], "43 46 32 6 37 48 32⟦0 44 38⟧");
    assert!(plan["seconds_a_step"].as_f64().unwrap() > 0.0);
    // A step for which there is no room is not made.
    let large = ["sft", "c.toml", "--dry-run", "--json", "--quiet", "--set", "train.batch_size=1000000000"];
    let plan = command(dir, &large).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert!(plan["seconds_a_step"].is_null() && plan["not_timed"].is_string(), "{plan}");
    assert!(!dir.join("run").exists());
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--dry-run"]).0, 2);
}

#[test]
fn files_of_the_users_stay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "");
    std::fs::create_dir(dir.join("run")).unwrap();
    std::fs::rename(dir.join("c.toml"), dir.join("run/config.toml")).unwrap();
    let before = std::fs::read(dir.join("run/config.toml")).unwrap();
    let (status, message) = sparks(dir, &["sft", "run/config.toml", "--set", "optimizer.lr=0.5"]);
    assert!(status == 2 && message.contains("config.toml"), "{message}");
    assert_eq!(std::fs::read(dir.join("run/config.toml")).unwrap(), before);
}

#[test]
fn an_epoch_sees_each_row_once_and_its_last_batch_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "");
    let row = |n: usize| format!("{{\"input_ids\":{:?}}}\n", vec![5; n + 2]);
    std::fs::write(dir.join("d.jsonl"), (0..7).map(row).collect::<String>()).unwrap();
    for (batch, steps) in [("3", 3), ("16", 1)] {
        let _ = std::fs::remove_dir_all(dir.join("run"));
        let batch = format!("train.batch_size={batch}");
        let args = ["sft", "c.toml", "--quiet", "--set", "train.epochs=1", "data.train=d.jsonl", &batch];
        assert_eq!(sparks(dir, &args).0, 0);
        let metrics = std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
        let tokens: Vec<u64> = metrics
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["tokens"].as_u64().unwrap())
            .collect();
        assert_eq!((tokens.len(), tokens.iter().sum::<u64>()), (steps, 28), "{tokens:?}");
    }
    // More tokens than the model has positions: 128.
    std::fs::write(dir.join("d.jsonl"), row(200)).unwrap();
    std::fs::remove_dir_all(dir.join("run")).unwrap();
    let long = ["sft", "c.toml", "--set", "data.train=d.jsonl", "data.max_length=500", "train.steps=1"];
    let (status, message) = sparks(dir, &long);
    assert!(status == 0 && message.contains("expected at most 128"), "{message}");
    let (status, message) = sparks(dir, &[&long[..], &["run.dir=strict", "--strict"]].concat());
    assert!(status == 2 && message.contains("d.jsonl: the longest example: 202 positions"), "{message}");
    assert!(!dir.join("strict").exists(), "refused before anything is written");
}

#[test]
fn weights_in_bf16_and_modules_that_adapters_hold_whole_resume_to_the_same_bits() {
    for (at, more) in [
        "[sft]\nlabel_smoothing = 0.1\n[[optimizer.groups]]\npattern = '*.mlp.*'\nlr = 1e-3\n",
        "[lora]\nrank = 2\ntargets = ['q_proj']\nmodules_to_save = ['norm', 'layers.1.mlp']\n",
    ]
    .into_iter()
    .enumerate()
    {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        sft_file(dir, more);
        let set = ["run.keep=0", "model.dtype=bf16"];
        assert_eq!(
            sparks(dir, &["sft", "c.toml", "--quiet", "--set", set[0], "--set", set[1]]),
            (0, String::new())
        );
        let whole = left(dir);
        let state = std::fs::read(dir.join("run/checkpoints/step-5/optimizer.safetensors")).unwrap();
        let state = String::from_utf8_lossy(&state).into_owned();
        // Masters of what is held in bf16 and trained; of adapters none.
        assert_eq!(state.contains("\"w.model.embed_tokens.weight\""), at == 0);
        assert_eq!(state.contains("m.base_model.model.model.norm.weight"), at == 1);
        std::fs::remove_dir_all(dir.join("run/checkpoints/step-5")).unwrap();
        assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet"]), (0, String::new()));
        assert!(left(dir) == whole, "a resumed run has other bits");
    }
}

#[test]
fn adapters_are_trained_and_resumed_by_both_commands() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sft_file(dir, "[lora]\nrank = 2\ndropout = 0.2\ntargets = ['q_proj', 'down_proj']\n");
    assert_eq!(sparks(dir, &["sft", "c.toml", "--quiet", "--set", "run.keep=0"]), (0, String::new()));
    let whole = left(dir);
    assert!(whole.iter().any(|(name, _)| name == "run/checkpoints/step-5/adapter_model.safetensors"));
    std::fs::remove_dir_all(dir.join("run/checkpoints/step-5")).unwrap();
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet"]), (0, String::new()));
    assert!(left(dir) == whole, "a resumed run has other bits");
    for (set, name) in
        [("lora.dropout=1", "lora.dropout"), ("lora.rank=0", "lora.rank"), ("lora.alpa=1", "lora.alpha")]
    {
        let (status, message) = sparks(dir, &["sft", "c.toml", "--set", set, "run.dir=other"]);
        assert!(status == 2 && message.contains(name), "{set}: {message}");
    }
    let toy = root("crates/toy/assets");
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'grpo'\ntrain.steps = 1\n\
         grpo.group_size = 4\ngrpo.prompts = 1\ngrpo.max_tokens = 8\ngrpo.beta = 0.1\nlora.rank = 2\n",
        toy.display()
    );
    std::fs::write(dir.join("g.toml"), text).unwrap();
    std::fs::write(dir.join("d.jsonl"), "{\"problem\":\"12+34=\",\"answer\":46}\n").unwrap();
    let dropped = sparks(dir, &["grpo", "g.toml", "--set", "lora.dropout=0.1"]);
    assert!(dropped.0 == 2 && dropped.1.contains("lora.dropout: expected 0 in sparks grpo"), "{dropped:?}");
    assert_eq!(sparks(dir, &["grpo", "g.toml", "--quiet"]), (0, String::new()));
    assert_eq!(
        sparks(dir, &["grpo", "--resume", "grpo", "--quiet", "--set", "train.steps=2"]),
        (0, String::new())
    );
    assert!(dir.join("grpo/checkpoints/step-2/adapter_model.safetensors").exists());
}

#[test]
fn problems_of_grpo_as_people_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let toy = root("crates/toy/assets");
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'run'\ntrain.steps = 1\n\
         grpo.group_size = 4\ngrpo.prompts = 1\ngrpo.max_tokens = 8\n",
        toy.display()
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
    let sparks = |row: &str, set: &[&str]| {
        let _ = std::fs::remove_dir_all(dir.join("run"));
        std::fs::write(dir.join("d.jsonl"), row).unwrap();
        let mut args = vec!["grpo", "c.toml"];
        args.extend(set.iter().flat_map(|change| ["--set", *change]));
        sparks(dir, &args)
    };
    let plain = r#"{"problem":"12+34=","answer":"46"}"#;
    let good = [
        plain,
        r#"{"problem":"12+34=","answer":46}"#,
        r#"{"prompt":"12+34=","problem":"12+34=","answer":"46"}"#,
        r#"[{"question":"12+34=","answer":46,"solution":"so 46"}]"#,
    ];
    for row in good {
        let (status, message) = sparks(row, &[]);
        assert_eq!(status, 0, "{row}: {message}");
    }
    let refused = [
        (r#"{"problem":"12+34=","answer":""}"#, &[][..], "answer is empty"),
        (r#"{"problem":"12+34=","prompt":"1+1=","answer":"2"}"#, &[], "data.columns.prompt"),
        (r#"{"problem":"12+34="}"#, &[], "answer"),
        (plain, &["grpo.group_size=1"], "grpo.group_size"),
        (plain, &["train.accumulation=2"], "train.accumulation"),
        (plain, &["run.best=eval_accuracy"], "data.eval"),
        (plain, &["data.eval=d.jsonl", "run.best=eval_loss"], "run.best"),
        (plain, &["data.eval=d.jsonl", "run.patience=1"], "run.best"),
        (plain, &["data.turns=last"], "data.turns"),
        (plain, &["data.max_length=2"], "data.max_length"),
    ];
    for (row, set, name) in refused {
        let (status, message) = sparks(row, set);
        assert!(status == 2 && message.contains(name), "{row} {set:?}: {message}");
    }
    assert_eq!(sparks(plain, &["data.max_length=2", "data.truncation=keep_end"]).0, 0);
    let (status, message) = sparks(r#"{"problem":"12+34=","answer":"}{ \\frac{"}"#, &[]);
    assert!(status == 0 && message.contains("not judged"), "{message}");
    let metrics = std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"unjudged\":1.0"), "{metrics}");
}

/// The toy model answers with digits and its end token. Where a digit is a stop string, the first one is the last
/// token, and the budget is not used up.
#[test]
fn a_stop_string_ends_a_rollout() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'run'\ntrain.steps = 1\n\
         grpo.group_size = 8\ngrpo.prompts = 1\ngrpo.max_tokens = 2\n",
        root("crates/toy/assets").display()
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
    std::fs::write(dir.join("d.jsonl"), "{\"problem\":\"12+34=\",\"answer\":46}\n").unwrap();
    let lengths = |set: &[&str]| {
        let _ = std::fs::remove_dir_all(dir.join("run"));
        assert_eq!(sparks(dir, &[&["grpo", "c.toml", "--quiet"], set].concat()), (0, String::new()));
        let metrics = std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        (line["length"].as_f64().unwrap(), line["truncated"].as_f64().unwrap())
    };
    assert_eq!(lengths(&[]), (2.0, 1.0));
    let digits: Vec<String> = (0..10).map(|digit| format!("'{digit}'")).collect();
    let stop = format!("prompt.stop=[{}]", digits.join(","));
    // Some begin with a token that is no digit; the second token is one.
    let (length, truncated) = lengths(&["--set", &stop]);
    assert!(length < 2.0 && truncated == 0.0, "{length} {truncated}");
    let records = posttrain_grpo::read_completions(&dir.join("run/completions/step-0.jsonl.gz")).unwrap();
    assert_eq!(records.len(), 8);
    for record in &records {
        let text = &record.completion;
        let digit = text.find(|c: char| c.is_ascii_digit());
        assert!(digit.is_some_and(|at| at + 1 == text.len()) && record.finish == "stop", "{record:?}");
    }
    for (set, name) in [
        ("prompt.template=qwen", "qwen-math"),
        ("prompt.template=chat", "chat template"),
        ("prompt.system=x", "prompt: system"),
        ("prompt.stop=['']", "prompt: stop"),
        ("prompt.temple=x", "prompt.template"),
        ("grpo.loss=gspo", "here it is grpo.ratio = \"sequence\""),
        ("grpo.max_prompt_length=9", "here it is data.max_length"),
    ] {
        let (status, message) = sparks(dir, &["grpo", "c.toml", "--set", set, "run.dir=other"]);
        assert!(status == 2 && message.contains(name), "{set}: {message}");
        let _ = std::fs::remove_dir_all(dir.join("other"));
    }
}
