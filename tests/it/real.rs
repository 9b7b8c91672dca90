//! Trained models, real tokenizers and real templates from the data beside the project, where it is there.
//!
//! The two larger models are made from packages by `shared/scripts/real_model.py`; say where they are with
//! `SPARKS_MODELS` (a folder with `qwen05` and `smollm2`).

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use hooks::{Batch, Rows};
use model_qwen::{ChatTemplate, Checkpoint, Dtype, Pass, Qwen, Request, Sampling, Text, generate};
use serde_json::Value;

use crate::fixtures::{load, shared, values};

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

fn continues(model: &Qwen, prompt: &Value, golden: &Value) {
    let (prompt, golden) = (ids(prompt), ids(golden));
    let how = Sampling { max_tokens: golden.len(), ..Sampling::default() };
    let found =
        generate(model, &[Request { prompt, stream: 0, origin: 0 }], &how, &mut (), |_, _| true).unwrap();
    assert_eq!(found[0].ids, golden);
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn stories260k_tells_its_story() {
    let dir = shared("models/stories260K");
    let (model, golden) = (load(&dir), json(&dir.join("golden.json")));
    let mut after_prompt = golden["greedy_ids"].clone();
    after_prompt.as_array_mut().unwrap().remove(0);
    continues(&model, &golden["prompt_ids"], &after_prompt);
    let text = Text::open(&dir.join("tokenizer.json")).unwrap();
    assert_eq!(
        text.decode(&ids(&golden["greedy_ids"])).unwrap().trim(),
        golden["greedy_text"].as_str().unwrap().trim()
    );
    let check = &golden["logits_check"];
    let batch = Batch::new(&[ids(&check["input_ids"])]).unwrap().rows(Rows::Last);
    let found = values(model.forward(&batch, Pass::new(&mut ())));
    let expected =
        check.as_object().unwrap().values().find(|v| v.as_array().is_some_and(|a| a.len() == 512)).unwrap();
    for (a, b) in found.iter().zip(expected.as_array().unwrap()) {
        assert!((f64::from(*a) - b.as_f64().unwrap()).abs() < 1e-3);
    }
}

/// A folder under `SPARKS_MODELS`.
fn real(name: &str) -> PathBuf {
    let root = std::env::var_os("SPARKS_MODELS").expect("SPARKS_MODELS names the folder of the models");
    PathBuf::from(root).join(name)
}

#[test]
#[ignore = "needs models (SPARKS_MODELS) and shared data (SPARKS_SHARED)"]
fn real_models_agree_with_their_golden_files() {
    let models = [
        ("qwen05", "models/qwen2.5-coder-0.5b-instruct-q4_k_m/golden.json"),
        ("smollm2", "models/smollm2-135m-instruct-q4_1/golden.json"),
    ];
    for (name, golden) in models {
        let (dir, golden) = (real(name), shared(golden));
        let checkpoint = Checkpoint::open(&dir).unwrap();
        let (model, text) =
            (checkpoint.load(Dtype::F32, &Device::flex()).unwrap(), checkpoint.text().unwrap());
        for case in json(&golden).as_array().unwrap() {
            let prompt = case["prompt"].as_str().unwrap();
            assert_eq!(text.encode_raw(prompt).unwrap(), ids(&case["input_ids"]));
            continues(&model, &case["input_ids"], &case["greedy_ids"]);
            let batch = Batch::new(&[ids(&case["input_ids"])]).unwrap().rows(Rows::Last);
            let found = values(model.forward(&batch, Pass::new(&mut ())));
            for top in case["last_logits_top10"].as_array().into_iter().flatten() {
                let (id, logit) = (top[0].as_u64().unwrap() as usize, top[1].as_f64().unwrap());
                assert!((f64::from(found[id]) - logit).abs() < 1e-2, "{name}: {} against {logit}", found[id]);
            }
        }
    }
}

/// A tokenizer of the Qwen2.5 family: the shared base with that family's added tokens.
fn tokenizer(root: &Path, name: &str) -> Text {
    let mut file = json(&root.join("qwen2.5/tokenizer.json"));
    let added = root.join(name).join("added_tokens.json");
    if added.exists() {
        file["added_tokens"] = json(&added);
    }
    Text::from_bytes(file.to_string().as_bytes()).unwrap()
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn token_ids_are_those_of_the_recorded_vectors() {
    let root = shared("tokenizers");
    let qwen = tokenizer(&root, "qwen2.5");
    for case in lines(&root.join("qwen2.5/vectors_llama_cpp.jsonl")) {
        assert_eq!(qwen.encode_raw(case["text"].as_str().unwrap()).unwrap(), ids(&case["ids"]), "{case}");
    }
    for case in lines(&root.join("vectors_derived.jsonl")) {
        let name = case["tokenizer"].as_str().unwrap();
        let folder = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let folder = folder.filter(|f| f.starts_with(name)).min().unwrap_or_else(|| name.to_owned());
        let text = tokenizer(&root, &folder);
        assert_eq!(text.encode_raw(case["text"].as_str().unwrap()).unwrap(), ids(&case["ids"]), "{case}");
    }
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn rendered_chats_are_those_of_jinja() {
    let root = shared("tokenizers");
    let cases = lines(&root.join("chat_template_cases.jsonl"));
    assert!(cases.len() >= 59);
    for case in cases {
        let name = case["model"].as_str().unwrap();
        let template = ChatTemplate::open(&root.join(name)).unwrap();
        let mut variables = case.clone();
        let kwargs = variables["kwargs"].as_object().unwrap().clone();
        variables.as_object_mut().unwrap().extend(kwargs);
        let rendered = template.render_with(&variables).unwrap();
        assert_eq!(rendered, case["rendered"].as_str().unwrap(), "{name}");
        assert_eq!(tokenizer(&root, name).encode_raw(&rendered).unwrap(), ids(&case["ids"]), "{name}");
    }
}
