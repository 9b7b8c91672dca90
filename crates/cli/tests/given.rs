//! What is given is used or refused by name, and what is refused is named.
#![allow(clippy::unwrap_used)]

mod runs;

use std::path::Path;

use runs::{command, root, sparks};
use serde_json::{Value, json};

const PAIR: &str = r#""clean_ids":[1,2,3],"corrupt_ids":[1,4,3]"#;

/// A model with a tokenizer and a chat template without a switch, and files of every kind.
fn prepare(dir: &Path) {
    std::fs::create_dir(dir.join("m")).unwrap();
    for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(root("crates/toy/assets").join(name), dir.join("m").join(name)).unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("m/chat_template.jinja", "{{ messages[0].content }}=");
    write("ids.json", r#"{"input_ids":[[1,2,3]]}"#);
    write("typo.json", r#"{"input_ids":[[1,2,3]],"attn_mask":[[0,1,1]]}"#);
    write("labels.json", r#"{"input_ids":[[1,2,3]],"labels":[[0,1,1]]}"#);
    write("no-answer.jsonl", &format!("{{{PAIR}}}\n"));
    write("same.jsonl", &format!("{{{PAIR},\"answer_ids\":[5],\"distractor_ids\":[5]}}\n"));
    write("alone.jsonl", &format!("{{{PAIR},\"answer_ids\":[5]}}\n"));
    write("q.jsonl", "{\"id\":\"a\",\"problem\":\"12+34=\",\"answer\":\"46\"}\n");
    write("cases.jsonl", "{\"gold\":\"1\",\"pred\":\"1\"}\n\n{\"gold\":\"2\",\"pred\":\"3\"}\n\n \n");
    std::fs::create_dir(dir.join("empty")).unwrap();
}

fn said(dir: &Path, args: &str) -> (i32, String) {
    sparks(dir, &args.split(' ').map(|arg| if arg == "''" { "" } else { arg }).collect::<Vec<_>>())
}

#[test]
fn what_has_no_effect_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    for (args, expected) in [
        ("grade --gold 2 --pred 2 --out v.jsonl", "--out"),
        ("generate m --prompt 1+2 --chat --think on", "thinking has no effect"),
        ("generate m --prompt 1+2 --chat --think off", "thinking has no effect"),
        ("generate m --prompt 1+2 --ablate L0H0 --fill-from ids.json", "--fill-from ids.json: no effect"),
        (
            "eval m --suite q.jsonl --out r --ablate L0H0 --fill-from ids.json",
            "--fill-from ids.json: no effect",
        ),
        (
            "forward m --input ids.json --out o --ablate L0H0 --fill-from ids.json",
            "--fill-from ids.json: no effect",
        ),
        (
            "sweep m --pairs alone.jsonl --fill-from ids.json",
            "--fill-from ids.json: no effect with --fill zero",
        ),
        ("sweep m --pairs alone.jsonl --scale 2 --fill-from ids.json", "--fill-from"),
        (
            "generate m --prompt 1+2 --ablate L0H0,L1H1 --scale 3 --heads L1H1",
            "--scale 3: no effect, since L1H1",
        ),
        ("eval m --suite q.jsonl --out r --data empty", "--data empty: no effect with --suite q.jsonl"),
        (
            "pairs openings m m --problems q.jsonl --out o --data empty",
            "--data empty: no effect with --problems",
        ),
        ("forward m --input ids.json --out o --sites ''", "--sites"),
        (
            "forward m --input typo.json --out o",
            "`attn_mask`: no such field, the nearest known is `attention_mask`",
        ),
        ("generate m --input typo.json", "the nearest known is `attention_mask`"),
        ("forward m --input ids.json --out o.json", "o.json: the file is written as safetensors"),
        ("forward m --input ids.json --out o.NPZ", "o.NPZ: the file is written as safetensors"),
        ("generate m --prompt 1+2 --top-k 1 --strict", "--top-k 1: no effect at --temperature 0"),
    ] {
        let (code, message) = said(dir, args);
        assert!(code == 2 && message.contains(expected), "{args}: {code} {message}");
    }
    assert!(!dir.join("o").exists() && !dir.join("r").exists() && !dir.join("v.jsonl").exists());
    let warned = "generate m --prompt 1+2 --max-tokens 2 --top-p 0.1 --min-p 0.9 --top-k 3";
    let (code, message) = said(dir, warned);
    let all = ["--top-p 0.1", "--min-p 0.9", "--top-k 3"].iter().all(|flag| message.contains(flag));
    assert!(code == 0 && all, "{message}");
    assert_eq!(said(dir, &format!("{warned} --temperature 1")), (0, String::new()));
    // Another field is told and not read; what has an effect in part is used.
    let (code, message) = said(dir, "forward m --input labels.json --out o");
    assert!(code == 0 && message.contains("fields that are not read: labels"), "{message}");
    let (code, message) =
        said(dir, "generate m --prompt 1+2 --max-tokens 2 --ablate L0H0 --scale 3 --heads L0H0,L1H1");
    assert_eq!((code, message), (0, String::new()));
}

#[test]
fn messages_name_the_file_and_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    let run =
        "[model]\npath = 'm'\n[data]\ntrain = 't.jsonl'\n[run]\ndir = 'run'\n[train]\nsteps = 1\n[lora]\n";
    std::fs::write(dir.join("sft.toml"), run).unwrap();
    std::fs::write(dir.join("t.jsonl"), "{\"prompt\":\"1+2=\",\"completion\":\"3\"}\n").unwrap();
    for (args, expected) in [
        ("attribute m --pairs no-answer.jsonl --out s.json", "no-answer.jsonl: pair 1: missing `answer`"),
        ("attribute m --pairs same.jsonl --out s.json", "same.jsonl: pair 1: `answer` and `distractor`"),
        ("sweep m --pairs no-answer.jsonl", "no-answer.jsonl: pair 1: missing `answer`"),
        ("patch m --pairs no-answer.jsonl", "no-answer.jsonl: pair 1: missing `answer`"),
        ("lens m --pairs no-answer.jsonl", "no-answer.jsonl: pair 1: missing `answer`"),
        ("sft sft.toml --set lora.targets=[\"q_prog\"]", "lora.targets: `target_modules` has q_prog"),
        ("sft sft.toml --set run.dir=t.jsonl", "t.jsonl: is a file, expected a folder"),
        ("eval m --suite q.jsonl --template plain --out ids.json", "ids.json: is a file, expected a folder"),
        ("info empty", "empty: has no config.json, expected a Hugging Face checkpoint folder"),
        ("eval m --suite nosuch.jsonl --out r", "suite \"nosuch.jsonl\": no such file"),
        ("eval m --suite aime --out r", "suite \"aime\": expected arithmetic"),
    ] {
        let (code, message) = said(dir, args);
        assert!(code == 2 && message.contains(expected), "{args}: {code} {message}");
    }
    std::fs::create_dir(dir.join("run")).unwrap();
    std::fs::write(dir.join("run/config.toml"), "[train]\n").unwrap();
    std::fs::write(dir.join("run/metrics.jsonl"), "{\"step\":0,\"loss\":1.0,\"lr\":0.1}\n").unwrap();
    let (code, message) = said(dir, "watch run --html nope/x.html");
    assert_eq!((code, message.as_str()), (2, "sparks: nope/x.html: no folder nope\n"));
    // Distractors are asked for where the metric reads them.
    for (metric, warned) in [("logit-diff", true), ("prob-diff", true), ("kl", false), ("nll", false)] {
        let args = format!("attribute m --pairs alone.jsonl --method exact --metric {metric} --out s.json");
        let (code, message) = said(dir, &args);
        assert_eq!((code, message.contains("no distractor")), (0, warned), "{metric}: {message}");
    }
}

#[test]
fn json_is_one_object_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    let json = |args: &str| -> Value {
        let out = command(dir, &args.split(' ').collect::<Vec<_>>()).output().unwrap();
        assert!(out.status.success(), "{args}: {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    assert_eq!(json("grade --gold 2 --pred 2 --json")["correct"], true);
    let graded = json("grade --in cases.jsonl --out v.jsonl --json");
    assert_eq!(graded, json!({ "out": "v.jsonl", "rows": 3, "correct": 1, "malformed": 1 }));
    let verdicts = std::fs::read_to_string(dir.join("v.jsonl")).unwrap();
    let blank: Value = serde_json::from_str(verdicts.lines().nth(1).unwrap()).unwrap();
    assert!(
        blank["correct"] == false && blank["reason"].as_str().unwrap().starts_with("line 2: "),
        "{blank}"
    );
    let shapes = json("forward m --input ids.json --out o.safetensors --sites z --json");
    let config: Value = serde_json::from_slice(&std::fs::read(dir.join("m/config.json")).unwrap()).unwrap();
    assert_eq!(shapes["tensors"]["logits"], json!([1, 3, config["vocab_size"]]));
    assert_eq!((&shapes["out"], shapes["tensors"]["z.0"][1].as_u64()), (&json!("o.safetensors"), Some(3)));
    for shard in ["0/2", "1/2"] {
        let out = format!("{}.json", &shard[..1]);
        json(&format!("sweep m --pairs alone.jsonl --by layer --shard {shard} --out {out} --json"));
    }
    assert_eq!(json("merge 0.json 1.json --out all.json --json"), json!({ "out": "all.json", "parts": 2 }));
}

/// Every subcommand has `--json`.
#[test]
fn every_subcommand_prints_json() {
    let dir = root("");
    let help = |args: &[&str]| String::from_utf8(command(&dir, args).output().unwrap().stdout).unwrap();
    let all = help(&["--help"]);
    let names =
        all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> =
        names.filter_map(|line| line.split_whitespace().next()).filter(|n| *n != "help").collect();
    assert!(names.len() > 20, "{all}");
    for name in names {
        assert!(help(&[name, "--help"]).contains("--json"), "{name}");
    }
}
