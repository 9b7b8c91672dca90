//! LoRA adapters against PEFT: logits, files, merging, and every per-head path through an adapter.

use std::path::Path;

use burn::tensor::Device;
use hooks::{Batch, Heads, HookedModel as _, Recorder, Site};
use model_qwen::{Adapter, Checkpoint, Dtype, LoraConfig, Pass, Projection, Qwen};
use serde_json::{Value, json};

use crate::fixtures::{Oracle, apart, fixture, load, values};

/// As for the models alone: some hundred roundings of 6e-8 each.
const TOLERANCE: f32 = 1e-5;

const NAMES: [&str; 4] = ["names", "pattern", "all-linear", "one-layer"];

fn config(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("adapter_config.json")).unwrap()).unwrap()
}

fn base(name: &str) -> Qwen {
    load(&fixture(config(&fixture("lora").join(name))["base_model_name_or_path"].as_str().unwrap()))
}

fn logits(model: &Qwen, batch: &Batch) -> Vec<f32> {
    values(model.forward(batch, Pass::new(&mut ())))
}

#[test]
fn attached_and_merged_adapters_give_pefts_logits() {
    for name in NAMES {
        let dir = fixture("lora").join(name);
        let (model, oracle) = (base(name), Oracle::open(&dir.join("oracle.safetensors")));
        let batch = Batch::new(&oracle.ids("input_ids")).unwrap();
        let expected = oracle.floats("logits").0;
        let adapter = Adapter::open(&dir, &model).unwrap();
        let attached = adapter.attach(&model).unwrap();
        for (how, found) in [("attached", &attached), ("merged", &adapter.merge(&model).unwrap())] {
            let error = apart(&logits(found, &batch), &expected);
            assert!(error < TOLERANCE, "{name} {how}: {error:e}");
        }
        // The base is as it was, and taking the adapter out again is exact up to two roundings of a weight.
        assert!(apart(&logits(&model, &batch), &oracle.floats("logits_base").0) < TOLERANCE);
        let back = adapter.unmerge(&adapter.merge(&model).unwrap()).unwrap();
        for (block, original) in back.blocks.iter().zip(&model.blocks) {
            for which in Projection::ALL {
                let error =
                    apart(&values(block.weight(which).clone()), &values(original.weight(which).clone()));
                assert!(error < 4.0 * f32::EPSILON, "{name} {which:?}: {error:e}");
            }
        }
    }
}

#[test]
fn written_adapters_read_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let model = base(name);
        let adapter = Adapter::open(&fixture("lora").join(name), &model).unwrap();
        let dir = folder.path().join(name);
        adapter.save(&dir).unwrap();
        let again = Adapter::open(&dir, &model).unwrap();
        assert_eq!(adapter.config, again.config);
        let batch = Batch::new(&[vec![5, 4, 3, 2, 1]]).unwrap();
        assert_eq!(
            logits(&adapter.attach(&model).unwrap(), &batch),
            logits(&again.attach(&model).unwrap(), &batch)
        );
        // PEFT's own file has the same tensors under the same names.
        let theirs = std::fs::read(fixture("lora").join(name).join("adapter_model.safetensors")).unwrap();
        let ours = std::fs::read(dir.join("adapter_model.safetensors")).unwrap();
        let (ours, theirs) = (
            safetensors::SafeTensors::deserialize(&ours).unwrap(),
            safetensors::SafeTensors::deserialize(&theirs).unwrap(),
        );
        assert_eq!(ours.len(), theirs.len());
        for (name, view) in theirs.iter() {
            assert_eq!(ours.tensor(name).unwrap().data(), view.data(), "{name}");
        }
    }
}

#[test]
fn per_head_paths_go_through_the_adapter() {
    for name in ["all-linear", "pattern"] {
        let model = base(name);
        let adapter = Adapter::open(&fixture("lora").join(name), &model).unwrap();
        let attached = adapter.attach(&model).unwrap();
        let merged = adapter.merge(&model).unwrap();
        let batch = Batch::new(&[vec![9, 8, 7, 6, 5, 4]]).unwrap();
        let expected = logits(&merged, &batch);
        for ungrouped in [false, true] {
            let sites = (0..model.config.n_layers).flat_map(|l| {
                let (key, value) = if ungrouped {
                    (Heads::KeyInUngrouped(l), Heads::ValueInUngrouped(l))
                } else {
                    (Heads::KeyIn(l), Heads::ValueIn(l))
                };
                [Heads::QueryIn(l), key, value, Heads::Write(l)].map(Site::from)
            });
            let mut seen = Recorder::new(sites);
            let error = apart(&values(attached.forward(&batch, Pass::new(&mut seen))), &expected);
            assert!(error < TOLERANCE, "{name}: {error:e}");
        }
        // The shortcut of attribution: the same vector-Jacobian product as in the merged model.
        let (mut seen, c) = (Recorder::new([hooks::Stream::ResidPre(1).into()]), &model.config);
        attached.forward(&batch, Pass::new(&mut seen));
        let resid = seen.stream(hooks::Stream::ResidPre(1));
        let grad = burn::tensor::Tensor::<4>::ones([1, c.n_heads, 6, c.d_head], &Device::flex());
        for site in [Heads::Query(1), Heads::KeyUngrouped(1), Heads::ValueUngrouped(1)] {
            let pulled = |model: &Qwen| values(model.pull_back(site, &resid, grad.clone()).unwrap());
            let error = apart(&pulled(&attached), &pulled(&merged));
            assert!(error < TOLERANCE, "{name} {site:?}: {error:e}");
        }
    }
}

#[test]
fn only_the_factors_of_a_tracked_adapter_collect_gradients() {
    let model = load(&fixture("qwen2-tied"));
    let adapter = Adapter::new(LoraConfig::new(2, 4.0, &["q_proj", "down_proj"]), &model, 1).unwrap();
    let mut tracked = adapter.attach(&model).unwrap().tracked_adapter();
    let batch = Batch::new(&[vec![1, 2, 3, 4]]).unwrap();
    let loss = |model: &Qwen| model.forward(&batch, Pass::new(&mut ())).square().mean();
    let mut grads = loss(&tracked).backward();
    assert!(model.embed.clone().grad(&grads).is_none());
    let params = tracked.adapter_params();
    assert_eq!(params.len(), 2 * 2 * model.config.n_layers);
    for (name, param) in params {
        let model_qwen::Param::Matrix(w) = param else { panic!("{name} is a matrix") };
        let largest = w.grad_remove(&mut grads).unwrap().abs().max().into_scalar::<f32>();
        // B is zero in a new adapter, so A has no gradient yet, and B has one.
        assert_eq!(largest > 0.0, name.contains("lora_B"), "{name}: {largest}");
    }
}

#[test]
fn what_an_adapter_cannot_be_is_said_with_its_name() {
    let (model, folder) = (load(&fixture("qwen2-tied")), tempfile::tempdir().unwrap());
    let good = fixture("lora/names");
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut raw = config(&good);
        change(&mut raw);
        std::fs::write(folder.path().join("adapter_config.json"), raw.to_string()).unwrap();
        std::fs::copy(
            good.join("adapter_model.safetensors"),
            folder.path().join("adapter_model.safetensors"),
        )
        .unwrap();
        Adapter::open(folder.path(), &model).map(|_| ()).unwrap_err().to_string()
    };
    let cases: [(&str, Value, &str); 14] = [
        ("use_dora", json!(true), "use_dora"),
        ("bias", json!("lora_only"), "bias"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save"),
        ("fan_in_fan_out", json!(true), "fan_in_fan_out"),
        ("layer_replication", json!([[0, 2]]), "layer_replication"),
        ("trainable_token_indices", json!([1]), "trainable_token_indices"),
        ("init_lora_weights", json!("pissa"), "init_lora_weights"),
        ("peft_type", json!("IA3"), "peft_type"),
        ("some_future_option", json!(3), "some_future_option"),
        ("target_modules", json!(["q_proj", "lm_head"]), "lm_head"),
        ("target_modules", json!("("), "regular expression"),
        ("r", json!(0), "`r`"),
        ("r", json!(3), "has shape"),
        ("layers_to_transform", json!([7]), "layers_to_transform"),
    ];
    for (field, value, expected) in cases {
        let message = refused(&|raw| raw[field] = value.clone());
        assert!(message.contains(expected) && !message.contains('\n'), "{field}: {message}");
    }
    // Fewer targets than factors, and more.
    let message = refused(&|raw| raw["target_modules"] = json!(["q_proj"]));
    assert!(message.contains("beside nothing"), "{message}");
    let message = refused(&|raw| raw["target_modules"] = json!("all-linear"));
    assert!(
        message.contains("no tensor `base_model.model.model.layers.0.self_attn.k_proj.lora_A"),
        "{message}"
    );
}

#[test]
fn an_adapted_model_is_not_saved_without_its_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let model = Checkpoint::open(&fixture("qwen2-tied")).unwrap().load(Dtype::F32, &Device::flex()).unwrap();
    let adapter = Adapter::open(&fixture("lora/names"), &model).unwrap();
    let attached = adapter.attach(&model).unwrap();
    let dir = folder.path().join("out");
    assert!(model_qwen::save(&attached, &dir, Dtype::F32, None).unwrap_err().to_string().contains("adapter"));
    assert!(!dir.exists());
    model_qwen::save(&adapter.merge(&model).unwrap(), &dir, Dtype::F32, None).unwrap();
    let batch = Batch::new(&[vec![1, 2, 3]]).unwrap();
    assert!(apart(&logits(&load(&dir), &batch), &logits(&attached, &batch)) < TOLERANCE);
}
