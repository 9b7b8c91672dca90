//! What the command says and does about models: adapters, sites by either name, odd checkpoints, devices.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn sparks(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sparks")).args(args).output().unwrap()
}

fn ok(args: &[&str]) -> String {
    let out = sparks(args);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{args:?}: {said}");
    said
}

fn refused(args: &[&str]) -> String {
    let out = sparks(args);
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{args:?}: {message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    message
}

fn tensor(file: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (view.shape().to_vec(), values)
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    let scale = b.iter().fold(0f32, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale
}

#[test]
fn adapters_run_beside_a_model_and_merge_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, adapter) = (fixture("qwen2-tied"), fixture("lora/names"));
    // The oracle is the input too: `forward` reads `input_ids` of a safetensors file.
    let oracle = adapter.join("oracle.safetensors");
    let forward = |model: &Path, more: &[&str]| {
        let out = at("out.safetensors");
        ok(&[&["forward", text(model), "--input", text(&oracle), "--out", text(&out)], more].concat());
        tensor(&out, "logits").1
    };
    let (with, without) = (tensor(&oracle, "logits").1, tensor(&oracle, "logits_base").1);
    assert!(apart(&forward(&model, &["--adapter", text(&adapter)]), &with) < 1e-5);
    let (merged, undone) = (at("merged"), at("undone"));
    ok(&["merge-adapter", text(&model), text(&adapter), "--out", text(&merged)]);
    assert!(apart(&forward(&merged, &[]), &with) < 1e-5);
    ok(&["merge-adapter", text(&merged), text(&adapter), "--undo", "--out", text(&undone)]);
    assert!(apart(&forward(&undone, &[]), &without) < 1e-5);
    assert!(merged.join("generation_config.json").exists());

    let dora = at("dora");
    std::fs::create_dir(&dora).unwrap();
    let config = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    let config = config.replace("\"use_dora\": false", "\"use_dora\": true");
    std::fs::write(dora.join("adapter_config.json"), config).unwrap();
    let message =
        refused(&["generate", text(&model), "--input", text(&oracle), "--adapter", text(&dora), "--quiet"]);
    assert!(message.contains("use_dora"), "{message}");
    let message = refused(&["merge-adapter", text(&model), text(&adapter), "--out", text(&adapter)]);
    assert!(message.contains("is an input of this command (ADAPTER"), "{message}");

    // Nothing else is ever replaced: not a folder around the base, not one with other files.
    let around = at("around");
    std::fs::create_dir(&around).unwrap();
    std::fs::rename(&merged, around.join("base")).unwrap();
    let base = around.join("base");
    let message = refused(&["merge-adapter", text(&base), text(&adapter), "--out", text(&around)]);
    assert!(message.contains("holds base, which would be lost"), "{message}");
    std::fs::write(undone.join("thesis.tex"), "years").unwrap();
    let message = refused(&["merge-adapter", text(&base), text(&adapter), "--out", text(&undone)]);
    assert!(message.contains("holds thesis.tex"), "{message}");
    assert!(base.join("model.safetensors").exists() && undone.join("thesis.tex").exists());
    std::fs::remove_file(undone.join("thesis.tex")).unwrap();
    ok(&["merge-adapter", text(&base), text(&adapter), "--undo", "--out", text(&undone)]);
    assert!(apart(&forward(&undone, &[]), &without) < 1e-5);
    let left = std::fs::read_dir(folder.path()).unwrap().filter_map(Result::ok);
    assert!(left.map(|e| e.file_name()).all(|name| !name.to_string_lossy().starts_with('.')));
}

#[test]
fn sites_are_asked_for_by_either_name() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.json"), folder.path().join("out.safetensors"));
    std::fs::write(&input, json!({"input_ids": [[1, 2, 3, 4]]}).to_string()).unwrap();
    let model = fixture("qwen2-tied");
    let run = |sites: &str| {
        let args = ["forward", text(&model), "--input", text(&input), "--out", text(&out), "--sites", sites];
        args.map(str::to_owned).to_vec()
    };
    let args = run(
        "attn,z,blocks.1.attn.hook_pattern,blocks.2.attn.hook_z,hook_embed,blocks.0.attn.hook_result,hook_logits",
    );
    ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    for (contract, theirs) in [("attn.1", "blocks.1.attn.hook_pattern"), ("z.2", "blocks.2.attn.hook_z")] {
        assert_eq!(tensor(&out, contract), tensor(&out, theirs));
    }
    assert_eq!(tensor(&out, "hook_embed").0, [1, 4, 32]);
    assert_eq!(tensor(&out, "blocks.0.attn.hook_result").0, [1, 4, 4, 32], "[batch, seq, heads, d_model]");
    assert_eq!(tensor(&out, "hook_logits"), tensor(&out, "logits"));
    for (sites, expected) in [
        ("blocks.3.attn.hook_z", "has 3 layers"),
        ("neurons", "expected hidden, attn"),
        ("blocks.0.attn.hook_k,blocks.0.attn.hook_k_ungrouped", "ask in two runs"),
    ] {
        let args = run(sites);
        let message = refused(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn odd_checkpoints_are_warned_of_and_run() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("qwen2-tied")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let weights = folder.path().join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let mut bytes = whole.clone();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..70).map(|i| (format!("t{i}"), json!(i))).collect();
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "t0"}});
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let model = text(folder.path());
    let input = folder.path().join("in.json");
    std::fs::write(&input, r#"{"input_ids": [[1, 2]]}"#).unwrap();
    let out = folder.path().join("out.safetensors");
    let said = ok(&["forward", model, "--input", text(&input), "--out", text(&out)]);
    assert!(said.contains("NaN or infinity in `model.norm.weight`"), "{said}");
    let message = refused(&["generate", model, "--prompt", "t1 t2", "--quiet"]);
    assert!(message.contains("after 0 new tokens the logits are NaN or infinite"), "{message}");
    std::fs::write(&weights, whole).unwrap();
    let said = ok(&["generate", model, "--prompt", "t1 t2", "--max-tokens", "2"]);
    assert!(said.contains("ids up to 69, the model has 61 rows"), "{said}");
    assert!(ok(&["generate", model, "--prompt", "t1 t2", "--max-tokens", "2", "--quiet"]).is_empty());
    let template =
        "{% set s = namespace(x='x') %}{% for i in range(60) %}{% set s.x = s.x ~ s.x %}{% endfor %}";
    let config = json!({ "chat_template": template });
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    let message = refused(&["generate", model, "--prompt", "t1", "--chat", "--quiet"]);
    assert!(message.contains("the chat template took more than"), "{message}");

    let message = sparks(&["generate", model, "--prompt", "t1 t65", "--quiet"]);
    let message = String::from_utf8_lossy(&message.stderr).into_owned();
    assert!(message.contains("token 65, expected ids below the vocabulary size 61"), "{message}");
}

/// transformers 5.23 takes an output projection that is there over a flag that says there is none.
#[test]
fn a_tied_flag_beside_another_output_projection_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let untied = fixture("llama-untied");
    for entry in std::fs::read_dir(&untied).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_file())
    {
        std::fs::copy(&entry, at(entry.file_name().unwrap().to_str().unwrap())).unwrap();
    }
    let config = std::fs::read_to_string(at("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["tie_word_embeddings"] = true.into();
    std::fs::write(at("config.json"), config.to_string()).unwrap();
    let (input, out, expected) = (at("in.json"), at("out.safetensors"), at("expected.safetensors"));
    std::fs::write(&input, r#"{"input_ids": [[1, 2, 3]]}"#).unwrap();
    let said = ok(&["forward", text(folder.path()), "--input", text(&input), "--out", text(&out)]);
    assert!(said.contains("`lm_head.weight` is not the embedding"), "{said}");
    ok(&["forward", text(&untied), "--input", text(&input), "--out", text(&expected)]);
    assert_eq!(tensor(&out, "logits"), tensor(&expected, "logits"));
}

#[test]
fn devices_that_are_not_here_are_named() {
    let model = fixture("qwen2-tied");
    for (device, expected) in [
        ("tpu", "expected cpu, cuda"),
        ("cpu:1", "expected cpu, cuda"),
        ("cuda:x", "expected cpu, cuda"),
        #[cfg(not(feature = "cuda"))]
        ("cuda:1", "--features cuda"),
        #[cfg(not(feature = "wgpu"))]
        ("wgpu", "--features wgpu"),
    ] {
        let message = refused(&["info", text(&model), "--device", device]);
        assert!(message.contains(expected), "{message}");
    }
    ok(&["info", text(&model), "--device", "cpu", "--json"]);
}
