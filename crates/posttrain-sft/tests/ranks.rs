//! Several ranks train with the bits of one process that sums in the same groups; what they save, any number resumes.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use model_qwen::{Adapter, Checkpoint, Dtype, LoraConfig, Param, Qwen};
use posttrain::Resumed;
use posttrain::ranks::{Alone, Ranks, Threads};
use posttrain_sft::{DataConfig, Dataset, Encoder, Sft, SftConfig, SftStats};

const STEPS: usize = 2;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn model(dtype: Dtype, lora: bool) -> Qwen {
    let model =
        Checkpoint::open(&fixtures("sft-trace/untied")).unwrap().load(dtype, &Device::flex()).unwrap();
    if !lora {
        return model;
    }
    let config = LoraConfig { dropout: 0.2, ..LoraConfig::new(4, 8.0, &["q_proj", "down_proj"]) };
    Adapter::new(config, &model, 1).unwrap().attach(&model).unwrap()
}

fn config(groups: usize) -> SftConfig {
    let mut config = SftConfig::default();
    let train = &mut config.trainer.train;
    (train.steps, train.batch_size, train.accumulation, train.groups) = (Some(2 * STEPS), 1, 8, Some(groups));
    config.trainer.optimizer.lr = 1e-3;
    config
}

fn data() -> Dataset {
    Dataset::open(&fixtures("sft-trace/data.jsonl"), &DataConfig::default(), 0, &Encoder::default()).unwrap()
}

type Values = Vec<(String, Vec<f32>)>;

fn values(model: &Qwen) -> Values {
    let mut model = model.clone();
    let params = if model.has_adapter() { model.adapter_params() } else { model.params() };
    let read = |param| match param {
        Param::Matrix(w) => w.clone().into_data().iter::<f32>().collect(),
        Param::Vector(w) => w.clone().into_data().iter::<f32>().collect(),
    };
    params.into_iter().map(|(name, param)| (name, read(param))).collect()
}

fn train(sft: &mut Sft, data: &Dataset) -> Vec<SftStats> {
    (0..STEPS).map(|_| sft.step(&data.batch(sft.progress().position, sft.batch())).unwrap()).collect()
}

/// Steps, then the state in `dir`; the numbers that this rank keeps moments of.
fn first_half(
    start: &Qwen,
    groups: usize,
    dir: &Path,
    ranks: Arc<dyn Ranks>,
) -> (Vec<SftStats>, Values, usize) {
    let (data, is_first) = (data(), ranks.is_first());
    let mut sft = Sft::among(start.clone(), &config(groups), data.len(), ranks).unwrap();
    let stats = train(&mut sft, &data);
    if is_first {
        std::fs::create_dir_all(dir).unwrap();
        sft.optimizer().save(&dir.join("optimizer.safetensors")).unwrap();
    } else {
        sft.optimizer().give_state();
    }
    let owned = sft.optimizer().n_owned();
    (stats, values(&sft.into_model()), owned)
}

#[test]
fn ranks_have_the_bits_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    for (dtype, lora) in [(Dtype::F32, false), (Dtype::Bf16, false), (Dtype::F32, true)] {
        let start = model(dtype, lora);
        for (groups, counts) in [(4, &[1, 2, 4][..]), (3, &[3]), (1, &[1])] {
            let one = first_half(&start, groups, &dir.path().join("one"), Arc::new(Alone));
            let state = std::fs::read(dir.path().join("one/optimizer.safetensors")).unwrap();
            for &count in counts {
                let place = dir.path().join("many");
                let all = Threads::run(count, |ranks| first_half(&start, groups, &place, ranks));
                assert!(all.iter().all(|(stats, values, _)| (stats, values) == (&one.0, &one.1)));
                assert!(std::fs::read(place.join("optimizer.safetensors")).unwrap() == state);
                // Each number has one owner, and no rank more than its part and the largest parameter.
                assert_eq!(all.iter().map(|(.., owned)| owned).sum::<usize>(), one.2);
                let largest = one.1.iter().map(|(_, values)| values.len()).max().unwrap();
                assert!(all.iter().all(|(.., owned)| *owned <= one.2 / count + largest));
            }
        }
    }
}

#[test]
fn what_two_ranks_saved_four_and_one_resume() {
    let dir = tempfile::tempdir().unwrap();
    let (start, data) = (model(Dtype::F32, true), data());
    let mut whole = Sft::new(start.clone(), &config(4), data.len()).unwrap();
    train(&mut whole, &data);
    let progress = whole.progress();
    let trained = whole.model().clone();
    let expected = (train(&mut whole, &data), values(whole.model()));
    Threads::run(2, |ranks| first_half(&start, 4, dir.path(), ranks));
    let resumed = Resumed { dir: dir.path().to_owned(), progress, state: serde_json::Value::Null };
    for count in [4, 1] {
        let all = Threads::run(count, |ranks| {
            let sft = Sft::among(trained.clone(), &config(4), data.len(), ranks).unwrap();
            let mut sft = sft.resume(&resumed).unwrap();
            (train(&mut sft, &data), values(sft.model()))
        });
        assert!(all.iter().all(|found| *found == expected), "{count} ranks");
    }
}

#[test]
fn groups_that_the_ranks_cannot_share_are_refused() {
    let refused = |groups, count: usize| {
        let new = |ranks| Sft::among(model(Dtype::F32, false), &config(groups), 16, ranks).map(drop);
        Threads::run(count, |ranks| new(ranks).unwrap_err().to_string()).remove(0)
    };
    assert!(refused(3, 2).contains("train.groups is 3, expected a multiple of the 2 ranks"));
    assert!(refused(9, 1).contains("train.groups is 9"));
}
