//! Packing: TRL's rows and loss, documents that do not see each other, the same step as without packing, weights.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use hooks::Batch;
use model_qwen::{Checkpoint, Dtype, Qwen};
use posttrain::TokenLogProbs;
use posttrain::rows::DataRow;
use posttrain_sft::{Columns, DataConfig, Dataset, Encoder, Example, Packing, Sft, SftConfig, Turns};
use serde_json::{Value, json};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn model() -> Qwen {
    Checkpoint::open(&fixtures("sft-forms")).unwrap().load(Dtype::F32, &Device::flex()).unwrap()
}

fn config(packing: Packing, max_length: usize) -> DataConfig {
    DataConfig { packing, max_length, shuffle: false, ..DataConfig::default() }
}

/// Training with one step of `rows` rows in each forward pass and nothing clipped.
fn sft(rows: usize, passes: usize) -> Sft {
    let mut config = SftConfig::default();
    (config.trainer.train.batch_size, config.trainer.train.accumulation) = (rows, passes);
    (config.trainer.train.steps, config.trainer.optimizer.max_grad_norm) = (Some(1), 0.0);
    Sft::new(model(), &config, 1).unwrap()
}

fn examples(rows: &[Value]) -> Vec<Example> {
    let encoder = Encoder::of(&Checkpoint::open(&fixtures("sft-forms")).unwrap()).unwrap();
    let one = |(at, value): (usize, &Value)| {
        let fields = value.as_object().unwrap().clone();
        let row = DataRow { place: format!("line {}", at + 1), number: at + 1, fields };
        encoder.row(row, &Columns::default(), Turns::All, &mut BTreeSet::new()).unwrap().remove(0)
    };
    rows.iter().enumerate().map(one).collect()
}

fn lengths(row: &Example) -> Vec<usize> {
    row.documents.iter().map(|document| document.tokens).collect()
}

#[test]
fn rows_and_loss_are_those_of_trl() {
    let cases: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(fixtures("sft-packing/cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let packing: Packing = serde_json::from_value(case["packing"].clone()).unwrap();
        let config = config(packing, case["max_length"].as_u64().unwrap() as usize);
        let rows: Vec<Value> = match case["many"].as_u64() {
            None => case["rows"].as_array().unwrap().clone(),
            Some(n) => (0..n)
                .map(|i| {
                    let more = vec![4; ((i * 7919) % 23) as usize];
                    let ids = [vec![4 + i / 250, 4 + i % 250], more].concat();
                    json!({ "input_ids": ids })
                })
                .collect(),
        };
        let data = Dataset::new(examples(&rows), &config, 0).unwrap();
        if let Some(numbers) = case["numbers"].as_array() {
            let number = |id: &str| id.split(", ").map(|n| n.parse::<u64>().unwrap() - 1).collect();
            let rows: Vec<Vec<u64>> = data.examples().iter().map(|row| number(&row.id)).collect();
            assert!(json!(rows) == json!(numbers), "{packing:?}");
        } else {
            let rows: Vec<Value> = data.examples().iter().map(|row| json!([row.ids, lengths(row)])).collect();
            assert_eq!(&json!(rows), &case["packed"], "{packing:?}");
        }
        let stats = sft(data.len(), 1).step(data.examples()).unwrap();
        assert_eq!(stats.tokens as u64, case["tokens"].as_u64().unwrap());
        let expected = case["loss"].as_f64().unwrap();
        assert!(
            (stats.loss - expected).abs() < 1e-5 * expected,
            "{packing:?}: {} for {expected}",
            stats.loss
        );
    }
}

/// Fourteen prompts with completions.
fn pairs() -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures("sft-packing/cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    cases[2]["rows"].as_array().unwrap().clone()
}

#[test]
fn a_packed_step_is_the_step_without_packing() {
    let (mut apart, mut packed) = (sft(5, 3), sft(2, 4));
    let alone = Dataset::new(examples(&pairs()), &config(Packing::None, 40), 0).unwrap();
    let rows = Dataset::new(examples(&pairs()), &config(Packing::Bfd, 40), 0).unwrap();
    assert!(rows.len() < alone.len() && rows.report.examples == alone.len());
    let (a, b) = (apart.step(alone.examples()).unwrap(), packed.step(rows.examples()).unwrap());
    assert_eq!((a.tokens, a.tokens_seen), (b.tokens, b.tokens_seen));
    // The same f32 numbers summed in another order.
    assert!((a.loss - b.loss).abs() < 1e-6 * a.loss, "{} {}", a.loss, b.loss);
    assert!((a.grad_norm - b.grad_norm).abs() < 1e-5 * a.grad_norm, "{} {}", a.grad_norm, b.grad_norm);
    let evaluated = [alone, rows].map(|data| sft(3, 1).evaluate(data.examples()).unwrap().mean_loss());
    assert!((evaluated[0] - evaluated[1]).abs() < 1e-6 * evaluated[0]);
}

/// Blocks that are run again give the bits of those that were stored, packed documents included.
#[test]
fn a_packed_step_has_the_bits_of_a_recomputed_one() {
    let rows = Dataset::new(examples(&pairs()), &config(Packing::Bfd, 40), 0).unwrap();
    let weights = |recompute: bool| {
        let mut config = SftConfig::default();
        (config.trainer.train.batch_size, config.trainer.train.accumulation) = (2, 4);
        (config.trainer.train.steps, config.trainer.train.recompute) = (Some(2), recompute);
        config.trainer.optimizer.lr = 1e-2;
        let mut sft = Sft::new(model(), &config, rows.len()).unwrap();
        let first = sft.step(rows.examples()).unwrap();
        let second = sft.step(rows.examples()).unwrap();
        assert!(second.loss < first.loss);
        let folder = tempfile::tempdir().unwrap();
        model_qwen::save_as_held(sft.model(), folder.path(), None).unwrap();
        let held = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        ([first.loss, second.loss, first.grad_norm, second.grad_norm].map(f64::to_bits), held)
    };
    assert!(weights(true) == weights(false));
}

#[test]
fn a_document_does_not_change_another_ones_log_probabilities() {
    let model = model();
    let log_probs = |first: u32| -> Vec<f32> {
        let documents = vec![vec![first, 14, first, 18, 6, 90], vec![5, 14, 5, 18, 6], vec![40, 41, 42]];
        let batch = Batch::packed(&[documents]).unwrap();
        // Predictions of all tokens but each document's first.
        let positions = [0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12];
        let targets = positions.iter().map(|&at| batch.ids()[at + 1]).collect();
        TokenLogProbs::new(&model, &batch, &positions, targets, 1.0).unwrap().values()
    };
    let (before, after) = (log_probs(5), log_probs(70));
    assert_ne!(before[..5], after[..5]);
    assert_eq!(before[5..], after[5..]);
}

#[test]
fn rows_are_shuffled_as_they_are_and_an_epoch_has_each_once() {
    let config = DataConfig { shuffle: true, ..config(Packing::Bfd, 40) };
    let data = Dataset::new(examples(&pairs()), &config, 3).unwrap();
    let n = data.len() as u64;
    let epoch = |at: u64| [data.batch(at * n, 4), data.batch(at * n + 4, 40)].concat();
    for at in 0..3 {
        let mut rows: Vec<String> = epoch(at).into_iter().map(|row| row.id).collect();
        assert_eq!(rows.len() as u64, n);
        rows.sort();
        let mut all: Vec<String> = data.examples().iter().map(|row| row.id.clone()).collect();
        all.sort();
        assert_eq!(rows, all);
    }
    assert_ne!(epoch(0), epoch(1));
}

#[test]
fn a_weight_counts_a_row_as_often() {
    let (pairs, tokens) =
        (pairs(), |rows: &[Value]| examples(rows).iter().map(Example::tokens).sum::<usize>());
    let mut weighted = pairs.clone();
    weighted[0]["weight"] = json!(2);
    weighted[1]["weight"] = json!(0.5);
    weighted[2]["weight"] = json!(0);
    // Twice each but the last three: four, one and no time.
    let copies = |at: usize| [4, 1, 0].get(at).copied().unwrap_or(2);
    let repeated: Vec<Value> = (0..pairs.len()).flat_map(|at| vec![pairs[at].clone(); copies(at)]).collect();
    for packing in [Packing::None, Packing::Bfd] {
        let data = |rows: &[Value]| Dataset::new(examples(rows), &config(packing, 40), 0).unwrap();
        let (few, many) = (data(&weighted), data(&repeated));
        assert_eq!(few.report.untrained, 1);
        let a = sft(few.len(), 1).step(few.examples()).unwrap();
        let b = sft(many.len(), 1).step(many.examples()).unwrap();
        assert_eq!(a.tokens, tokens(&pairs) - tokens(&pairs[2..3]));
        assert!((a.loss - b.loss).abs() < 1e-6 * b.loss, "{} {}", a.loss, b.loss);
        assert!((a.grad_norm - b.grad_norm).abs() < 1e-5 * b.grad_norm, "{} {}", a.grad_norm, b.grad_norm);
        let evaluated = [&few, &many].map(|data| sft(3, 1).evaluate(data.examples()).unwrap().mean_loss());
        assert!((evaluated[0] - evaluated[1]).abs() < 1e-6 * evaluated[0]);
    }
}
