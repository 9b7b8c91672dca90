//! Rotary settings against `transformers`: frequencies, attention factors, and logits near and far beyond the
//! original context, wherever `config.json` has the settings (`tools/oracles/rope.py`).
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use hooks::{Batch, Rows};
use model_qwen::{Config, Pass, Qwen, Request, Sampling, generate};
use serde_json::Value;

fn read(name: &str) -> Value {
    let path = format!("{}/testdata/rope/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Powers in f32 differ by one unit in the last place between libraries, and two operations follow.
const FREQUENCY: f64 = 3.0 * f32::EPSILON as f64;

#[test]
fn frequencies_and_attention_factors_of_published_models() {
    let (mut values, mut exact) = (0, 0);
    for case in read("frequencies.json").as_array().unwrap() {
        let config = Config::parse(&case["config"].to_string()).unwrap();
        let found = config.rope_frequencies(case["length"].as_u64().unwrap() as usize);
        let expected = floats(&case["frequencies"]);
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(&expected) {
            let error = (f64::from(*f) - e).abs() / e;
            assert!(error < FREQUENCY, "{} at {}: {f} for {e}", case["name"], case["length"]);
            values += 1;
            exact += usize::from(f64::from(*f) == *e);
        }
        let factor = case["attention_factor"].as_f64().unwrap();
        assert!((config.rope_scaling.attention_factor() - factor).abs() < 1e-12, "{}", case["name"]);
    }
    // Which of them round as torch does depends on its build; most do.
    assert!(exact * 10 > values * 8, "{exact} of {values}");
}

#[test]
fn logits_before_and_beyond_the_original_context() {
    let path = format!("{}/testdata/rope/model.safetensors", env!("CARGO_MANIFEST_DIR"));
    let (weights, file) = (std::fs::read(path).unwrap(), read("logits.json"));
    let ids: Vec<u32> = file["ids"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect();
    for case in file["cases"].as_array().unwrap() {
        let model = Qwen::from_bytes(&case["config"].to_string(), &weights, &Device::flex()).unwrap();
        for (n, expected) in case["logits"].as_object().unwrap() {
            let prompt = ids[..n.parse().unwrap()].to_vec();
            let batch = Batch::new(&[prompt]).unwrap().rows(Rows::Last);
            let found: Vec<f32> = model.forward(&batch, Pass::new(&mut ())).into_data().try_to_vec().unwrap();
            let expected = floats(expected);
            let scale = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
            for (f, e) in found.iter().zip(&expected) {
                let error = (f64::from(*f) - e).abs() / scale;
                assert!(error < 1e-5, "{} after {n}: {error:e}", case["name"]);
            }
        }
    }
}

/// A batch of rows of 20, 64, 65 and 900 tokens, padded on either side: each row has the logits that `transformers`
/// has for it alone. Dynamic and longrope scaling go by a row's own length.
#[test]
fn a_row_has_the_same_logits_in_any_batch() {
    let path = format!("{}/testdata/rope/model.safetensors", env!("CARGO_MANIFEST_DIR"));
    let (weights, file) = (std::fs::read(path).unwrap(), read("logits.json"));
    let ids: Vec<u32> = file["ids"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect();
    let by_length = |case: &&Value| ["dynamic", "longrope", "yarn"].contains(&case["name"].as_str().unwrap());
    let cases: Vec<&Value> = file["cases"].as_array().unwrap().iter().filter(by_length).collect();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let model = Qwen::from_bytes(&case["config"].to_string(), &weights, &Device::flex()).unwrap();
        let expected: Vec<(usize, Vec<f64>)> = case["logits"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(n, logits)| (n.parse().unwrap(), floats(logits)))
            .collect();
        let rows: Vec<Vec<u32>> = expected.iter().map(|(n, _)| ids[..*n].to_vec()).collect();
        // Packed, the documents of 20 and 65 tokens follow each other, and so do those of 64 and 900.
        let packed = [vec![rows[0].clone(), rows[2].clone()], vec![rows[1].clone(), rows[3].clone()]];
        let packed = Batch::packed(&packed).unwrap();
        let padded =
            [Batch::new(&rows).unwrap(), Batch::left_padded(&rows).unwrap()].map(|b| b.rows(Rows::Last));
        let vocab = model.config.vocab;
        for batch in padded.iter().chain([&packed]) {
            let logits = model.forward(batch, Pass::new(&mut ()));
            let found: Vec<f32> = logits.into_data().try_to_vec().unwrap();
            let last = |row: usize, at: usize| &found[(row * batch.seq() + at) * vocab..][..vocab];
            let found: Vec<&[f32]> = match batch.documents() {
                None => found.chunks(vocab).collect(),
                Some(ends) => (0..4).map(|i| last(i % 2, ends[i % 2][i / 2] - 1)).collect(),
            };
            for ((n, expected), found) in expected.iter().zip(found) {
                let scale = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
                for (f, e) in found.iter().zip(expected) {
                    let error = (f64::from(*f) - e).abs() / scale;
                    assert!(error < 1e-5, "{} after {n}: {error:e}", case["name"]);
                }
            }
        }
    }
}

/// In a generation the step after a short prompt does not see the length of a long one beside it.
#[test]
fn a_generation_has_the_same_tokens_in_any_batch() {
    let path = format!("{}/testdata/rope/model.safetensors", env!("CARGO_MANIFEST_DIR"));
    let (weights, file) = (std::fs::read(path).unwrap(), read("logits.json"));
    let ids: Vec<u32> = file["ids"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect();
    for name in ["dynamic", "longrope"] {
        let case = file["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
        let model = Qwen::from_bytes(&case["config"].to_string(), &weights, &Device::flex()).unwrap();
        let request = |n: usize| Request { prompt: ids[..n].to_vec(), stream: 0, origin: 0 };
        let how = Sampling { max_tokens: 60, temperature: 0.0, ..Sampling::default() };
        let of = |requests: &[Request]| generate(&model, requests, &how, &mut (), |_, _| true).unwrap();
        // 10 + 60 tokens pass both original contexts (16 and 64) while the row runs.
        let (alone, together) = (of(&[request(10)]), of(&[request(10), request(200)]));
        assert_eq!(alone[0].ids, together[0].ids, "{name}");
        for (a, b) in alone[0].logprobs.iter().zip(&together[0].logprobs) {
            // The tolerance of the logits above, of values up to 6.
            assert!((a - b).abs() < 6e-5, "{name}: {a} and {b}");
        }
    }
}
