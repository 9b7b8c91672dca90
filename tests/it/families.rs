//! One tiny model of each published family against `transformers`: both styles of `config.json`, padding on
//! either side, sliding windows, and weights in bfloat16.

use burn::tensor::Device;
use hooks::Batch;
use model_qwen::{Checkpoint, Dtype, Pass, Qwen};

use crate::fixtures::{Oracle, apart, fixture, load, values};

/// As for the other models: some hundred roundings of 6e-8 each.
const TOLERANCE: f32 = 1e-5;

const FAMILIES: [&str; 6] =
    ["qwen2-sliding", "r1-qwen", "qwen3-untied", "qwen3-tied-old", "llama32", "r1-llama"];

fn logits(model: &Qwen, batch: &Batch) -> Vec<f32> {
    values(model.forward(batch, Pass::new(&mut ())))
}

#[test]
fn every_family_agrees_with_and_without_padding() {
    for name in FAMILIES {
        let dir = fixture("families").join(name);
        let (model, oracle) = (load(&dir), Oracle::open(&dir.join("oracle.safetensors")));
        let batch = Batch::new(&oracle.ids("input_ids")).unwrap();
        let error = apart(&logits(&model, &batch), &oracle.floats("logits").0);
        assert!(error < TOLERANCE, "{name}: {error:e}");
        for side in ["left", "right"] {
            let ids = oracle.ids(&format!("{side}.input_ids"));
            let mask = oracle.ids(&format!("{side}.attention_mask"));
            let mask: Vec<Vec<u8>> =
                mask.into_iter().map(|row| row.into_iter().map(|m| m as u8).collect()).collect();
            let found = logits(&model, &Batch::masked(&ids, &mask).unwrap());
            let expected = oracle.floats(&format!("{side}.logits")).0;
            let vocab = model.config.vocab;
            for (at, _) in mask.concat().iter().enumerate().filter(|(_, m)| **m == 1) {
                let span = at * vocab..(at + 1) * vocab;
                let error = apart(&found[span.clone()], &expected[span]);
                assert!(error < TOLERANCE, "{name} {side} position {at}: {error:e}");
            }
        }
    }
}

/// KL(p || q) in nats of the two distributions that rows of logits stand for, summed over rows.
fn divergence(p: &[f32], q: &[f32], vocab: usize) -> f64 {
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let max = row.iter().fold(f32::MIN, |m, &x| m.max(x));
        let sum: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
        row.iter().map(|&x| f64::from(x - max) - sum.ln()).collect()
    };
    let kl = |(p, q): (&[f32], &[f32])| -> f64 {
        let (p, q) = (log_softmax(p), log_softmax(q));
        p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum()
    };
    p.chunks(vocab).zip(q.chunks(vocab)).map(kl).sum()
}

#[test]
fn bf16_weights_are_nearer_to_f32_than_a_run_in_bf16() {
    for name in FAMILIES {
        let dir = fixture("families").join(name);
        let oracle = Oracle::open(&dir.join("oracle.safetensors"));
        let batch = Batch::new(&oracle.ids("input_ids")).unwrap();
        let model = Checkpoint::open(&dir).unwrap().load(Dtype::Bf16, &Device::flex()).unwrap();
        let (full, half) = (oracle.floats("logits").0, oracle.floats("logits_bf16").0);
        let ours = divergence(&full, &logits(&model, &batch), model.config.vocab);
        let theirs = divergence(&full, &half, model.config.vocab);
        // Both round the weights; only theirs rounds the activations.
        assert!(ours < theirs, "{name}: {ours:e} against {theirs:e}");
        assert!(ours > 0.0);
        eprintln!("{name}: KL from f32 {ours:.2e}, of transformers in bf16 {theirs:.2e}");
    }
}
