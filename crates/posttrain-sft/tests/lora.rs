//! Training of adapters: twenty steps of PEFT with torch's AdamW, weights untouched, resume to the last bit.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use model_qwen::{Adapter, Checkpoint, Dtype, LoraConfig, Param, Qwen};
use posttrain::RunFolder;
use posttrain::config::{Decay, Kind};
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
    // torch decays vectors too, which a norm held whole is.
    trainer.optimizer.decay = Decay::All;
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

/// Twenty steps from PEFT's adapter, in passes of `rows` rows, and what PEFT's own steps gave.
fn follows(name: &str, model: &str, lr: f64, rows: usize) -> (Qwen, Qwen) {
    let (base, data) = (base(model, Dtype::F32), data());
    let folder = fixtures("sft-lora").join(name);
    let mut config = config();
    let trainer = &mut config.trainer;
    (trainer.train.batch_size, trainer.train.accumulation) = (rows, 4 / rows);
    (trainer.optimizer.lr, trainer.seed) = (lr, 9);
    let start = Adapter::open(&folder.join("start"), &base).unwrap();
    let mut sft = Sft::new(start.attach(&base).unwrap(), &config, data.len()).unwrap();
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
    for ((name, a), (other, b)) in
        values(found.adapter_params()).into_iter().zip(values(end.adapter_params()))
    {
        assert_eq!(name, other);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 5e-5), "{name}: {a:?} {b:?}");
    }
    assert_eq!(values(found.without_adapter().params()), values(base.clone().params()));
    (base, found)
}

#[test]
fn traces_of_peft_are_followed_and_the_weights_stay() {
    follows("plain", "tied", 1e-2, 4);
    follows("all-linear", "untied", 1e-2, 4);
}

#[test]
fn what_is_dropped_depends_on_no_batch_size() {
    follows("dropout", "tied", 3e-3, 4);
    follows("dropout", "tied", 3e-3, 1);
}

#[test]
fn modules_that_an_adapter_holds_whole_are_pefts() {
    let (base, trained) = follows("modules", "untied", 1e-3, 4);
    let dir = tempfile::tempdir().unwrap();
    let config = Adapter::open(&fixtures("sft-lora/modules/end"), &base).unwrap().config;
    let adapter = Adapter::of(config, &trained);
    adapter.save(&dir.path().join("adapter")).unwrap();
    let read = Adapter::open(&dir.path().join("adapter"), &base).unwrap();
    let (mut again, mut merged) = (read.attach(&base).unwrap(), read.merge(&base).unwrap());
    assert_eq!(values(again.adapter_params()), values(trained.clone().adapter_params()));
    // PEFT's file has the same names.
    let names = |path: &Path| {
        let file = std::fs::read(path.join("adapter_model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&file).unwrap();
        let mut names: Vec<String> = file.names().iter().map(|&name| name.to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&dir.path().join("adapter")), names(&fixtures("sft-lora/modules/end")));
    // Merged, the modules are the weights.
    let head =
        |model: &mut Qwen| values(model.params()).into_iter().find(|(name, _)| name == "lm_head.weight");
    assert_eq!(head(&mut merged), head(&mut trained.clone()));
    let sft = |model| {
        Sft::new(model, &self::config(), 16).unwrap().evaluate(data().examples()).unwrap().mean_loss()
    };
    let (a, b) = (sft(trained), sft(merged));
    assert!((a - b).abs() < 1e-5 * a, "{a} {b}");
    assert!(read.unmerge(&base).unwrap_err().to_string().contains("keep the base model"));
}

#[test]
fn a_new_adapter_with_whole_modules_changes_nothing() {
    let base = base("untied", Dtype::Bf16);
    let config = |whole: &[&str]| LoraConfig {
        whole: whole.iter().map(|&name| name.to_owned()).collect(),
        ..LoraConfig::new(2, 4.0, &["q_proj"])
    };
    let new = Adapter::new(config(&["lm_head"]), &base, 1).unwrap().attach(&base).unwrap();
    let loss = |model| {
        Sft::new(model, &self::config(), 16).unwrap().evaluate(data().examples()).unwrap().mean_loss()
    };
    let attached = loss(new.clone());
    assert_eq!(attached, loss(Adapter::new(config(&[]), &base, 1).unwrap().attach(&base).unwrap()));
    assert!(values(new.clone().adapter_params()).iter().any(|(n, _)| n == "base_model.model.lm_head.weight"));
    let refused = |whole: &[&str]| Adapter::new(config(whole), &base, 1).unwrap_err().to_string();
    assert!(refused(&["experts"]).contains("`modules_to_save` has experts, which no module"));
    assert!(refused(&["_proj"]).contains("a low-rank term is beside model.layers.0.self_attn.q_proj"));
    let tied = self::base("tied", Dtype::F32);
    let message = Adapter::new(config(&["embed_tokens"]), &tied, 1).unwrap_err().to_string();
    assert!(message.contains("embed_tokens, which is tied"), "{message}");
}

#[test]
fn checkpoints_are_adapters_and_a_resumed_run_has_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("run");
    // Frozen weights may be held in 16 bits; what a step drops is drawn again.
    let (base, data) = (base("tied", Dtype::Bf16), data());
    let start = Adapter::open(&fixtures("sft-lora/dropout/start"), &base).unwrap();
    assert!(start.config.dropout > 0.0);
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

#[test]
fn blocks_run_again_make_the_same_run() {
    let (base, data) = (base("untied", Dtype::F32), data());
    let start = Adapter::open(&fixtures("sft-lora/all-linear/start"), &base).unwrap();
    let dropping = LoraConfig { dropout: 0.5, ..LoraConfig::new(4, 8.0, &["q_proj", "down_proj"]) };
    let dropping = Adapter::new(dropping, &base, 1).unwrap().attach(&base).unwrap();
    for model in [base.clone(), start.attach(&base).unwrap(), dropping] {
        let run = |recompute| {
            let mut config = config();
            config.trainer.train.recompute = recompute;
            let mut sft = Sft::new(model.clone(), &config, data.len()).unwrap();
            let stats = train(&mut sft, &data, 3);
            let mut model = sft.into_model();
            (stats, values(model.params()), values(model.adapter_params()))
        };
        assert!(run(false) == run(true));
    }
}
