//! A loss or a gradient that is not finite ends the run where it is.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use model_qwen::{Config, Param, Qwen};
use posttrain_sft::{DataConfig, Dataset, Encoder, Sft, SftConfig};

fn model(poisoned: Option<(&str, f32)>) -> Qwen {
    let text = r#"{"architectures":["Qwen2ForCausalLM"],"num_hidden_layers":1,"hidden_size":16,
        "num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":24,"vocab_size":11,
        "tie_word_embeddings":false,"initializer_range":0.3}"#;
    let mut model = model_qwen::random(Config::parse(text).unwrap(), 3, &Device::flex());
    for (name, param) in model.params() {
        if let (Param::Vector(w), Some((_, by))) = (param, poisoned.filter(|(p, _)| *p == name)) {
            *w = w.clone() * by;
        }
    }
    model
}

fn values(model: &mut Qwen) -> Vec<u32> {
    let all = model.params().into_iter().flat_map(|(_, param)| match param {
        Param::Matrix(w) => w.clone().into_data().iter::<f32>().collect::<Vec<_>>(),
        Param::Vector(w) => w.clone().into_data().iter::<f32>().collect(),
    });
    all.map(f32::to_bits).collect()
}

#[test]
fn step_rows_and_parameter_are_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.jsonl");
    std::fs::write(&path, "{\"input_ids\": [1, 2, 3]}\n\n{\"id\": \"b\", \"input_ids\": [4, 5]}\n").unwrap();
    let data = DataConfig { shuffle: false, ..DataConfig::default() };
    let data = Dataset::open(&path, &data, 0, &Encoder::default()).unwrap();
    let mut sft = Sft::new(model(Some(("model.norm.weight", f32::NAN))), &SftConfig::default(), 2).unwrap();
    let error = sft.step(data.examples()).unwrap_err();
    let message = error.to_string();
    for part in ["step 0", "line 1", "b (line 3)", "loss is NaN", "gradient of ", "weight"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(error.is_internal());
    assert_eq!((sft.progress().step, sft.optimizer().updates()), (0, 0));
    let mut before = model(Some(("model.norm.weight", f32::NAN)));
    assert_eq!(values(&mut sft.into_model()), values(&mut before));
    // A sound model makes the same step.
    Sft::new(model(None), &SftConfig::default(), 2).unwrap().step(data.examples()).unwrap();
}
