//! Twenty steps of torch's AdamW, step by step; accumulation; resume to the last bit.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use model_qwen::{Checkpoint, Dtype, Param, Qwen};
use posttrain::RunFolder;
use posttrain::config::{Decay, Kind};
use posttrain_sft::{DataConfig, Dataset, Encoder, Example, Sft, SftConfig};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sft-trace")
}

fn config(decay: &str) -> SftConfig {
    let mut config = SftConfig::default();
    let trainer = &mut config.trainer;
    (trainer.train.steps, trainer.train.batch_size) = (Some(20), 4);
    (trainer.optimizer.lr, trainer.optimizer.weight_decay) = (1e-3, 0.01);
    trainer.optimizer.decay = if decay == "all" { Decay::All } else { Decay::Matrices };
    (trainer.schedule.kind, trainer.schedule.warmup_steps) = (Kind::Cosine, 4);
    config
}

fn load(path: &Path) -> Qwen {
    Checkpoint::open(path).unwrap().load(Dtype::F32, &Device::flex()).unwrap()
}

fn start(model: &str, config: &SftConfig, shuffle: bool) -> (Sft, Dataset) {
    let how = DataConfig { shuffle, ..DataConfig::default() };
    let data = Dataset::open(&fixtures().join("data.jsonl"), &how, 0, &Encoder::default()).unwrap();
    (Sft::new(load(&fixtures().join(model)), config, data.len()).unwrap(), data)
}

fn weights(model: &Qwen) -> Vec<(String, Vec<f32>)> {
    let mut model = model.clone();
    let read = |(name, param): (String, Param<'_>)| {
        let data = match param {
            Param::Matrix(w) => w.clone().into_data(),
            Param::Vector(w) => w.clone().into_data(),
        };
        (name, data.try_to_vec().unwrap())
    };
    model.params().into_iter().map(read).collect()
}

fn train(sft: &mut Sft, data: &Dataset, until: usize) -> Vec<posttrain_sft::SftStats> {
    let mut all = Vec::new();
    while sft.progress().step < until {
        all.push(sft.step(&data.batch(sft.progress().position, sft.batch())).unwrap());
    }
    all
}

#[test]
fn four_traces_of_torch_are_followed() {
    for (model, decay) in [("tied", "all"), ("tied", "matrices"), ("untied", "all"), ("untied", "matrices")] {
        let (mut sft, data) = start(model, &config(decay), false);
        let text = std::fs::read_to_string(fixtures().join(format!("{model}-{decay}.json"))).unwrap();
        let trace: Value = serde_json::from_str(&text).unwrap();
        let close = |found: f64, expected: &Value, relative: f64| {
            let expected = expected.as_f64().unwrap();
            assert!(
                (found - expected).abs() <= relative * expected.abs(),
                "{model} {decay}: {found} {expected}"
            );
        };
        for (stats, expected) in train(&mut sft, &data, 20).iter().zip(trace["steps"].as_array().unwrap()) {
            close(stats.loss, &expected["loss"], 1e-5);
            close(stats.grad_norm, &expected["grad_norm"], 1e-4);
            close(stats.lr, &expected["lr"], 1e-12);
            assert_eq!(stats.tokens as u64, expected["trained_tokens"].as_u64().unwrap());
        }
        let file = std::fs::read(fixtures().join(format!("{model}-{decay}-final.safetensors"))).unwrap();
        let file = safetensors::SafeTensors::deserialize(&file).unwrap();
        for (name, found) in weights(sft.model()) {
            let expected = file.tensor(&name).unwrap();
            let expected = expected.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 2e-5, "{model} {decay} {name}: {a} {b}");
            }
        }
    }
}

#[test]
fn micro_batches_change_rounding_only() {
    let whole = config("all");
    let mut parts = whole.clone();
    (parts.trainer.train.batch_size, parts.trainer.train.accumulation) = (1, 4);
    let ((mut a, data), (mut b, _)) = (start("tied", &whole, false), start("tied", &parts, false));
    for (x, y) in train(&mut a, &data, 20).iter().zip(train(&mut b, &data, 20)) {
        assert!((x.loss - y.loss).abs() < 2e-6 * x.loss, "{x:?} {y:?}");
        assert!((x.grad_norm - y.grad_norm).abs() < 1e-5 * x.grad_norm, "{x:?} {y:?}");
    }
}

#[test]
fn a_resumed_run_has_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (place, config) = (dir.path().join("run"), config("all"));
    let (mut whole, data) = start("tied", &config, true);
    let expected = train(&mut whole, &data, 10);

    let (mut first, _) = start("tied", &config, true);
    let mut run = RunFolder::create(&place, "# mine\n").unwrap();
    for stats in train(&mut first, &data, 5) {
        run.log(&stats).unwrap();
    }
    run.checkpoint(first.model(), first.optimizer(), first.progress()).unwrap();
    for stats in train(&mut first, &data, 7) {
        run.log(&stats).unwrap();
    }
    drop((first, run));
    std::fs::create_dir(dir.path().join("run/checkpoints/step-7.part")).unwrap();

    assert!(RunFolder::create(&place, "").is_err());
    let (mut run, resumed) = RunFolder::resume(&place, |_, _| Ok(())).unwrap();
    assert!(RunFolder::config(run.dir()).unwrap().ends_with("# mine\n"));
    assert!(!dir.path().join("run/checkpoints/step-7.part").exists());
    let second = Sft::new(load(&resumed.dir), &config, data.len()).unwrap();
    let mut second = second.resume(&resumed).unwrap();
    let rest = train(&mut second, &data, 10);
    assert_eq!(rest, expected[5..]);
    for stats in &rest {
        run.log(stats).unwrap();
    }
    assert_eq!(weights(whole.model()), weights(second.model()));
    let metrics = std::fs::read_to_string(run.dir().join("metrics.jsonl")).unwrap();
    let lines: Vec<String> = expected.iter().map(|s| serde_json::to_string(s).unwrap()).collect();
    assert_eq!(metrics.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_loss_that_is_not_finite_names_step_and_examples() {
    let (mut sft, _) = start("tied", &config("all"), false);
    let beyond = Example::new("far", vec![1, 1000], 1);
    assert!(sft.step(&[beyond]).unwrap_err().to_string().contains("far"));
    let mut model = sft.into_model();
    model.norm = model.norm * f32::NAN;
    let mut sft = Sft::new(model, &config("all"), 1).unwrap();
    let message = sft.step(&[Example::new("odd", vec![1, 2], 1)]).unwrap_err().to_string();
    assert!(message.contains("step 0") && message.contains("odd"), "{message}");
}
