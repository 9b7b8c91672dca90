//! Parameter groups: twenty steps of torch's AdamW with the same groups (tools/oracles/sft_groups.py).
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use model_qwen::{Checkpoint, Dtype, Param, Qwen};
use posttrain::config::{Group, Kind};
use posttrain_sft::{DataConfig, Dataset, Encoder, Sft, SftConfig};
use safetensors::SafeTensors;
use serde_json::Value;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn model() -> Qwen {
    let model = Checkpoint::open(&fixtures("sft-trace/untied")).unwrap();
    model.load(Dtype::F32, &Device::flex()).unwrap()
}

fn data() -> Dataset {
    let how = DataConfig { shuffle: false, ..DataConfig::default() };
    Dataset::open(&fixtures("sft-trace/data.jsonl"), &how, 0, &Encoder::default()).unwrap()
}

fn config(groups: Vec<Group>) -> SftConfig {
    let mut config = SftConfig::default();
    let trainer = &mut config.trainer;
    (trainer.train.steps, trainer.train.batch_size) = (Some(20), 4);
    (trainer.optimizer.lr, trainer.schedule.kind) = (1e-3, Kind::Constant);
    trainer.optimizer.groups = groups;
    config
}

fn frozen(pattern: &str) -> Group {
    Group { pattern: pattern.to_owned(), frozen: true, ..Group::default() }
}

fn group(pattern: &str, lr: f64, decay: f64) -> Group {
    Group { pattern: pattern.to_owned(), lr: Some(lr), weight_decay: Some(decay), frozen: false }
}

#[test]
fn groups_of_torch_are_followed() {
    let groups = vec![frozen("*.embed_tokens.*"), group("*.mlp.*", 3e-3, 0.1), group("*.bias", 1e-4, 0.01)];
    let (start, data) = (model(), data());
    let n_params = |model: &Qwen| model.clone().params().iter().map(|(_, p)| p.len()).sum::<usize>();
    let (whole, embedding) = (n_params(&start), start.embed.dims().iter().product::<usize>());
    let mut sft = Sft::new(start.clone(), &config(groups), data.len()).unwrap();
    // No moments, and no gradient in the norm below.
    assert_eq!(sft.optimizer().n_params(), whole - embedding);
    let text = std::fs::read_to_string(fixtures("sft-groups/steps.json")).unwrap();
    for expected in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
        let stats = sft.step(&data.batch(sft.progress().position, sft.batch())).unwrap();
        for (found, key, relative) in [(stats.loss, "loss", 1e-5), (stats.grad_norm, "grad_norm", 1e-4)] {
            let expected = expected[key].as_f64().unwrap();
            assert!((found - expected).abs() <= relative * expected, "{key}: {found} {expected}");
        }
    }
    let file = std::fs::read(fixtures("sft-groups/end.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    for (name, param) in sft.into_model().params() {
        let found: Vec<f32> = match param {
            Param::Matrix(w) => w.clone().into_data().try_to_vec().unwrap(),
            Param::Vector(w) => w.clone().into_data().try_to_vec().unwrap(),
        };
        let expected = file.tensor(&name).unwrap();
        let expected = expected.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        // As for the traces without groups; the frozen embedding to the last bit.
        let bound = if name.contains("embed") { 0.0 } else { 2e-5 };
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= bound, "{name}: {a} {b}");
        }
    }
}

#[test]
fn the_output_projection_may_be_trained_alone() {
    let (start, data) = (model(), data());
    let mut sft = Sft::new(start.clone(), &config(vec![frozen("model.*")]), data.len()).unwrap();
    assert_eq!(sft.optimizer().n_params(), start.head.as_ref().unwrap().dims().iter().product::<usize>());
    let before = sft.evaluate(data.examples()).unwrap().mean_loss();
    for _ in 0..5 {
        sft.step(&data.batch(sft.progress().position, sft.batch())).unwrap();
    }
    assert!(sft.evaluate(data.examples()).unwrap().mean_loss() < before);
    for ((name, a), (_, b)) in sft.into_model().params().into_iter().zip(start.clone().params()) {
        if let (Param::Matrix(a), Param::Matrix(b)) = (a, b) {
            let same = a.clone().into_data() == b.clone().into_data();
            assert_eq!(same, name != "lm_head.weight", "{name}");
        }
    }
}

#[test]
fn a_group_that_fits_nothing_is_refused_by_name() {
    let refused = |groups| Sft::new(model(), &config(groups), 16).unwrap_err().to_string();
    assert!(refused(vec![frozen("*.experts.*")]).contains("`*.experts.*` fits no parameter"));
    let shadowed = vec![frozen("*.mlp.*"), group("*.up_proj.*", 1e-3, 0.0)];
    assert!(refused(shadowed).contains("`*.up_proj.*` fits no parameter that no earlier group fits"));
    assert!(refused(vec![frozen("*")]).contains("every parameter is frozen"));
}
