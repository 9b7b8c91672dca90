//! The command as a user sees it: exit codes, one line of error, files that other tools read.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn sparks(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sparks"))
        .args(args)
        .env_remove("SLURM_ARRAY_TASK_ID")
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("runs")
}

fn ok(args: &[&str]) -> Value {
    let out = sparks(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    if out.stdout.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&out.stdout).expect("one JSON object")
    }
}

/// The message of a run that must fail with exit status 2 and one line.
fn refused(args: &[&str]) -> String {
    let out = sparks(args);
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{args:?}: {message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    assert!(out.stdout.is_empty());
    message
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn from_a_checkpoint_to_a_faithful_circuit() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (model, pairs) = (fixture("eap/model"), fixture("eap/pairs.jsonl"));
    let (model, pairs) = (text(&model), text(&pairs));
    let info = ok(&["info", model, "--json"]);
    assert_eq!(info["edges_ungrouped"], 110);
    let train = |name: &str| info["train"][name].as_u64().unwrap();
    assert!(train("bytes_peak") > info["bytes_train"].as_u64().unwrap());
    assert!(train("bytes_peak_recomputed") < train("bytes_peak"));
    assert!(train("bytes_peak_lora_recomputed") < train("bytes_peak_lora"));
    let (scores, circuit, pt) = (at("scores.json"), at("circuit.json"), at("scores.pt"));
    ok(&["attribute", model, "--pairs", pairs, "--per-pair", "--out", text(&scores), "--json"]);
    ok(&["attribute", model, "--pairs", pairs, "--out", text(&pt), "--json"]);

    // The package's own numbers: selection, pruning and the circuit's metric.
    let peer: Value =
        serde_json::from_slice(&std::fs::read(fixture("eap/circuits.json")).expect("read")).expect("JSON");
    let expected = &peer["selections"]["topn-40"];
    for file in [&scores, &pt] {
        let made = ok(&["circuit", text(file), "--top", "40", "--out", text(&circuit), "--json"]);
        assert_eq!(made["edges"], expected["pruned"].as_array().expect("edges").len());
    }
    ok(&[
        "circuit",
        text(&scores),
        "--top",
        "40",
        "--out",
        text(&circuit),
        "--svg",
        text(&at("c.svg")),
        "--json",
    ]);
    let found = ok(&["faithfulness", model, "--circuit", text(&circuit), "--pairs", pairs, "--json"]);
    for (pair, value) in found["per_pair"]
        .as_array()
        .expect("pairs")
        .iter()
        .zip(expected["metric"]["corrupt"]["logit-diff"].as_array().expect("values"))
    {
        let (ours, theirs) = (pair["circuit"].as_f64().expect("number"), value.as_f64().expect("number"));
        assert!((ours - theirs).abs() < 1e-4, "{ours} {theirs}");
    }
    let same = ok(&["compare", text(&circuit), text(&circuit), "--json"]);
    assert_eq!((&same["heads"]["gained"], &same["heads"]["lost"]), (&json!([]), &json!([])));
    assert!(same["noise_floor"].is_object());
}

#[test]
fn nodes_are_scored_and_selected() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (model, pairs) = (fixture("eap/model"), fixture("eap/pairs.jsonl"));
    let (model, pairs) = (text(&model), text(&pairs));
    let (scores, circuit) = (at("n.json"), at("c.json"));
    let said = ok(&[
        "attribute",
        model,
        "--pairs",
        pairs,
        "--level",
        "nodes",
        "--method",
        "exact",
        "--out",
        text(&scores),
        "--json",
    ]);
    assert_eq!(said["nodes"], 11);
    let file = circuits::ScoreFile::read(&scores).expect("scores");
    let worth = |name: &str| *file.nodes.as_ref().expect("nodes").get(name.parse().expect("node"));
    // Corrupting the input corrupts all: the whole effect.
    let gap: f64 = serde_json::to_value(file.provenance.unwrap_or_default()).unwrap()["pairs"]
        .as_array()
        .expect("pairs")
        .iter()
        .map(|p| p["corrupt"].as_f64().expect("number") - p["clean"].as_f64().expect("number"))
        .sum();
    assert!((f64::from(worth("input")) - gap / 4.0).abs() < 1e-4);
    let made = ok(&["circuit", text(&scores), "--top", "6", "--out", text(&circuit), "--json"]);
    assert!(made["nodes"].as_u64().expect("number") <= 6 && made["edges"].as_u64().expect("number") > 5);
    let found = ok(&["faithfulness", model, "--circuit", text(&circuit), "--pairs", pairs, "--json"]);
    assert!(found["faithfulness"].is_number());
    for (wrong, says) in [
        (vec!["circuit", text(&scores), "--greedy", "3", "--out", text(&circuit)], "only --top"),
        (vec!["faithfulness", model, "--circuit", text(&scores), "--pairs", pairs, "--curve"], "over edges"),
        (
            vec!["attribute", model, "--pairs", pairs, "--level", "neurons", "--out", text(&scores)],
            "expected nodes or edges",
        ),
    ] {
        let message = refused(&wrong);
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn submissions_to_mib_have_the_files_that_it_looks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (model, pairs, scores) = (fixture("eap/model"), fixture("eap/pairs.jsonl"), at("s.json"));
    ok(&["attribute", text(&model), "--pairs", text(&pairs), "--out", text(&scores), "--json"]);
    let (one, nine) = (at("ioi_qwen2.5"), at("mcqa_qwen2.5"));
    ok(&["circuit", text(&scores), "--mib", text(&one), "--json"]);
    let said =
        ok(&["circuit", text(&scores), "--mib", text(&nine), "--mib-as", "circuits", "--signed", "--json"]);
    assert_eq!(said["files"].as_array().expect("files").len(), 9);
    let ours = circuits::ScoreFile::read(&scores).expect("scores");
    match circuits::read_mib(&one).expect("a submission") {
        circuits::Submission::Importances(file) => assert_eq!(file.scores, ours.loss_scores().unwrap()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(circuits::read_mib(&nine), Ok(circuits::Submission::Circuits(c)) if c.len() == 9));
    assert!(refused(&["circuit", text(&scores), "--mib", text(&one)]).contains("not empty"));
    assert!(refused(&["circuit", text(&scores), "--mib", text(&at("mine"))]).contains("TASK_MODEL"));
}

#[test]
fn shards_join_to_the_bits_of_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (model, pairs) = (fixture("eap/model"), fixture("eap/pairs.jsonl"));
    let run = |shard: &[&str], out: &Path| {
        let mut args = vec!["attribute", text(&model), "--pairs", text(&pairs), "--out", text(out), "--json"];
        args.extend_from_slice(shard);
        ok(&args);
    };
    let (one, two, three, all, whole) =
        (at("1.json"), at("2.json"), at("3.json"), at("all.json"), at("whole.json"));
    for more in [&[][..], &["--per-pair"], &["--level", "nodes"], &["--level", "nodes", "--per-pair"]] {
        run(&[&["--shard", "1/3"], more].concat(), &one);
        run(&[&["--shard", "2/3"], more].concat(), &two);
        run(&[&["--shard", "3/3"], more].concat(), &three);
        run(more, &whole);
        ok(&["merge", text(&two), text(&three), text(&one), "--out", text(&all)]);
        assert_eq!(std::fs::read(&all).expect("read"), std::fs::read(&whole).expect("read"), "{more:?}");
    }
    // A pair's scores stand in the order of the file's own edges, and files are as any program makes them.
    run(&["--per-pair"], &whole);
    let file: Value = serde_json::from_slice(&std::fs::read(&whole).expect("read")).expect("JSON");
    let rows = file["sparks"]["per_pair"]["scores"].as_array().expect("rows");
    for (i, (name, edge)) in file["edges"].as_object().expect("edges").iter().enumerate() {
        let mean = rows.iter().map(|row| row[i].as_f64().expect("number")).sum::<f64>() / rows.len() as f64;
        assert!((mean - edge["score"].as_f64().expect("score")).abs() < 1e-6, "{name}");
    }
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions();
    std::fs::remove_file(&two).expect("removed");
    run(&[], &two);
    std::fs::remove_file(&one).expect("removed");
    std::fs::write(&one, "").expect("written");
    assert_eq!(mode(&one), mode(&two));
    run(&["--shard", "1/3"], &one);
    run(&["--shard", "2/3"], &two);
    let message = refused(&["merge", text(&one), text(&two), "--out", text(&all)]);
    assert!(message.contains("expected all 3 shards; missing: 0/3"), "{message}");
    assert!(
        refused(&["merge", text(&one), text(&two), text(&three), "--out", text(&three)])
            .contains("is an input of this command")
    );
    assert!(
        refused(&["merge", text(&one), text(&one), text(&two), "--out", text(&all)])
            .contains("shard 1/3 is given twice")
    );
}

#[test]
fn forward_and_generate_write_what_the_contract_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (folder.path().join("in.json"), folder.path().join("out.safetensors"));
    std::fs::write(&input, json!({"input_ids": [[1, 2, 3, 4], [5, 6]]}).to_string()).expect("written");
    let model = fixture("qwen2-tied");
    ok(&["forward", text(&model), "--input", text(&input), "--sites", "all", "--out", text(&out)]);
    let bytes = std::fs::read(&out).expect("read");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    for (name, shape) in [
        ("logits", vec![2, 4, 61]),
        ("hidden.0", vec![2, 4, 32]),
        ("hidden.3", vec![2, 4, 32]),
        ("attn.2", vec![2, 4, 4, 4]),
        ("z.1", vec![2, 4, 4, 8]),
        ("k.0", vec![2, 4, 2, 8]),
        ("mlp_in.2", vec![2, 4, 32]),
    ] {
        assert_eq!(tensors.tensor(name).expect(name).shape(), shape);
    }
    let plain = ok(&["generate", text(&model), "--input", text(&input), "--max-tokens", "6", "--json"]);
    let first = &plain["completions"][0];
    assert_eq!((&first["prompt_ids"], &first["finish"]), (&json!([1, 2, 3, 4]), &json!("length")));
    assert_eq!(first["ids"].as_array().expect("ids").len(), 6);
    assert!(first.get("text").is_none(), "no tokenizer, no text");
    let all = "L0H0,L0H1,L0H2,L0H3,L1H0,L1H1,L1H2,L1H3,L2H0,L2H1,L2H2,L2H3";
    let ablated = ok(&[
        "generate",
        text(&model),
        "--input",
        text(&input),
        "--max-tokens",
        "6",
        "--ablate",
        all,
        "--json",
    ]);
    let scaled = ok(&[
        "generate",
        text(&model),
        "--input",
        text(&input),
        "--max-tokens",
        "6",
        "--scale",
        "0",
        "--heads",
        all,
        "--json",
    ]);
    assert_ne!(first["ids"], ablated["completions"][0]["ids"]);
    assert_eq!(ablated["completions"], scaled["completions"], "scaling by nothing is zeroing");
}

#[test]
fn bad_input_is_one_clear_line_and_status_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let model = fixture("qwen2-tied");
    let out = folder.path().join("out.json");
    let attribute =
        |pairs: &Path| refused(&["attribute", text(&model), "--pairs", text(pairs), "--out", text(&out)]);
    let unequal = at("unequal.jsonl", r#"{"id":"p","clean_ids":[1,2],"corrupt_ids":[1],"answer_ids":[3]}"#);
    assert!(attribute(&unequal).contains("pair p: clean has 2 tokens and corrupt 1"));
    let beyond = at("beyond.jsonl", r#"{"id":"p","clean_ids":[1,61],"corrupt_ids":[1,2],"answer_ids":[3]}"#);
    assert!(attribute(&beyond).contains("token 61"));
    let ids = at("ids.json", r#"{"input_ids":[[1,99]]}"#);
    assert!(
        refused(&["forward", text(&model), "--input", text(&ids), "--out", "o.safetensors"])
            .contains("token 99")
    );
    let fine = at("fine.json", r#"{"input_ids":[[1,9]]}"#);
    assert!(refused(&["info", "no/such/model"]).contains("no such folder"));
    for (args, says) in [
        (&["attribute", "--steps", "99999999999"][..], "expected 1 to 100000"),
        (&["attribute", "--per-pair", "--out", "x.pt"], "x.pt: .pt has no room for pairs"),
        (&["attribute", "--steps", "100000", "--out", "no/such/o.json"], "no folder no/such"),
        (&["generate", "--samples", "99999999"], "--samples: 99999999, expected 1 to"),
        (&["generate", "--samples", "0"], "--samples: 0, expected 1 to"),
        (&["generate", "--chat"], "token ids; --chat needs texts"),
        (&["generate", "--threads", "100000"], "--threads: 100000, expected at most"),
        (&["generate", "--scale", "-1", "--heads", "L0H9"], "L0H9"),
    ] {
        let pairs = fixture("eap/pairs.jsonl");
        let mut all = vec![args[0], text(&model)];
        all.extend_from_slice(&args[1..]);
        match args[0] {
            "attribute" => all.extend(["--pairs", text(&pairs)]),
            _ => all.extend(["--input", text(&fine)]),
        }
        if args[0] == "attribute" && !args.contains(&"--out") {
            all.extend(["--out", text(&out)]);
        }
        let message = refused(&all);
        assert!(message.contains(says), "{all:?}: {message}");
    }
    let suite =
        refused(&["eval", text(&model), "--suite", "math500", "--data", "no/such", "--out", "no/run"]);
    assert!(suite.contains("math500.jsonl: no such file") && suite.contains("prm800k"), "{suite}");
    assert!(
        refused(&["generate", text(&model), "--input", text(&ids)]).contains("ids.json: input_ids: row 0")
    );
    assert!(
        refused(&["generate", text(&model), "--input", text(&fine), "--ablate", "L9H0"]).contains("L9H0")
    );
    assert!(
        refused(&[
            "attribute",
            text(&model),
            "--pairs",
            text(&unequal),
            "--method",
            "magic",
            "--out",
            text(&out)
        ])
        .contains("eap-ig-inputs")
    );
    assert!(!out.exists(), "nothing half-written is left");

    // Checkpoints: a missing shard, a truncated file, an architecture that is not implemented.
    let copy = |name: &str, to: &str| {
        let dir = folder.path().join(to);
        std::fs::create_dir(&dir).expect("made");
        for entry in std::fs::read_dir(fixture(name)).expect("read") {
            let path = entry.expect("entry").path();
            std::fs::copy(&path, dir.join(path.file_name().expect("named"))).expect("copied");
        }
        dir
    };
    let good = at("good.json", r#"{"input_ids":[[1,2]]}"#);
    let run = |dir: &Path| refused(&["forward", text(dir), "--input", text(&good), "--out", "o.safetensors"]);
    let shards = copy("llama-untied", "shards");
    std::fs::remove_file(shards.join("model-00002-of-00003.safetensors")).expect("removed");
    assert!(run(&shards).contains("model-00002-of-00003.safetensors"));
    let cut = copy("qwen2-tied", "cut");
    let bytes = std::fs::read(cut.join("model.safetensors")).expect("read");
    std::fs::write(cut.join("model.safetensors"), &bytes[..bytes.len() / 2]).expect("written");
    assert!(run(&cut).contains("truncated"));
    let other = copy("qwen2-tied", "other");
    let config = std::fs::read_to_string(other.join("config.json")).expect("read");
    std::fs::write(other.join("config.json"), config.replace("Qwen2ForCausalLM", "MambaForCausalLM"))
        .expect("written");
    assert!(run(&other).contains("MambaForCausalLM"));
}

#[test]
fn training_runs_resume_and_write_checkpoints() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = fixture("sft-trace");
    // The fixtures have no tokenizer: data are token ids.
    let config = |dir: &str| {
        let path = folder.path().join(format!("{dir}.toml"));
        let text = format!(
            "[model]\npath = '{}'\n[data]\ntrain = '{}'\nshuffle = false\n[run]\ndir = '{}'\ncheckpoint_every = 5\n\
             [train]\nsteps = 20\nbatch_size = 4\n[optimizer]\nlr = 1e-3\nweight_decay = 0.01\n\
             [schedule]\nkind = 'cosine'\nwarmup_steps = 4\n\
             [watch]\npairs = '{}'\nevery = 10\nsteps = 2\ntop = 60\n",
            trace.join("tied").display(),
            trace.join("data.jsonl").display(),
            folder.path().join(dir).display(),
            fixture("eap/pairs.jsonl").display(),
        );
        std::fs::write(&path, text).expect("written");
        path
    };
    ok(&["sft", text(&config("run")), "--json"]);
    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).expect("metrics");
    let losses: Vec<f64> = metrics
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["loss"].as_f64().expect("loss"))
        .collect();
    let golden: Value =
        serde_json::from_slice(&std::fs::read(trace.join("tied-matrices.json")).expect("read"))
            .expect("JSON");
    let golden: Vec<f64> = {
        let steps = golden["steps"].as_array().or(golden.as_array()).expect("steps");
        steps.iter().map(|s| s["loss"].as_f64().expect("loss")).collect()
    };
    assert_eq!(losses.len(), 20);
    for (a, b) in losses.iter().zip(&golden) {
        assert!((a - b).abs() / b < 1e-5, "{a} {b}");
    }
    assert!(folder.path().join("run/checkpoints/step-20/model.safetensors").exists());
    assert!(folder.path().join("run/circuits/step-20.json").exists());
    let circuits =
        [folder.path().join("run/circuits/step-0.json"), folder.path().join("run/circuits/step-20.json")];
    assert!(ok(&["compare", text(&circuits[0]), text(&circuits[1]), "--json"])["effects"].is_array());

    // A step fewer than all, as if it had been stopped; then on.
    ok(&["sft", text(&config("again")), "--set", "run.keep=9", "--json"]);
    std::fs::remove_dir_all(folder.path().join("again/checkpoints/step-20")).expect("removed");
    ok(&["sft", "--resume", text(&folder.path().join("again")), "--json"]);
    let weights = |run: &str| {
        std::fs::read(folder.path().join(run).join("checkpoints/step-20/model.safetensors")).expect("read")
    };
    assert_eq!(weights("run"), weights("again"), "the bits of a run that was never stopped");

    let typo = folder.path().join("typo.toml");
    std::fs::write(
        &typo,
        "[model]\npath = 'x'\n[data]\ntrain = 'y'\n[run]\ndir = 'z'\n[optimizer]\nlearning_rate = 1\n",
    )
    .expect("written");
    assert!(refused(&["sft", text(&typo)]).contains("learning_rate"));
}

#[test]
fn grading_writes_one_line_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cases, verdicts) = (folder.path().join("cases.jsonl"), folder.path().join("verdicts.jsonl"));
    std::fs::write(
        &cases,
        "{\"id\":7,\"gold\":\"1/2\",\"pred\":\"\\\\boxed{0.5}\"}\n{\"gold\":\"3\",\"pred\":\"4\"}\n\
         {\"gold\":\"$1/3$\",\"pred\":\"0.33\",\"options\":{\"precision\":2}}\n",
    )
    .expect("written");
    ok(&["grade", "--in", text(&cases), "--out", text(&verdicts)]);
    let lines: Vec<Value> = std::fs::read_to_string(&verdicts)
        .expect("read")
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    assert_eq!(
        (&lines[0]["id"], &lines[0]["correct"], &lines[1]["correct"]),
        (&json!(7), &json!(true), &json!(false))
    );
    assert_eq!((lines.len(), &lines[2]["correct"]), (3, &json!(true)), "the case's own precision");
    // A row that cannot be read is judged wrong, with its line; the other rows are graded. Numbers are texts.
    let rows = [
        ("\u{feff}{\"gold\":46,\"pred\":\"46\"}", true, ""),
        ("{\"gold\":1e22,\"pred\":\"10^{22}\"}", true, ""),
        ("{\"id\":\"n\",\"gold\":\"1\",\"pred\":null}", false, "line 3: field \"pred\": null"),
        ("{\"gold\":\"1\",\"note\":\"x\"}", false, "line 4: field \"pred\": missing"),
        ("{\"gold\":\"1\",\"pred\":\"1\",\"options\":{\"percision\":2}}", false, "`percision`"),
        ("nonsense", false, "line 6: expected a JSON object"),
        ("{\"gold\":\"2\",\"pred\":\"2\"}", true, ""),
    ];
    std::fs::write(&cases, rows.map(|r| r.0).join("\r\n")).expect("written");
    let args = ["grade", "--in", text(&cases), "--out", text(&verdicts)];
    let said = String::from_utf8(sparks(&args).stderr).expect("UTF-8");
    assert!(said.contains("cases.jsonl: fields that are not read: note"), "{said}");
    assert!(said.contains("cases.jsonl: line 3") && said.contains("3 other rows"), "{said}");
    let found = std::fs::read_to_string(&verdicts).expect("read");
    let found: Vec<Value> = found.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((found.len(), &found[2]["id"]), (rows.len(), &json!("n")));
    for ((_, correct, reason), verdict) in rows.iter().zip(&found) {
        assert_eq!(verdict["correct"], *correct, "{verdict}");
        assert!(verdict["reason"].as_str().expect("a reason").contains(reason), "{verdict}");
    }
    assert!(refused(&[&args[..], &["--strict"]].concat()).contains("(--strict)"));
    // A device is written to and stays one; what it refuses is no success.
    std::fs::write(&cases, "{\"gold\":\"1\",\"pred\":\"1\"}").expect("written");
    assert!(ok(&["grade", "--in", text(&cases), "--out", "/dev/stdout"])["correct"] == true);
    if cfg!(target_os = "linux") {
        let full = sparks(&["grade", "--in", text(&cases), "--out", "/dev/full"]);
        assert_eq!(full.status.code(), Some(1));
        assert!(!Path::new("/dev/full").is_file());
    }
    // A row that is not UTF-8 is one bad verdict with its line; `unique_id` names a row whose `id` is null.
    let bytes = [
        &b"{\"id\":null,\"unique_id\":\"u/1\",\"gold\":\"5\",\"pred\":\"5\"}\n"[..],
        b"{\"gold\":\"caf\xe9\",\"pred\":\"x\"}\n\n{\"gold\":\"9\",\"pred\":\"9\"}\n",
    ];
    std::fs::write(&cases, bytes.concat()).expect("written");
    let said = String::from_utf8(sparks(&args).stderr).expect("UTF-8");
    assert!(
        said.contains("line 2: not UTF-8 text (and 1 other rows): judged wrong")
            && !said.contains("not read"),
        "{said}"
    );
    let found = std::fs::read_to_string(&verdicts).expect("read");
    let found: Vec<Value> = found.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let correct: Vec<_> = found.iter().map(|v| v["correct"] == true).collect();
    assert_eq!((correct, &found[0]["id"]), (vec![true, false, false, true], &json!("u/1")));
    std::fs::write(&cases, "").expect("written");
    ok(&["grade", "--in", text(&cases), "--out", text(&verdicts)]);
    assert_eq!(std::fs::read_to_string(&verdicts).expect("read"), "");
}
