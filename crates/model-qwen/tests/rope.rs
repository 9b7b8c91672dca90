//! Rotary settings against `transformers`: frequencies, attention factors, and logits near and far beyond the
//! original context, wherever `config.json` has the settings (`tools/oracles/rope.py`).
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use hooks::{Batch, Rows};
use model_qwen::{Config, Pass, Qwen};
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
