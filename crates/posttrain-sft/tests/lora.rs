//! Training of adapters: twenty steps of PEFT with torch's AdamW, weights untouched, resume to the last bit.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use model_qwen::{Adapter, Checkpoint, Dtype, Param, Qwen};
use posttrain::RunFolder;
use posttrain::config::Kind;
use posttrain_sft::{DataConfig, Dataset, Encoder, Sft, SftConfig, SftStats};
use serde_json::Value;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn base(model: &str, dtype: Dtype) -> Qwen {
    Checkpoint::open(&fixtures("sft-trace").join(model)).unwrap().load(dtype, &Device::flex()).unwrap()
}

fn config() -> SftConfig {
    let mut config = SftConfig::default();
    let trainer = &mut config.trainer;
    (trainer.train.steps, trainer.train.batch_size) = (Some(20), 4);
    (trainer.optimizer.lr, trainer.optimizer.weight_decay) = (1e-2, 0.01);
    trainer.schedule.kind = Kind::Constant;
    config
}

fn data() -> Dataset {
    let how = DataConfig { shuffle: false, ..DataConfig::default() };
    Dataset::open(&fixtures("sft-trace/data.jsonl"), &how, 0, &Encoder::default()).unwrap()
}

fn train(sft: &mut Sft, data: &Dataset, until: usize) -> Vec<SftStats> {
    let mut all = Vec::new();
    while sft.progress().step < until {
        all.push(sft.step(&data.batch(sft.progress().position, sft.batch())).unwrap());
    }
    all
}

fn values(params: Vec<(String, Param<'_>)>) -> Vec<(String, Vec<f32>)> {
    let read = |param| match param {
        Param::Matrix(w) => w.clone().into_data().iter::<f32>().collect(),
        Param::Vector(w) => w.clone().into_data().iter::<f32>().collect(),
    };
    params.into_iter().map(|(name, param)| (name, read(param))).collect()
}

#[test]
fn two_traces_of_peft_are_followed_and_the_weights_stay() {
    for (name, model) in [("plain", "tied"), ("all-linear", "untied")] {
        let (base, data) = (base(model, Dtype::F32), data());
        let folder = fixtures("sft-lora").join(name);
        let start = Adapter::open(&folder.join("start"), &base).unwrap();
        let mut sft = Sft::new(start.attach(&base).unwrap(), &config(), data.len()).unwrap();
        let text = std::fs::read_to_string(folder.with_extension("json")).unwrap();
        let trace: Vec<Value> = serde_json::from_str(&text).unwrap();
        for (stats, expected) in train(&mut sft, &data, 20).iter().zip(&trace) {
            let close = |found: f64, expected: &Value, relative: f64| {
                let expected = expected.as_f64().unwrap();
                assert!((found - expected).abs() <= relative * expected.abs(), "{name}: {found} {expected}");
            };
            close(stats.loss, &expected["loss"], 1e-5);
            close(stats.grad_norm, &expected["grad_norm"], 1e-4);
        }
        let mut end = Adapter::open(&folder.join("end"), &base).unwrap().attach(&base).unwrap();
        let mut found = sft.into_model();
        for ((name, a), (_, b)) in
            values(found.adapter_params()).into_iter().zip(values(end.adapter_params()))
        {
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 5e-5), "{name}: {a:?} {b:?}");
        }
        assert_eq!(values(found.params()), values(base.clone().params()));
    }
}

#[test]
fn checkpoints_are_adapters_and_a_resumed_run_has_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("run");
    // Frozen weights may be held in 16 bits.
    let (base, data) = (base("tied", Dtype::Bf16), data());
    let start = Adapter::open(&fixtures("sft-lora/plain/start"), &base).unwrap();
    let new = || Sft::new(start.attach(&base).unwrap(), &config(), data.len()).unwrap();
    let mut whole = new();
    let expected = train(&mut whole, &data, 8);
    assert!(expected[7].loss < expected[0].loss);
    let mut first = new();
    train(&mut first, &data, 4);
    let mut run = RunFolder::create(&place, "").unwrap().with_adapter(start.config.clone());
    let checkpoint = run.checkpoint(first.model(), first.optimizer(), first.progress()).unwrap();
    assert!(checkpoint.join("adapter_model.safetensors").exists());
    assert!(!checkpoint.join("model.safetensors").exists());
    drop(run);
    let (_, resumed) = RunFolder::resume(&place, |_, _| Ok(())).unwrap();
    let adapter = Adapter::open(&resumed.dir, &base).unwrap();
    let second = Sft::new(adapter.attach(&base).unwrap(), &config(), data.len()).unwrap();
    let mut second = second.resume(&resumed).unwrap();
    assert_eq!(train(&mut second, &data, 8), expected[4..]);
    let (mut a, mut b) = (whole.into_model(), second.into_model());
    assert_eq!(values(a.adapter_params()), values(b.adapter_params()));
}
