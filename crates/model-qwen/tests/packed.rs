//! Packed rows: each document as if it were alone, whatever lies beside it.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor};
use hooks::{Batch, Heads, Recorder};
use model_qwen::{Config, Pass, Qwen, random};
use serde_json::{Value, json};

fn model(more: Value) -> Qwen {
    let mut config = json!({
        "architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 2, "hidden_size": 16, "vocab_size": 20,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24,
        "tie_word_embeddings": true, "initializer_range": 0.3, "max_position_embeddings": 64
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    random(Config::parse(&config.to_string()).unwrap(), 0, &Device::flex())
}

fn document(n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i + 7 * i * seed + seed) % 20) as u32).collect()
}

fn logits(model: &Qwen, batch: &Batch) -> Tensor<3> {
    model.forward(batch, Pass::new(&mut ()))
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

/// Documents of unequal rows, one of several blocks of queries.
fn rows() -> Vec<Vec<Vec<u32>>> {
    vec![vec![document(70, 1), document(1, 2), document(9, 3)], vec![document(12, 4), document(30, 5)]]
}

fn part(x: &Tensor<3>, row: usize, start: usize, n: usize) -> Vec<f32> {
    values(x.clone().slice([row..row + 1, start..start + n, 0..20]))
}

#[test]
fn a_packed_document_has_the_logits_that_it_has_alone() {
    let qwen3 = json!({"architectures": ["Qwen3ForCausalLM"], "head_dim": 4});
    let windows = json!({"use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1});
    let yarn =
        json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}});
    for more in [json!({}), qwen3, windows, yarn] {
        let (model, rows) = (model(more.clone()), rows());
        let packed = logits(&model, &Batch::packed(&rows).unwrap());
        // The pattern makes the run hold whole rows of scores.
        let mut seen = Recorder::new([Heads::Pattern(0).into(), Heads::Pattern(1).into()]);
        let whole = model.forward(&Batch::packed(&rows).unwrap(), Pass::new(&mut seen));
        for (row, documents) in rows.iter().enumerate() {
            let mut start = 0;
            for document in documents {
                let n = document.len();
                let alone = values(logits(&model, &Batch::new(std::slice::from_ref(document)).unwrap()));
                let scale = alone.iter().fold(0f32, |m, x| m.max(x.abs()));
                for packed in [part(&packed, row, start, n), part(&whole, row, start, n)] {
                    // Sums in another order: 16 to 70 terms in each of a dozen products.
                    let apart = packed.iter().zip(&alone).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                    assert!(apart < 1e-5 * scale, "{more}: row {row} from {start}: {apart} of {scale}");
                }
                start += n;
            }
        }
    }
}

#[test]
fn nothing_of_another_document_is_seen() {
    let (model, rows) = (model(json!({})), rows());
    let before = logits(&model, &Batch::packed(&rows).unwrap());
    let mut changed = rows.clone();
    changed[0][0] = document(70, 8);
    let after = logits(&model, &Batch::packed(&changed).unwrap());
    assert_ne!(part(&before, 0, 0, 70), part(&after, 0, 0, 70));
    // Bit for bit: what follows it in its row, and the other row.
    assert_eq!(part(&before, 0, 70, 10), part(&after, 0, 70, 10));
    assert_eq!(part(&before, 1, 0, 42), part(&after, 1, 0, 42));
}
