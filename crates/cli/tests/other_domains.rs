//! `studies/other-domains.sh` with two checkpoints of one model that has a real tokenizer and knows nothing.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use model_qwen::{Config, Dtype, save};
use serde_json::Value;

/// A folder of the data beside the project.
fn shared(path: &str) -> PathBuf {
    Path::new(&std::env::var("SPARKS_SHARED").unwrap()).join("data").join(path)
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn studies_of_indirect_objects_and_greater_than_run() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).display().to_string();
    let config = r#"{
        "model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 8,
        "num_key_value_heads": 8, "intermediate_size": 32, "vocab_size": 151936, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "max_position_embeddings": 4096
    }"#;
    for (name, seed) in [("base", 0), ("other", 1)] {
        let model = model_qwen::random(Config::parse(config).unwrap(), seed, &burn::tensor::Device::flex());
        save(&model, Path::new(&place(name)), Dtype::Bf16, Some(&shared("tokenizers/qwen2.5"))).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies/other-domains.sh");
    let out = Command::new("bash")
        .arg(script)
        .args([place("base"), place("other"), place("out")])
        .envs([("SPARKS", env!("CARGO_BIN_EXE_sparks")), ("PAIRS", "6"), ("HF_HUB_OFFLINE", "1")])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for task in ["ioi", "greater-than"] {
        let study = dir.path().join("out").join(task);
        let text = std::fs::read(study.join("results.json")).unwrap();
        let results: Value = serde_json::from_slice(&text).unwrap();
        let labels: Vec<&str> =
            results["checkpoints"].as_array().unwrap().iter().map(|c| c["label"].as_str().unwrap()).collect();
        assert_eq!(labels, ["base", "other"]);
        assert_eq!(results["task"]["suites"][0]["name"], task);
        assert!(results["base"]["circuit"]["faithfulness"].is_number());
        assert!(study.join("report.html").exists());
    }
}
