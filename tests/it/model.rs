//! model-qwen against `transformers`: logits, hidden states, attention, padding, on random tiny models.

use hooks::{Batch, Heads, Recorder, Site, Stream};
use model_qwen::{Checkpoint, Config, Dtype, Pass, Qwen};

use crate::fixtures::{Oracle, apart, fixture, load, values};

/// Two f32 implementations of a three-layer model: some hundred roundings of 6e-8 each.
const TOLERANCE: f32 = 1e-5;

fn logits(model: &Qwen, batch: &Batch) -> Vec<f32> {
    values(model.forward(batch, Pass::new(&mut ())))
}

#[test]
fn logits_of_every_family_are_those_of_transformers() {
    for name in ["qwen2-tied", "llama-untied", "llama3-rope", "qwen3"] {
        let (model, oracle) = (load(&fixture(name)), Oracle::open(&fixture(name).join("oracle.safetensors")));
        let batch = Batch::new(&oracle.ids("input_ids")).unwrap();
        let error = apart(&logits(&model, &batch), &oracle.floats("logits").0);
        assert!(error < TOLERANCE, "{name}: {error:e}");
    }
}

#[test]
fn both_spellings_of_rope_scaling_are_one_model() {
    let dir = fixture("llama3-rope");
    let old = std::fs::read_to_string(dir.join("config-rope_scaling.json")).unwrap();
    let weights = std::fs::read(dir.join("model.safetensors")).unwrap();
    let old = Qwen::from_bytes(&old, &weights, &burn::tensor::Device::flex()).unwrap();
    let batch = Batch::new(&[(0..40).collect()]).unwrap();
    assert_eq!(logits(&old, &batch), logits(&load(&dir), &batch));
}

#[test]
fn every_recorded_site_is_that_of_transformers() {
    let dir = fixture("qwen2-tied");
    let (model, oracle) = (load(&dir), Oracle::open(&dir.join("oracle.safetensors")));
    let batch = Batch::new(&oracle.ids("input_ids")).unwrap();
    let mut sites: Vec<Site> =
        vec![Stream::Embed.into(), Stream::Normalized.into(), Stream::FinalNorm.into()];
    for l in 0..3 {
        let streams = [
            Stream::ResidPre(l),
            Stream::ResidMid(l),
            Stream::ResidPost(l),
            Stream::AttnOut(l),
            Stream::MlpOut(l),
        ];
        sites.extend(streams.map(Site::from));
        let heads = [Heads::Query(l), Heads::Key(l), Heads::Value(l), Heads::Pattern(l), Heads::Z(l)];
        sites.extend(heads.map(Site::from));
    }
    let mut seen = Recorder::new(sites);
    model.forward(&batch, Pass::new(&mut seen));
    let check = |name: String, found: Vec<f32>| {
        let error = apart(&found, &oracle.floats(&name).0);
        assert!(error < TOLERANCE, "{name}: {error:e}");
    };
    check("hidden.0".into(), values(seen.stream(Stream::Embed)));
    check("hidden.3".into(), values(seen.stream(Stream::FinalNorm)));
    let weight = model.norm.clone();
    check("hidden.3".into(), values(seen.stream(Stream::Normalized) * weight.unsqueeze()));
    for l in 0..3 {
        check(format!("resid_pre.{l}"), values(seen.stream(Stream::ResidPre(l))));
        check(format!("resid_mid.{l}"), values(seen.stream(Stream::ResidMid(l))));
        check(format!("resid_post.{l}"), values(seen.stream(Stream::ResidPost(l))));
        check(format!("attn_out.{l}"), values(seen.stream(Stream::AttnOut(l))));
        check(format!("mlp_out.{l}"), values(seen.stream(Stream::MlpOut(l))));
        check(format!("attn.{l}"), values(seen.heads(Heads::Pattern(l))));
        // Recorded as [batch, seq, heads * d_head]; seen as [batch, heads, seq, d_head].
        let side_by_side = |site| values(seen.heads(site).swap_dims(1, 2));
        check(format!("q_proj.{l}"), side_by_side(Heads::Query(l)));
        check(format!("k_proj.{l}"), side_by_side(Heads::Key(l)));
        check(format!("v_proj.{l}"), side_by_side(Heads::Value(l)));
        check(format!("z.{l}"), side_by_side(Heads::Z(l)));
    }
}

#[test]
fn padding_on_either_side_changes_nothing() {
    let dir = fixture("qwen2-tied");
    let (model, oracle) = (load(&dir), Oracle::open(&dir.join("oracle.safetensors")));
    for side in ["left", "right"] {
        let ids = oracle.ids(&format!("{side}.input_ids"));
        let mask: Vec<Vec<u8>> = oracle
            .ids(&format!("{side}.attention_mask"))
            .into_iter()
            .map(|row| row.into_iter().map(|m| m as u8).collect())
            .collect();
        let batch = Batch::masked(&ids, &mask).unwrap();
        let (found, expected) = (logits(&model, &batch), oracle.floats(&format!("{side}.logits")).0);
        let vocab = model.config.vocab;
        for (row, mask) in mask.iter().enumerate() {
            for at in (0..11).filter(|&at| mask[at] == 1) {
                let span = (row * 11 + at) * vocab..(row * 11 + at + 1) * vocab;
                let error = apart(&found[span.clone()], &expected[span]);
                assert!(error < TOLERANCE, "{side} row {row} position {at}: {error:e}");
            }
        }
    }
}

#[test]
fn the_empty_hook_and_a_recorder_change_no_bit() {
    let model = load(&fixture("qwen2-tied"));
    let batch = Batch::new(&[vec![1, 2, 3, 4, 5], vec![9, 8]]).unwrap();
    let plain = logits(&model, &batch);
    let mut everything_shared = Recorder::new((0..3).flat_map(|l| {
        [
            Site::from(Stream::ResidMid(l)),
            Heads::Z(l).into(),
            Heads::Query(l).into(),
            Heads::Pattern(l).into(),
        ]
    }));
    assert_eq!(plain, values(model.forward(&batch, Pass::new(&mut everything_shared))));
    assert_eq!(plain, values(model.forward(&batch, Pass::new(&mut ((), ())))));
}

#[test]
fn reading_per_head_agrees_with_reading_once() {
    for name in ["qwen2-tied", "qwen3", "llama-untied"] {
        let model = load(&fixture(name));
        let batch = Batch::new(&[vec![1, 2, 3, 4, 5, 6, 7]]).unwrap();
        let plain = logits(&model, &batch);
        for ungrouped in [false, true] {
            let sites = (0..model.config.n_layers).flat_map(|l| {
                let (key, value) = if ungrouped {
                    (Heads::KeyInUngrouped(l), Heads::ValueInUngrouped(l))
                } else {
                    (Heads::KeyIn(l), Heads::ValueIn(l))
                };
                [Heads::QueryIn(l), key, value, Heads::Write(l), Heads::Scores(l)].map(Site::from)
            });
            let mut seen = Recorder::new(sites);
            let error = apart(&values(model.forward(&batch, Pass::new(&mut seen))), &plain);
            assert!(error < TOLERANCE, "{name}: {error:e}");
        }
    }
}

#[test]
fn a_saved_model_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["qwen2-tied", "qwen3", "llama-untied"] {
        let (model, dir) = (load(&fixture(name)), folder.path().join(name));
        model_qwen::save(&model, &dir, Dtype::F32, Some(&fixture(name))).unwrap();
        let batch = Batch::new(&[vec![3, 1, 4, 1, 5]]).unwrap();
        assert_eq!(logits(&model, &batch), logits(&load(&dir), &batch));
    }
}

#[test]
fn a_model_saved_in_shards_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let (model, dir) = (load(&fixture("qwen3")), folder.path().join("sharded"));
    // Twenty kilobytes a file: some tensors fill one alone.
    model_qwen::save_sharded(&model, &dir, Dtype::F32, None, 20_000).unwrap();
    let mut shards = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let (path, size) = entry.map(|e| (e.path(), e.metadata().unwrap().len())).unwrap();
        if path.extension().is_some_and(|e| e == "safetensors") {
            shards += 1;
            // A header of a few hundred bytes; the embedding and the MLP's matrices are smaller than the limit.
            assert!(size < 22_000, "{}: {size}", path.display());
        }
    }
    assert!(shards >= 3, "{shards}");
    let index = std::fs::read_to_string(dir.join("model.safetensors.index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["metadata"]["total_size"], 4 * model.config.n_params());
    assert!(!dir.join("model.safetensors").exists());
    let batch = Batch::new(&[vec![3, 1, 4, 1, 5]]).unwrap();
    assert_eq!(logits(&model, &batch), logits(&load(&dir), &batch));
}

#[test]
fn reduced_precision_is_close_and_named_sizes_are_right() {
    let dir = fixture("qwen2-tied");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let full = load(&dir);
    let batch = Batch::new(&[vec![3, 1, 4, 1, 5]]).unwrap();
    for (dtype, bits) in [(Dtype::Bf16, 8), (Dtype::F16, 11)] {
        let model = checkpoint.load(dtype, &burn::tensor::Device::flex()).unwrap();
        // Weights rounded to `bits` bits; three layers of a random model amplify that by tens.
        let error = apart(&logits(&model, &batch), &logits(&full, &batch));
        assert!(error < 40.0 * 2f32.powi(-bits), "{dtype:?}: {error:e}");
        assert!(error > 0.0);
    }
    let mut model = full;
    let n: usize = model
        .params()
        .into_iter()
        .map(|(_, p)| match p {
            model_qwen::Param::Matrix(w) => w.dims().iter().product::<usize>(),
            model_qwen::Param::Vector(w) => w.dims()[0],
        })
        .sum();
    assert_eq!(n as u64, model.config.n_params());
}

/// A copy of a fixture's folder with one file changed.
fn broken(name: &str, change: impl Fn(&std::path::Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    change(folder.path());
    let opened = Checkpoint::open(folder.path());
    match opened.and_then(|c| c.load(Dtype::F32, &burn::tensor::Device::flex())) {
        Ok(_) => panic!("a broken checkpoint was loaded"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn broken_checkpoints_say_what_is_wrong_in_one_line() {
    let rewrite = |file: &'static str, f: fn(Vec<u8>) -> Vec<u8>| {
        move |dir: &std::path::Path| {
            let path = dir.join(file);
            std::fs::write(&path, f(std::fs::read(&path).unwrap())).unwrap();
        }
    };
    let cases: Vec<(String, &str)> = vec![
        (
            broken("llama-untied", |d| {
                std::fs::remove_file(d.join("model-00002-of-00003.safetensors")).unwrap()
            }),
            "model-00002",
        ),
        (
            broken("qwen2-tied", |d| std::fs::remove_file(d.join("model.safetensors")).unwrap()),
            "neither model.safetensors",
        ),
        (broken("qwen2-tied", rewrite("model.safetensors", |b| b[..b.len() - 5].to_vec())), "truncated"),
        (broken("qwen2-tied", rewrite("model.safetensors", |b| b[..4].to_vec())), "not a safetensors file"),
        (
            broken(
                "qwen2-tied",
                rewrite("model.safetensors", |mut b| {
                    b[7] = 0x7f;
                    b
                }),
            ),
            "not a safetensors file",
        ),
        (
            broken(
                "qwen2-tied",
                rewrite("model.safetensors", |mut b| {
                    let n = b.len();
                    b[n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
                    b
                }),
            ),
            "NaN or infinity in `",
        ),
        (
            broken(
                "qwen2-tied",
                rewrite("config.json", |b| {
                    String::from_utf8(b)
                        .unwrap()
                        .replace("\"hidden_size\": 32", "\"hidden_size\": 64")
                        .into_bytes()
                }),
            ),
            "has shape",
        ),
        (
            broken(
                "qwen2-tied",
                rewrite("config.json", |b| {
                    String::from_utf8(b).unwrap().replace("Qwen2ForCausalLM", "MambaForCausalLM").into_bytes()
                }),
            ),
            "MambaForCausalLM",
        ),
        (broken("qwen2-tied", rewrite("config.json", |_| b"{".to_vec())), "config.json"),
        (
            broken(
                "llama-untied",
                rewrite("model.safetensors.index.json", |b| {
                    String::from_utf8(b).unwrap().replace("model-00001", "../model-00001").into_bytes()
                }),
            ),
            "expected the name of a file in this folder",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn configurations_that_cannot_run_are_refused() {
    let text = std::fs::read_to_string(fixture("qwen2-tied/config.json")).unwrap();
    assert!(Config::parse(&text.replace("\"silu\"", "\"gelu\"")).is_err());
}
