//! Checkpoints that somebody else wrote: damaged and hostile files end in one clear line, without a panic and
//! within bounded time and memory.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use burn::tensor::Device;
use hooks::Batch;
use model_qwen::{Adapter, ChatTemplate, Checkpoint, Config, Dtype, Message, Pass, Qwen, Text};
use serde_json::{Value, json};

use crate::fixtures::{fixture, load};

/// More than any case should take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time that this thread has spent on a processor: waiting for a busy machine is not counted.
fn clock() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// xorshift64*: enough for choosing mutations, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }
    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// One to four changes of bytes: flipped bits, cuts, insertions, copies.
fn mutate_bytes(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(out.len());
        match rng.below(6) {
            0 | 1 if !out.is_empty() => out[at] ^= 1 << rng.below(8),
            2 => out.truncate(at),
            3 => out.insert(at, rng.next() as u8),
            4 => {
                let end = (at + rng.below(40)).min(out.len());
                let copy = out[at..end].to_vec();
                let to = rng.below(out.len());
                out.splice(to..to, copy);
            }
            _ => drop(out.drain(at..(at + rng.below(20)).min(out.len()))),
        }
    }
    out
}

/// Values that a field of JSON should not have.
fn odd(rng: &mut Rng) -> Value {
    let deep = (0..200).fold(json!(1), |v, _| json!([v]));
    let all = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(3),
        json!(1e308),
        json!(-0.5),
        json!(u64::MAX),
        json!(1u64 << 40),
        json!((1u64 << 24) - 1),
        json!(""),
        json!("../../etc/passwd"),
        json!("x".repeat(10_000)),
        json!([]),
        json!([1, "a", null]),
        json!({}),
        json!({"content": 3}),
        deep,
    ];
    rng.pick(&all).clone()
}

/// One to three values anywhere in a document replaced, removed or renamed.
fn mutate_json(value: &Value, rng: &mut Rng) -> Value {
    fn at_random(value: &mut Value, rng: &mut Rng) {
        let inside = rng.below(8) != 0;
        match value {
            Value::Object(map) if inside && !map.is_empty() => {
                let key = map.keys().nth(rng.below(map.len())).unwrap().clone();
                match rng.below(12) {
                    0 => drop(map.remove(&key)),
                    1 => {
                        let old = map.remove(&key).unwrap();
                        map.insert(format!("{key}x"), old);
                    }
                    _ => at_random(&mut map[&key], rng),
                }
            }
            Value::Array(all) if inside && !all.is_empty() => {
                let at = rng.below(all.len());
                at_random(&mut all[at], rng);
            }
            other => *other = odd(rng),
        }
    }
    let mut value = value.clone();
    for _ in 0..=rng.below(3) {
        at_random(&mut value, rng);
    }
    value
}

/// A safetensors file with another header.
fn with_header(file: &[u8], change: impl FnOnce(Value) -> Value) -> Vec<u8> {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = change(serde_json::from_slice(&file[8..8 + len]).unwrap()).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + len..]].concat()
}

/// Runs cases, each of which may fail with one line and must be quick; how many of them failed.
fn survive(
    n: usize,
    seed: u64,
    mut case: impl FnMut(&mut Rng, usize) -> Result<(), model_qwen::Error>,
) -> usize {
    let mut failed = 0;
    for at in 0..n {
        let mut rng = Rng(seed + 0x9E37_79B9 * at as u64);
        let began = clock();
        if let Err(e) = case(&mut rng, at) {
            let message = e.to_string();
            assert!(
                !message.is_empty() && !message.contains('\n') && message.len() < 3000,
                "case {at}: {message}"
            );
            failed += 1;
        }
        assert!(clock() - began < PATIENCE, "case {at} took {:?}", clock() - began);
    }
    failed
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn open(dir: &Path) -> Result<Qwen, model_qwen::Error> {
    Checkpoint::open(dir)?.load(Dtype::F32, &Device::flex())
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A model that loads must also run.
fn runs(model: &Qwen) {
    let last = model.config.vocab as u32 - 1;
    let batch = Batch::new(&[vec![0, last, 0], vec![last]]).unwrap();
    model.forward(&batch, Pass::new(&mut ()));
}

#[test]
fn mutated_configurations() {
    let folder = copy_of("families/llama32");
    let path = folder.path().join("config.json");
    let (bytes, value) = (std::fs::read(&path).unwrap(), json_of(&path));
    let failed = survive(2500, 1, |rng, at| {
        let text =
            if at % 4 == 0 { mutate_bytes(&bytes, rng) } else { mutate_json(&value, rng).to_string().into() };
        Config::parse(&String::from_utf8_lossy(&text))?;
        std::fs::write(&path, text).unwrap();
        runs(&open(folder.path())?);
        Ok(())
    });
    assert!((500..2500).contains(&failed), "{failed}");
}

#[test]
fn mutated_weights() {
    let folder = copy_of("families/llama32");
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let failed = survive(2500, 2, |rng, at| {
        let file = match at % 3 {
            // The header's bytes, its values, and any bytes.
            0 => [mutate_bytes(&bytes[..header], rng), bytes[header..].to_vec()].concat(),
            1 => with_header(&bytes, |header| mutate_json(&header, rng)),
            _ => mutate_bytes(&bytes, rng),
        };
        Qwen::from_bytes(&config, &file, &Device::flex())?;
        std::fs::write(&path, &file).unwrap();
        open(folder.path()).map(|_| ())
    });
    assert!((1500..2500).contains(&failed), "{failed}");
}

#[test]
fn mutated_indices() {
    let folder = copy_of("llama-untied");
    let path = folder.path().join("model.safetensors.index.json");
    let (bytes, value) = (std::fs::read(&path).unwrap(), json_of(&path));
    let failed = survive(1000, 3, |rng, at| {
        let text =
            if at % 2 == 0 { mutate_bytes(&bytes, rng) } else { mutate_json(&value, rng).to_string().into() };
        std::fs::write(&path, text).unwrap();
        open(folder.path()).map(|_| ())
    });
    assert!((300..1000).contains(&failed), "{failed}");
}

#[test]
fn mutated_adapters() {
    let (model, dir) = (load(&fixture("qwen2-tied")), fixture("lora/names"));
    let folder = copy_of("lora/names");
    let value = json_of(&dir.join("adapter_config.json"));
    let weights = std::fs::read(dir.join("adapter_model.safetensors")).unwrap();
    let failed = survive(1000, 4, |rng, at| {
        let config = if at % 4 == 0 { value.clone() } else { mutate_json(&value, rng) };
        let file = if at % 4 == 0 { mutate_bytes(&weights, rng) } else { weights.clone() };
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        std::fs::write(folder.path().join("adapter_model.safetensors"), file).unwrap();
        Adapter::open(folder.path(), &model)?.attach(&model).map(|_| ())
    });
    assert!((200..1000).contains(&failed), "{failed}");
}

/// A template in the manner of published ones, with what they use.
const TEMPLATE: &str = r#"{%- if tools %}{{ tools | tojson }}{% endif -%}
{%- for message in messages %}{% if loop.first and message.role != 'system' %}{{ bos_token }}{% endif -%}
{%- set content = message.content.split('</think>')[-1].lstrip('\n') -%}
{{ '<|im_start|>' + message['role'] + '\n' + content | trim + '<|im_end|>' + '\n' }}{% endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is false %}<think>{% endif %}{% endif %}"#;

fn said() -> Vec<Message> {
    ["system", "user", "assistant"]
        .map(|role| Message { role: role.into(), content: "one two".into() })
        .to_vec()
}

#[test]
fn mutated_templates_and_tokenizer_configurations() {
    let config = json!({
        "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "chat_template": TEMPLATE,
        "added_tokens_decoder": {"0": {"content": "<s>"}}, "model_max_length": 4096
    });
    let whole =
        ChatTemplate::new(TEMPLATE.to_owned(), "<s>", "</s>").unwrap().render(&said(), true, None).unwrap();
    assert!(whole.ends_with("<|im_start|>assistant\n"), "{whole}");
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "{{",
        "}}",
        "{%",
        "%}",
        "for",
        "in",
        "endfor",
        "if",
        "endif",
        "set",
        "messages",
        "range(99999)",
        "x",
        "=",
        "~",
        "*",
        "'a'",
        "[",
        "]",
        "(",
        ")",
        "|",
        "tojson",
        "join",
        "loop",
        "(loop)",
        "recursive",
        "macro m()",
        "endmacro",
        "m()",
        "not",
        "-",
        "namespace()",
        ".",
        "[::-1]",
        "{#",
        "#}",
        "raise_exception('no')",
        "999999999",
        "include 'chat'",
    ];
    let failed = survive(2000, 5, |rng, at| {
        if at % 2 == 0 {
            let mut value = mutate_json(&config, rng);
            if at % 4 == 0 && value.is_object() {
                let mutated = mutate_bytes(TEMPLATE.as_bytes(), rng);
                value["chat_template"] = String::from_utf8_lossy(&mutated).into();
            }
            std::fs::write(folder.path().join("tokenizer_config.json"), value.to_string()).unwrap();
            ChatTemplate::open(folder.path())?.render(&said(), true, Some(false))?;
        } else {
            let source: Vec<&str> = (0..rng.below(30)).map(|_| *rng.pick(&words)).collect();
            ChatTemplate::new(source.join(" "), "<s>", "</s>")?.render(&said(), true, None)?;
        }
        Ok(())
    });
    assert!((500..2000).contains(&failed), "{failed}");
}

#[test]
fn mutated_tokenizers() {
    let vocab: serde_json::Map<String, Value> = ('a'..='z')
        .enumerate()
        .map(|(id, c)| (c.to_string(), json!(id)))
        .chain([("ab".into(), json!(26))])
        .collect();
    let value = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 27, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\w+| "},
            "behavior": "Isolated", "invert": false},
        "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": ["a b"]}
    });
    assert_eq!(Text::from_bytes(value.to_string().as_bytes()).unwrap().encode("abc").unwrap(), [26, 2]);
    let failed = survive(1000, 6, |rng, _| {
        let text = Text::from_bytes(mutate_json(&value, rng).to_string().as_bytes())?;
        text.decode(&text.encode("abc de")?).map(|_| ())
    });
    assert!((300..1000).contains(&failed), "{failed}");
}

#[test]
fn templates_that_are_deep_or_large_are_errors() {
    let many = |n: usize, text: &str| text.repeat(n);
    for source in [
        format!("{{{{ {}1 }}}}", many(60_000, "-")),
        format!("{{{{ 1{} }}}}", many(40_000, "+1")),
        format!("{{% if a %}}{}{{% endif %}}", many(8_000, "{% elif a %}")),
        many(200_000, "x"),
    ] {
        if let Err(e) = ChatTemplate::new(source, "", "").and_then(|t| t.render(&said(), true, None)) {
            assert!(e.to_string().starts_with("chat template: "), "{e}");
        }
    }
}

#[test]
fn templates_have_what_transformers_gives_them() {
    let render = |source: &str| {
        let template = ChatTemplate::new(source.to_owned(), "<s>", "</s>").unwrap();
        template.render(&[], false, None).unwrap()
    };
    // Rendered by Jinja in transformers' environment: absent tools are none, not undefined.
    assert_eq!(render("{{ tools is none }} {{ documents is defined }} [{{ pad_token }}]"), "True True []");
    assert_eq!(render("a\n{% generation %}\nb{% endgeneration %}c"), "a\nbc");
    assert_eq!(
        render("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
        "012"
    );
    assert_eq!(
        render("{{ {'b': [1], 'a': {'d': 1, 'c': 2}} | tojson(sort_keys=true) }}"),
        r#"{"a": {"c": 2, "d": 1}, "b": [1]}"#
    );
    let year = render("{{ strftime_now('%Y') }}");
    assert!(year.len() == 4 && year.parse::<u32>().unwrap() > 2024, "{year}");
}

#[test]
fn templates_that_do_not_end_are_stopped() {
    let nested = "{% for i in range(100000) %}".repeat(4) + "{{ i }}" + &"{% endfor %}".repeat(4);
    let long = format!("{{% for i in range(100000) %}}{}{{% endfor %}}", "x".repeat(100_000));
    let calls = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned();
    let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    let blocks = "{% if 1 %}".repeat(50_000) + &"{% endif %}".repeat(50_000);
    for source in [nested, long, calls, parentheses, blocks] {
        let began = clock();
        let made = ChatTemplate::new(source, "", "").and_then(|t| t.render(&said(), true, None));
        let message = made.unwrap_err().to_string();
        assert!(message.starts_with("chat template") && !message.contains('\n'), "{message}");
        assert!(clock() - began < PATIENCE);
    }
}

#[test]
fn hostile_files_are_named() {
    // A shard that is a link out of its folder, as a user or the hub makes them, is read.
    let folder = copy_of("llama-untied");
    let (shard, outside) =
        (folder.path().join("model-00001-of-00003.safetensors"), tempfile::tempdir().unwrap());
    let elsewhere = outside.path().join("blob");
    std::fs::rename(&shard, &elsewhere).unwrap();
    symlink(&elsewhere, &shard).unwrap();
    runs(&open(folder.path()).unwrap());
    let hub = tempfile::tempdir().unwrap();
    let snapshot = hub.path().join("models--a--b/snapshots/0123");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(hub.path().join("models--a--b/blobs")).unwrap();
    for (at, entry) in std::fs::read_dir(fixture("llama-untied")).unwrap().enumerate() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, hub.path().join(format!("models--a--b/blobs/{at}"))).unwrap();
        symlink(format!("../../blobs/{at}"), snapshot.join(path.file_name().unwrap())).unwrap();
    }
    runs(&open(&snapshot).unwrap());

    // A header of a hundred megabytes, and tensors that overlap.
    let folder = copy_of("families/llama32");
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for len in [100_000_001u64, u64::MAX, 1 << 40] {
        let mut file = bytes.clone();
        file[..8].copy_from_slice(&len.to_le_bytes());
        std::fs::write(&path, file).unwrap();
        assert!(open(folder.path()).unwrap_err().to_string().contains("model.safetensors"));
    }
    let overlapping = with_header(&bytes, |mut header| {
        let other = header["model.layers.0.input_layernorm.weight"]["data_offsets"].clone();
        header["model.norm.weight"]["data_offsets"] = other;
        header
    });
    std::fs::write(&path, overlapping).unwrap();
    assert!(open(folder.path()).unwrap_err().to_string().contains("not a safetensors file"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(open(folder.path()).unwrap_err().to_string().contains("regular file"));
}

#[test]
fn weights_that_are_not_finite_are_named_and_the_rest_goes_on() {
    let folder = copy_of("families/llama32");
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let (model, warnings) = checkpoint.load_as_is(Dtype::F32, &Device::flex()).unwrap();
    assert!(warnings[0].contains("NaN or infinity in `model."));
    runs(&model);
    assert!(checkpoint.load(Dtype::F32, &Device::flex()).is_err());
}

#[test]
fn a_tokenizer_with_more_ids_than_the_model_has_rows_is_a_warning() {
    let folder = copy_of("families/llama32");
    let write = |ids: u32| {
        let vocab: serde_json::Map<String, Value> =
            (0..ids).map(|id| (format!("t{id}"), json!(id))).collect();
        let file = json!({"added_tokens": [{"id": 1}], "model": {"type": "WordLevel", "vocab": vocab}});
        std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
        Checkpoint::open(folder.path()).unwrap().warnings
    };
    assert_eq!(write(53), Vec::<String>::new());
    assert_eq!(write(20), Vec::<String>::new(), "a padded model is usual");
    assert!(write(54)[0].contains("ids up to 53, the model has 53 rows"));
    let message = load(&fixture("families/llama32")).check(&Batch::new(&[vec![53]]).unwrap()).unwrap_err();
    assert!(message.to_string().contains("token 53"));
}
