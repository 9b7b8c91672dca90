//! Looking at the parts of a model by command: lens, patch, sweep, heads, pairs.
#![allow(clippy::unwrap_used)]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn sparks(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sparks")).args(args).output().unwrap()
}

fn ok(args: &[&str]) -> Value {
    let out = sparks(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn printed(args: &[&str]) -> String {
    let out = sparks(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn refused(args: &[&str]) -> String {
    let out = sparks(args);
    assert_eq!(out.status.code(), Some(2), "{args:?}");
    assert!(out.stdout.is_empty());
    String::from_utf8(out.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The model and the pairs of the EAP-IG fixture.
fn given() -> (String, String) {
    (text(&fixture("eap/model")).to_owned(), text(&fixture("eap/pairs.jsonl")).to_owned())
}

#[test]
fn the_lens_ends_at_the_model_and_the_parts_add_up() {
    let (model, pairs) = given();
    let found = ok(&["lens", &model, "--pairs", &pairs, "--mid", "--json"]);
    let streams = found["lens"].as_array().unwrap();
    let names: Vec<&str> = streams.iter().map(|s| s["stream"].as_str().unwrap()).collect();
    assert_eq!(names[1], "blocks.0.hook_resid_mid");
    assert_eq!((names.len(), names[4]), (5, "blocks.1.hook_resid_post"));
    let whole = streams[4]["value"].as_f64().unwrap();
    let parts: Vec<f64> =
        found["direct"]["writers"].as_object().unwrap().values().map(|x| x.as_f64().unwrap()).collect();
    let size: f64 = parts.iter().map(|x| x.abs()).sum();
    assert_eq!(parts.len(), 11);
    assert!((parts.iter().sum::<f64>() - whole).abs() < 1e-5 * size);
    let every = ok(&["lens", &model, "--pairs", &pairs, "--positions", "all", "--json"]);
    assert_eq!(every["direct"]["per_pair"][0]["writers"]["m1"].as_array().unwrap().len(), 9);
    assert!(printed(&["lens", &model, "--pairs", &pairs]).contains("direct logit attribution"));

    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.json"), folder.path().join("out.json"));
    std::fs::write(&input, json!({"input_ids": [[1, 2, 3], [4, 5]]}).to_string()).unwrap();
    let args = ["lens", &model, "--input", text(&input), "--top", "3", "--positions", "all"];
    let found = ok(&[&args[..], &["--json", "--out", text(&out)]].concat());
    let file: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(file, found);
    let last = &found["rows"][0]["lens"][2]["top"][2];
    assert_eq!(
        (found["rows"][1]["lens"][0]["top"].as_array().unwrap().len(), last.as_array().unwrap().len()),
        (2, 3)
    );
    // The last stream's likeliest token is the one that greedy decoding takes.
    let greedy = ok(&["generate", &model, "--input", text(&input), "--max-tokens", "1", "--json"]);
    assert_eq!(last[0]["id"], greedy["completions"][0]["ids"][0]);
    let logprob = greedy["completions"][0]["logprobs"][0].as_f64().unwrap();
    assert!((last[0]["prob"].as_f64().unwrap().ln() - logprob).abs() < 1e-4);
    assert!(refused(&["lens", &model, "--pairs", &pairs, "--positions", "some"]).contains("last or all"));
}

#[test]
fn patches_have_the_axes_that_were_asked_for() {
    let (model, pairs) = given();
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixture("inside/patching.json")).unwrap()).unwrap();
    for (site, by, noise) in [
        ("z", "head", false),
        ("k", "both", false),
        ("resid_pre", "position", true),
        ("pattern", "both", true),
    ] {
        let mut args = vec!["patch", &model, "--pairs", &pairs, "--site", site, "--by", by, "--json"];
        if noise {
            args.push("--noise");
        }
        let found = ok(&args);
        let name = if by == "position" { site.to_owned() } else { format!("{site}/{by}") };
        let theirs = &expected["p0"][if noise { "noise" } else { "denoise" }][&name];
        let flat = |v: &Value| {
            fn go(v: &Value, into: &mut Vec<f64>) {
                match v {
                    Value::Array(items) => items.iter().for_each(|i| go(i, into)),
                    other => into.push(other.as_f64().unwrap()),
                }
            }
            let mut all = Vec::new();
            go(v, &mut all);
            all
        };
        let (ours, theirs) = (flat(&found["per_pair"][0]["patched"]), flat(theirs));
        assert_eq!(ours.len(), theirs.len());
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 2e-5 * (1.0 + b.abs())), "{site} {by}");
        // The pairs have 9, 12, 7 and 11 tokens.
        assert_eq!(found["share"].is_null(), by != "head");
    }
    assert!(printed(&["patch", &model, "--pairs", &pairs]).contains("share of the clean-corrupt difference"));
    assert!(
        refused(&["patch", &model, "--pairs", &pairs, "--site", "mlp_out", "--by", "head"])
            .contains("no heads")
    );
    assert!(refused(&["patch", &model, "--pairs", &pairs, "--site", "x"]).contains("--site x"));
}

#[test]
fn sweeps_are_of_heads_or_layers_under_every_fill() {
    let (model, pairs) = given();
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixture("inside/ablation.json")).unwrap()).unwrap();
    let found = ok(&["sweep", &model, "--pairs", &pairs, "--json"]);
    let effects = found["effects"].as_array().unwrap();
    assert_eq!(effects.len(), 8);
    for effect in effects {
        let theirs: Vec<f64> = expected[effect["head"].as_str().unwrap()]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect();
        let mean = theirs.iter().sum::<f64>() / theirs.len() as f64;
        assert!((effect["ablated"].as_f64().unwrap() - mean).abs() < 1e-4, "{effect} {mean}");
    }
    for fill in ["mean", "mean-positional", "resample"] {
        let found = ok(&["sweep", &model, "--pairs", &pairs, "--fill", fill, "--by", "layer", "--json"]);
        let effects = found["effects"].as_array().unwrap();
        assert_eq!(effects.len(), 2);
        assert!(effects.iter().all(|e| e["change"].as_f64().unwrap().abs() > 1e-3), "{fill} {found}");
    }
    // Resampling one head from the pair's own corrupt prompt is noising it.
    let resampled =
        ok(&["sweep", &model, "--pairs", &pairs, "--fill", "resample", "--heads", "L1H2", "--json"]);
    let noised = ok(&["patch", &model, "--pairs", &pairs, "--noise", "--json"]);
    let (a, b) = (&resampled["effects"][0]["ablated"], &noised["patched"][1][2]);
    assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4, "{a} {b}");
    let same = ok(&["sweep", &model, "--pairs", &pairs, "--scale", "1", "--json"]);
    assert!(same["effects"].as_array().unwrap().iter().all(|e| e["change"] == 0.0));
    assert!(refused(&["sweep", &model, "--pairs", &pairs, "--by", "token"]).contains("head, layer or set"));
    // The same numbers as NumPy reads them.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep.npz");
    printed(&["sweep", &model, "--pairs", &pairs, "--out", text(&out)]);
    let mut npz = zip::ZipArchive::new(std::fs::File::open(&out).unwrap()).unwrap();
    let mut change = Vec::new();
    npz.by_name("effects.change.npy").unwrap().read_to_end(&mut change).unwrap();
    assert_eq!(change.len() % 64, 0, "8 values of 8 bytes after an aligned header");
    let values = change[change.len() - 64..].chunks_exact(8);
    let values: Vec<f64> = values.map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    let expected: Vec<f64> = effects.iter().map(|e| e["change"].as_f64().unwrap()).collect();
    assert_eq!(values, expected);
    let heads = ["L0H0", "L0H1", "L0H2", "L0H3"].join(",");
    let set = ok(&["sweep", &model, "--pairs", &pairs, "--heads", &heads, "--by", "set", "--json"]);
    let layer = ok(&["sweep", &model, "--pairs", &pairs, "--heads", &heads, "--by", "layer", "--json"]);
    assert_eq!(set["effects"][0]["ablated"], layer["effects"][0]["ablated"]);
}

#[test]
fn heads_are_one_table() {
    let (model, pairs) = given();
    let folder = tempfile::tempdir().unwrap();
    let circuit = folder.path().join("circuit.json");
    let scores = fixture("eap/eap-ig-inputs-5-logit-diff.json");
    ok(&["circuit", text(&scores), "--top", "40", "--out", text(&circuit), "--json"]);
    let found = ok(&["heads", &model, "--circuit", text(&circuit), "--pairs", &pairs, "--json"]);
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixture("inside/paths.json")).unwrap()).unwrap();
    assert_eq!(found["circuit"]["paths"], expected["paths"].as_f64().unwrap());
    let rows = found["heads"].as_array().unwrap();
    let row = rows.iter().find(|r| r["head"] == "L1H3").unwrap();
    assert_eq!(row["paths"].as_f64(), expected["heads"]["a1.h3"]["paths"].as_f64());
    assert!(
        row["ov_effective_rank"].as_f64().unwrap() > 1.0 && row["attention_entropy"].as_f64().unwrap() > 0.0
    );
    // A file of scores selects no edge: its circuit is the empty one, a value.
    let none = ok(&["heads", &model, "--circuit", text(&scores), "--json"]);
    let nothing = |r: &Value| r["paths"] == 0.0 && r["weight_share"] == 0.0 && r["out"] == 0;
    assert!(none["heads"].as_array().unwrap().iter().all(nothing), "{none}");
    let n = |found: &Value| ["kept", "gained", "lost"].map(|kind| found["n_edges"][kind].as_u64().unwrap());
    assert_eq!(n(&ok(&["compare", text(&scores), text(&circuit), "--json"])), [0, 32, 0]);
    assert_eq!(n(&ok(&["compare", text(&circuit), text(&scores), "--json"])), [0, 0, 32]);
    let nulls =
        printed(&["faithfulness", &model, "--circuit", text(&circuit), "--pairs", &pairs, "--nulls", "3"]);
    assert!(
        nulls.contains("layer-matched circuits of that size: faithfulness") && !nulls.contains('['),
        "{nulls}"
    );
    let plain = ok(&["heads", &model, "--json"]);
    assert!(plain["heads"][0].get("paths").is_none() && plain["heads"][0].get("attention_entropy").is_none());
    let table = printed(&["heads", &model, "--circuit", text(&circuit)]);
    assert_eq!(table.lines().count(), 1 + expected["heads"].as_object().unwrap().len(), "{table}");
}

#[test]
fn pairs_are_built_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("tokenizer.json"), toy::TOKENIZER_JSON).unwrap();
    let (model, out) = (text(folder.path()), at("pairs.jsonl"));
    let made = ok(&["pairs", "arithmetic", model, "--n", "12", "--out", text(&out), "--json"]);
    assert_eq!(made["pairs"], 12);
    let lines = std::fs::read_to_string(&out).unwrap();
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(line["text"]["clean"].as_str().unwrap().ends_with('='));
    assert_eq!(line["clean_ids"].as_array().unwrap().len(), line["corrupt_ids"].as_array().unwrap().len());
    ok(&["pairs", "arithmetic", model, "--n", "12", "--out", text(&at("again.jsonl")), "--json"]);
    assert_eq!(std::fs::read_to_string(at("again.jsonl")).unwrap(), lines, "the seed decides");
    ok(&[
        "pairs",
        "arithmetic",
        model,
        "--n",
        "12",
        "--seed",
        "1",
        "--out",
        text(&at("other.jsonl")),
        "--json",
    ]);
    assert_ne!(std::fs::read_to_string(at("other.jsonl")).unwrap(), lines);
    assert!(refused(&["pairs", "arithmetic", model]).contains("--out"));
    // One token a character: names are split, and so are years.
    assert!(refused(&["pairs", "ioi", model, "--out", text(&out)]).contains("names as one token"));
    assert!(refused(&["pairs", "greater-than", model, "--out", text(&out)]).contains("--digits 1"));
}

/// The demo's base model, and the same one with a block's attention silenced.
fn two_models(folder: &Path) -> (PathBuf, PathBuf) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets");
    let other = folder.join("other");
    std::fs::create_dir(&other).unwrap();
    for entry in std::fs::read_dir(&base).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, other.join(path.file_name().unwrap())).unwrap();
    }
    let mut bytes = std::fs::read(other.join("model.safetensors")).unwrap();
    let start = bytes.as_ptr() as usize;
    let silenced = {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor("model.layers.1.self_attn.o_proj.weight").unwrap().data();
        let at = data.as_ptr() as usize - start;
        at..at + data.len()
    };
    bytes[silenced].fill(0);
    std::fs::write(other.join("model.safetensors"), bytes).unwrap();
    (base, other)
}

#[test]
fn openings_are_of_two_models() {
    let folder = tempfile::tempdir().unwrap();
    let (base, other) = two_models(folder.path());
    let (problems, out) = (folder.path().join("problems.jsonl"), folder.path().join("pairs.jsonl"));
    let lines = (11..31)
        .map(|a| format!("{{\"id\":\"q{a}\",\"problem\":\"{a}+{}+{}=\",\"answer\":\"0\"}}\n", a + 7, 95 - a));
    std::fs::write(&problems, lines.collect::<String>()).unwrap();
    let of = |post: &Path, base: &Path| {
        let more =
            ["--problems", text(&problems), "--template", "plain", "--length", "1,2,4", "--out", text(&out)];
        [&["pairs", "openings", text(post), text(base), "--json"], &more[..]]
            .concat()
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let args = of(&base, &other);
    let made = ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let dropped: u64 = made["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(made["pairs"].as_u64().unwrap() + dropped, 60, "{made}");
    let lines = std::fs::read_to_string(&out).unwrap();
    for line in lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()) {
        assert_ne!(line["clean_ids"], line["corrupt_ids"]);
        assert_ne!(line["answer_ids"], line["distractor_ids"]);
        let problem = line["text"]["clean"].as_str().unwrap().split('=').next().unwrap().to_owned();
        assert!(line["text"]["corrupt"].as_str().unwrap().starts_with(&problem));
    }
    // The pairs are what attribution reads.
    ok(&["sweep", text(&base), "--pairs", text(&out), "--by", "layer", "--json"]);
    let args = of(&base, &base);
    assert!(refused(&args.iter().map(String::as_str).collect::<Vec<_>>()).contains("none left"));
}
