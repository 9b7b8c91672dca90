//! Checkpoints in every layout that people have: biases, names without a prefix, tied models that store one of two
//! tensors, links, other dtypes, values that a dtype cannot hold.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use hooks::{Batch, Heads, Recorder, Rows, Stream};
use model_qwen::{Checkpoint, Config, Dtype, Pass, Qwen, save};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as FileDtype, TensorView};
use serde_json::{Value, json};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn last_logits(model: &Qwen, ids: &[u32]) -> Vec<f32> {
    let batch = Batch::new(&[ids.to_vec()]).unwrap().rows(Rows::Last);
    model.forward(&batch, Pass::new(&mut ())).into_data().try_to_vec().unwrap()
}

/// The tied model of `testdata/biases/llama.*`: its configuration and its tensors.
struct Parts {
    config: Value,
    tensors: Vec<(String, FileDtype, Vec<usize>, Vec<u8>)>,
}

const IDS: [u32; 5] = [3, 1, 4, 1, 5];

impl Parts {
    fn read() -> Self {
        let text = std::fs::read(testdata("biases/llama.json")).unwrap();
        let mut case: Value = serde_json::from_slice(&text).unwrap();
        let bytes = std::fs::read(testdata("biases/llama.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let own = |(name, view): (String, TensorView<'_>)| {
            (name, view.dtype(), view.shape().to_vec(), view.data().to_vec())
        };
        Self { config: case["config"].take(), tensors: file.tensors().into_iter().map(own).collect() }
    }

    fn rename(mut self, f: impl Fn(&str) -> String) -> Self {
        for (name, ..) in &mut self.tensors {
            *name = f(name);
        }
        self
    }

    fn bytes(&self, keep: impl Fn(&str) -> bool) -> Vec<u8> {
        let views: HashMap<&str, TensorView<'_>> = self
            .tensors
            .iter()
            .filter(|(name, ..)| keep(name))
            .map(|(name, dtype, shape, data)| {
                (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
            })
            .collect();
        safetensors::serialize(views, None).unwrap()
    }

    fn write(&self, dir: &Path) {
        std::fs::write(dir.join("config.json"), self.config.to_string()).unwrap();
        std::fs::write(dir.join("model.safetensors"), self.bytes(|_| true)).unwrap();
    }

    fn load(&self, dtype: Dtype) -> Result<(Qwen, Vec<String>), model_qwen::Error> {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        Checkpoint::open(dir.path())?.load_as_is(dtype, &Device::flex())
    }
}

fn expected() -> Vec<f32> {
    last_logits(&Parts::read().load(Dtype::F32).unwrap().0, &IDS)
}

#[test]
fn biases_of_every_projection_are_those_of_transformers() {
    for name in ["llama", "llama-attention", "llama-mlp", "qwen3", "qwen2"] {
        let text = std::fs::read(testdata(&format!("biases/{name}.json"))).unwrap();
        let case: Value = serde_json::from_slice(&text).unwrap();
        let weights = std::fs::read(testdata(&format!("biases/{name}.safetensors"))).unwrap();
        let mut model = Qwen::from_bytes(&case["config"].to_string(), &weights, &Device::flex()).unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let logits: Vec<f32> = serde_json::from_value(case["logits"].clone()).unwrap();
        let scale = logits.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (f, e) in last_logits(&model, &ids).iter().zip(&logits) {
            // Two layers in f32: some hundred roundings.
            assert!((f - e).abs() < 1e-5 * scale, "{name}: {f} for {e}");
        }
        // Heads write without the output bias, which attention's output has; the run stays the same.
        let mut seen = Recorder::new([Heads::Write(1).into(), Stream::AttnOut(1).into()]);
        let batch = Batch::new(std::slice::from_ref(&ids)).unwrap();
        model.forward(&batch, Pass::new(&mut seen));
        let sum = seen.heads(Heads::Write(1)).sum_dim(1).squeeze_dim::<3>(1);
        let rest: Vec<f32> = (seen.stream(Stream::AttnOut(1)) - sum).into_data().try_to_vec().unwrap();
        let bias = rest.iter().fold(0f32, |m, x| m.max(x.abs()));
        assert_eq!(bias > 0.1, model.config.output_bias, "{name}: {bias}");
        let stored = SafeTensors::deserialize(&weights).unwrap();
        assert_eq!(model.params().len(), stored.len());
        let n: usize = stored.tensors().iter().map(|(_, view)| view.shape().iter().product::<usize>()).sum();
        assert_eq!(model.config.n_params(), n as u64);
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("saved");
        save(&model, &dir, Dtype::F32, None).unwrap();
        let again = Checkpoint::open(&dir).unwrap().load(Dtype::F32, &Device::flex()).unwrap();
        assert_eq!(last_logits(&again, &ids), last_logits(&model, &ids));
    }
}

#[test]
fn names_without_a_prefix_and_tied_models_that_store_the_output_projection() {
    let plain = |name: &str| name.trim_start_matches("model.").to_owned();
    let head = |name: &str| name.replace("model.embed_tokens", "lm_head");
    for parts in [
        Parts::read().rename(plain),
        Parts::read().rename(head),
        Parts::read().rename(|name| plain(&head(name))),
    ] {
        let (model, warnings) = parts.load(Dtype::F32).unwrap();
        assert_eq!((last_logits(&model, &IDS), warnings), (expected(), Vec::new()));
    }
    // An untied model needs both.
    let mut parts = Parts::read().rename(head);
    parts.config["tie_word_embeddings"] = json!(false);
    let message = parts.load(Dtype::F32).unwrap_err().to_string();
    assert!(message.contains("no tensor `model.embed_tokens.weight`"), "{message}");
}

#[test]
fn shards_may_be_links_and_paths_in_an_index_stay_in_the_folder() {
    let (parts, dir, elsewhere) = (Parts::read(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("config.json"), parts.config.to_string()).unwrap();
    let index = |place: &dyn Fn(&str) -> String| {
        let of =
            |name: &str| place(if name.contains("layers.0") { "a.safetensors" } else { "b.safetensors" });
        let map: serde_json::Map<String, Value> =
            parts.tensors.iter().map(|(name, ..)| (name.clone(), json!(of(name)))).collect();
        let path = dir.path().join("model.safetensors.index.json");
        std::fs::write(path, json!({ "weight_map": map }).to_string()).unwrap();
        Checkpoint::open(dir.path()).unwrap().load(Dtype::F32, &Device::flex())
    };
    for (file, first) in [("a.safetensors", true), ("b.safetensors", false)] {
        let blob = elsewhere.path().join(file);
        std::fs::write(&blob, parts.bytes(|name| name.contains("layers.0") == first)).unwrap();
        symlink(&blob, dir.path().join(file)).unwrap();
    }
    assert_eq!(last_logits(&index(&|file| file.to_owned()).unwrap(), &IDS), expected());
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    for file in ["a.safetensors", "b.safetensors"] {
        symlink(elsewhere.path().join(file), dir.path().join("sub").join(file)).unwrap();
    }
    assert!(index(&|file| format!("sub/{file}")).is_ok());
    let outside = elsewhere.path().display().to_string();
    for place in ["..", "sub/../..", "sub/..", &outside, "."] {
        let message = index(&|file| format!("{place}/{file}")).unwrap_err().to_string();
        assert!(message.contains("expected the name of a file in this folder"), "{place}: {message}");
    }
}

#[test]
fn f64_weights_are_rounded_with_a_warning() {
    let mut parts = Parts::read();
    for (_, dtype, _, data) in &mut parts.tensors {
        *dtype = FileDtype::F64;
        let values = data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
        *data = values.flat_map(|x| x.to_le_bytes()).collect();
    }
    let (model, warnings) = parts.load(Dtype::F32).unwrap();
    assert_eq!(last_logits(&model, &IDS), expected());
    assert!(
        warnings[0].contains("F64 weights are rounded") && warnings[0].contains("more tensors"),
        "{warnings:?}"
    );
}

#[test]
fn tensors_that_are_not_read_are_named() {
    let mut parts = Parts::read();
    let f32s = |n: usize| vec![0u8; 4 * n];
    let mut add = |name: &str, n: usize| parts.tensors.push((name.into(), FileDtype::F32, vec![n], f32s(n)));
    // Old checkpoints have rotary frequencies, which follow from the configuration.
    add("model.layers.0.self_attn.rotary_emb.inv_freq", 4);
    let embed = parts.tensors.iter().find(|t| t.0 == "model.embed_tokens.weight").unwrap().clone();
    parts.tensors.push(("lm_head.weight".into(), embed.1, embed.2, embed.3));
    let (model, warnings) = parts.load(Dtype::F32).unwrap();
    assert_eq!((last_logits(&model, &IDS), warnings), (expected(), Vec::new()));
    // A third layer, a norm that the family has not, another model's part.
    for name in ["model.layers.2.mlp.up_proj.weight", "model.layers.0.self_attn.q_norm.weight", "visual.x"] {
        parts.tensors.push((name.into(), FileDtype::F32, vec![2], f32s(2)));
    }
    let (_, warnings) = parts.load(Dtype::F32).unwrap();
    assert_eq!(
        warnings,
        ["3 tensors that this model does not have are not read: `model.layers.0.self_attn.q_norm.weight`, \
          `model.layers.2.mlp.up_proj.weight`, `visual.x`"]
    );
}

#[test]
fn a_value_that_the_dtype_cannot_hold_is_an_error_that_names_it() {
    let put = |dtype: FileDtype, value: &[u8]| {
        let mut parts = Parts::read();
        let at =
            parts.tensors.iter().position(|(name, ..)| name == "model.layers.1.mlp.up_proj.weight").unwrap();
        let (_, kind, shape, data) = &mut parts.tensors[at];
        *kind = dtype;
        *data = vec![0; shape.iter().product::<usize>() * value.len()];
        // Row 2, column 5 of [24, 24].
        let place = (2 * shape[1] + 5) * value.len();
        data[place..place + value.len()].copy_from_slice(value);
        parts
    };
    let large = put(FileDtype::F32, &(-7e4f32).to_le_bytes());
    let message = large.load(Dtype::F16).unwrap_err().to_string();
    let expected =
        "`model.layers.1.mlp.up_proj.weight` is -7e4 at [2, 5], finite in the file and infinite as f16";
    assert!(message.contains(expected) && message.contains("expected f32 or bf16"), "{message}");
    for dtype in [Dtype::F32, Dtype::Bf16] {
        large.load(dtype).unwrap();
    }
    let huge = put(FileDtype::F64, &1e300f64.to_le_bytes()).load(Dtype::F32).unwrap_err().to_string();
    assert!(huge.contains("1e300 at [2, 5]") && huge.contains("infinite as f32"), "{huge}");
    let bf16 = half::bf16::from_f32(1e38).to_le_bytes();
    assert!(
        put(FileDtype::BF16, &bf16).load(Dtype::F16).unwrap_err().to_string().contains("infinite as f16")
    );
    let top = put(FileDtype::F32, &f32::MAX.to_le_bytes()).load(Dtype::Bf16);
    assert!(top.unwrap_err().to_string().contains("infinite as bf16"));
    // What is infinite in the file already is a warning, in every dtype.
    let infinite = put(FileDtype::F32, &f32::INFINITY.to_le_bytes());
    for dtype in Dtype::ALL {
        let (_, warnings) = infinite.load(dtype).unwrap();
        assert!(
            warnings[0].contains("NaN or infinity in `model.layers.1.mlp.up_proj.weight`"),
            "{warnings:?}"
        );
    }
    let ints = put(FileDtype::I32, &1i32.to_le_bytes()).load(Dtype::F32).unwrap_err().to_string();
    assert!(ints.contains("is I32, expected F64, F32, BF16 or F16"), "{ints}");
}

#[test]
fn more_positions_than_the_model_has_are_named() {
    let config = Config::parse(&Parts::read().config.to_string()).unwrap();
    assert!(config.check_positions(64).is_ok());
    let message = config.check_positions(65).unwrap_err().to_string();
    assert_eq!(message, "65 positions, expected at most 64 (`max_position_embeddings`)");
}
