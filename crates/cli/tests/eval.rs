//! `sparks eval`: whose samples a run folder holds, stop strings, problems files as people have them, warnings.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn toy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn eval(model: &Path, suite: &Path, out: &Path, more: &[&str]) -> Output {
    let args =
        ["eval", text(model), "--suite", text(suite), "--out", text(out), "--json", "--max-tokens", "16"];
    let template: &[&str] = if more.contains(&"--template") { &[] } else { &["--template", "plain"] };
    Command::new(env!("CARGO_BIN_EXE_sparks")).args(args).args(template).args(more).output().unwrap()
}

fn ok(out: &Output) -> Value {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn refused(out: &Output) -> String {
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{message}");
    message
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for path in std::fs::read_dir(from).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_run_folder_belongs_to_one_model_one_suite_and_one_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, run) = (at("model"), at("run"));
    copy(&toy(), &model);
    for (name, problem, answer) in [("a", "12+34=", "46"), ("b", "99*99=", "9801"), ("wrong", "12+34=", "47")]
    {
        let line = json!({ "id": "0", "problem": problem, "answer": answer });
        std::fs::write(at(name).with_extension("jsonl"), format!("{line}\n")).unwrap();
    }
    let (a, b, wrong) = (at("a.jsonl"), at("b.jsonl"), at("wrong.jsonl"));
    let before = ok(&eval(&model, &a, &run, &[]));
    let samples = std::fs::read(run.join("samples.jsonl")).unwrap();
    let message = refused(&eval(&model, &b, &run, &[]));
    assert!(message.contains("suite_problems") && message.contains("another folder"), "{message}");
    let message = refused(&eval(&model, &a, &run, &["--ablate", "L0H0"]));
    assert!(message.contains("interventions (none) (now \"L0H0 ablated by zero\")"), "{message}");
    // The same files at another path are the same model.
    copy(&toy(), &at("moved"));
    assert_eq!(ok(&eval(&at("moved"), &a, &run, &[])), before);
    // Corrected answers are graded on request, from the same samples.
    assert!(refused(&eval(&model, &wrong, &run, &[])).contains("suite_answers"));
    let after = ok(&eval(&model, &wrong, &run, &["--regrade"]));
    assert_ne!(after["pass_at_1"]["estimate"], before["pass_at_1"]["estimate"]);
    assert_eq!(ok(&eval(&model, &a, &run, &["--regrade"])), before);
    assert_eq!(std::fs::read(run.join("samples.jsonl")).unwrap(), samples);

    // One byte in the middle of the weights.
    let weights = model.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let message = refused(&eval(&model, &a, &run, &[]));
    assert!(message.contains(": model \"") || message.contains(": model "), "{message}");
}

/// The toy model answers "46" and its end token: with the few-shot template's stop strings nothing changes, with a
/// tokenizer whose digits are stop strings the row ends there.
#[test]
fn a_stop_string_ends_its_row_with_ids_and_text_that_agree() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = at("model");
    copy(&toy(), &model);
    // Every token is spelt as the end of an answer: the first one stops the row.
    let tokenizer = std::fs::read_to_string(model.join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&tokenizer).unwrap();
    tokenizer["decoder"] =
        json!({ "type": "Replace", "pattern": { "Regex": "^.+$" }, "content": "</answer>" });
    std::fs::write(model.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let suite = at("suite.jsonl");
    let lines = ["12+34=", "5+6="].iter().enumerate();
    let lines = lines.map(|(i, p)| format!("{}\n", json!({ "id": i, "problem": p, "answer": 1 })));
    std::fs::write(&suite, lines.collect::<String>()).unwrap();
    let run = at("run");
    let found = ok(&eval(&model, &suite, &run, &["--template", "r1"]));
    assert_eq!((&found["tokens"]["estimate"], &found["truncated"]["estimate"]), (&json!(1.0), &json!(0.0)));
    let samples = std::fs::read_to_string(run.join("samples.jsonl")).unwrap();
    for sample in samples.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()) {
        assert_eq!((&sample["finish"], &sample["completion"]), (&json!("stop"), &json!("</answer>")));
        assert_eq!(sample["ids"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn problems_files_are_read_as_people_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let suite = at("suite.jsonl");
    let rows = "\u{feff}{\"unique_id\":\"x/1\",\"problem\":\"12+34=\",\"answer\":46,\"level\":\"Level 3\",\"solution\":\"s\"}\r\n\r\n\
                {\"id\":2,\"problem\":\"1+2=\",\"answer\":\"3\",\"level\":1,\"subject\":[\"a\"]}\r\n";
    std::fs::write(&suite, rows).unwrap();
    let out = eval(&toy(), &suite, &at("run"), &[]);
    assert_eq!(ok(&out)["problems"], 2);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("fields that are not read: solution"), "{said}");
    let message = refused(&eval(&toy(), &suite, &at("strict"), &["--strict"]));
    assert!(message.contains("solution"), "{message}");
    std::fs::write(&suite, "{\"id\":1,\"problem\":\"1+2=\",\"answer\":null}\n").unwrap();
    assert!(
        refused(&eval(&toy(), &suite, &at("run3"), &[]))
            .contains("suite.jsonl: line 1: field \"answer\": null")
    );
    // A row that outgrows the model's 128 positions is named; a chat template is asked for by name.
    let long = json!({ "id": 1, "problem": format!("{}1=", "1+".repeat(70)), "answer": 71 });
    std::fs::write(&suite, format!("{long}\n")).unwrap();
    let out = eval(&toy(), &suite, &at("run4"), &[]);
    ok(&out);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("problem 1") && said.contains("expected at most 128"), "{said}");
    assert!(refused(&eval(&toy(), &suite, &at("run5"), &["--strict"])).contains("expected at most 128"));
    // Strict is refused before the work where the budget could pass the limit.
    let near = json!({ "id": "near", "problem": format!("{}1=", "1+".repeat(57)), "answer": 58 });
    std::fs::write(&suite, format!("{near}\n")).unwrap();
    let message = refused(&eval(&toy(), &suite, &at("run7"), &["--strict"]));
    assert!(
        message.contains("problem near and --max-tokens: ") && message.contains("at most 128"),
        "{message}"
    );
    assert!(std::fs::read(at("run7").join("samples.jsonl")).unwrap().is_empty());
    ok(&eval(&toy(), &suite, &at("run7"), &[]));
    let short = json!({ "id": "s", "problem": "1+2=", "answer": 3 });
    std::fs::write(&suite, format!("{short}\n")).unwrap();
    ok(&eval(&toy(), &suite, &at("run9"), &["--strict"]));
    // Greedy samples are all the same.
    let out = eval(&toy(), &suite, &at("run8"), &["--samples", "3", "--temperature", "0"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("--samples 3: at --temperature 0"), "{said}");
    let message = refused(&eval(&toy(), &suite, &at("run6"), &["--system", "x"]));
    assert!(message.contains("system: template plain is plain text"), "{message}");
}

/// An answer that the grader cannot read is told, since no completion but its own text can be right.
#[test]
fn answers_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let suite = folder.path().join("suite.jsonl");
    let lines = [
        json!({ "id": "a", "problem": "1+1=", "answer": 2 }),
        json!({ "id": "b", "problem": "1+2=", "answer": "}{ \\frac{" }),
    ];
    std::fs::write(&suite, lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let message = refused(&eval(&toy(), &suite, &folder.path().join("run"), &["--strict"]));
    assert!(message.contains("1 answers cannot be read by the grader, the first of problem b"), "{message}");
}
