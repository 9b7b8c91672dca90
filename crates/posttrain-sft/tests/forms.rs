//! Forms of rows: trained tokens and loss as in TRL, equal forms, refusals by name.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use model_qwen::{ChatTemplate, Checkpoint, Dtype};
use posttrain::rows::DataRow;
use posttrain_sft::{Columns, DataConfig, Dataset, Encoder, Example, Sft, SftConfig, Truncation, Turns};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sft-forms")
}

fn encoder() -> Encoder {
    Encoder::of(&Checkpoint::open(&folder()).unwrap()).unwrap()
}

fn row(value: Value) -> DataRow {
    DataRow { place: "line 1".into(), number: 1, fields: value.as_object().unwrap().clone() }
}

fn examples(encoder: &Encoder, value: Value) -> Result<Vec<Example>, posttrain_sft::Error> {
    encoder.row(row(value), &Columns::default(), Turns::All, &mut BTreeSet::new())
}

fn one(value: Value) -> Example {
    let mut all = examples(&encoder(), value).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn refused(value: Value) -> String {
    examples(&encoder(), value).unwrap_err().to_string()
}

#[test]
fn every_form_has_the_tokens_and_the_loss_of_trl() {
    let cases = std::fs::read_to_string(folder().join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    let model = Checkpoint::open(&folder()).unwrap().load(Dtype::F32, &Device::flex()).unwrap();
    let sft = Sft::new(model, &SftConfig::default(), 1).unwrap();
    for case in &cases {
        let mut config =
            DataConfig { shuffle: false, truncation: Truncation::KeepStart, ..DataConfig::default() };
        if let Some(max) = case["options"]["max_length"].as_u64() {
            config.max_length = max as usize;
        }
        let data = Dataset::new(vec![one(case["row"].clone())], &config, 0).unwrap();
        let (tokens, loss) =
            (data.examples()[0].tokens(), sft.evaluate(data.examples()).unwrap().mean_loss());
        assert_eq!(tokens as u64, case["tokens"].as_u64().unwrap(), "{case}");
        let expected = case["loss"].as_f64().unwrap();
        assert!((loss - expected).abs() < 1e-5 * expected, "{case}: {loss}");
    }
    assert!(cases.len() >= 14);
}

#[test]
fn other_spellings_are_the_same_examples() {
    let turns = json!([{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]);
    let chat = one(json!({ "messages": turns }));
    let equal = [
        json!({"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]}),
        json!({"conversations": turns}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "2?"}]},
            {"role": "assistant", "content": "4", "tool_calls": null}], "tools": []}),
        json!({"prompt": [turns[0]], "completion": [turns[1]]}),
    ];
    for row in equal {
        assert_eq!(one(row.clone()), chat, "{row}");
    }
    let text = one(json!({"prompt": "2+2=", "completion": "4"}));
    assert_eq!(one(json!({"problem": "2+2=", "solution": "4"})), text);
    assert_eq!(one(json!({"question": "2+2=", "answer": "4", "labels": null})), text);
    let columns = Columns { prompt: Some("q".into()), completion: Some("a".into()), ..Columns::default() };
    let mut unused = BTreeSet::new();
    let named = row(json!({"q": "2+2=", "a": "4", "text": "other", "source": "here"}));
    assert_eq!(encoder().row(named, &columns, Turns::All, &mut unused).unwrap(), [text]);
    assert_eq!(unused.into_iter().collect::<Vec<_>>(), ["source", "text"]);
    let columns = Columns { weight: Some("w".into()), ..Columns::default() };
    let named = |value| encoder().row(row(value), &columns, Turns::All, &mut BTreeSet::new());
    assert_eq!(named(json!({"text": "a", "w": 0.5})).unwrap(), [one(json!({"text": "a"})).weighted(0.5)]);
    assert!(named(json!({"text": "a", "weight": 2})).unwrap_err().to_string().contains("`w`"));
    let alpaca = one(json!({"instruction": "Add", "input": "2 2", "output": "4"}));
    assert_eq!(alpaca.tokens(), 2, "4 and the stop token");

    // The hub's file has a column `text` beside them: the form is chosen.
    let hub = json!({"instruction": "Add", "input": "2 2", "output": "4", "text": "whole"});
    let message = refused(hub.clone());
    assert!(message.contains("`text`") && message.contains("instruction = \"instruction\""), "{message}");
    let columns = Columns {
        instruction: Some("instruction".into()),
        completion: Some("output".into()),
        ..Columns::default()
    };
    let chosen = |value| encoder().row(row(value), &columns, Turns::All, &mut BTreeSet::new());
    assert_eq!(chosen(hub).unwrap(), [alpaca]);
    let short = json!({"instruction": "Add", "output": "4"});
    assert_eq!(chosen(short.clone()).unwrap(), [one(short)]);
    assert!(chosen(json!({"output": "4"})).unwrap_err().to_string().contains("data.columns.instruction"));

    let ids = json!([5, 14, 5, 18, 6]);
    let labels = one(json!({"input_ids": ids, "labels": [-100, 14, -100, -100, 6]}));
    assert_eq!(one(json!({"input_ids": ids, "assistant_masks": [0, 1, 0, 0, 1]})), labels);
    assert_eq!(
        one(
            json!({"input_ids": ids, "completion_mask": [0, 1, 0, 1, 1], "assistant_masks": [1, 1, 1, 0, 1]})
        ),
        labels
    );
    let padded = json!({"input_ids": [0, 0, 5, 14, 5, 18, 6, 0], "attention_mask": [0, 0, 1, 1, 1, 1, 1, 0],
        "labels": [-100, -100, -100, 14, -100, -100, 6, -100]});
    assert_eq!(one(padded), labels);
}

#[test]
fn what_would_change_the_loss_and_is_not_read_is_refused_by_name() {
    let turn = |role: &str| json!({"role": role, "content": "4"});
    let cases = [
        (json!({"input_ids": [1, 2], "position_ids": [0, 1]}), "position_ids"),
        (json!({"input_ids": [1, 2], "attention_mask": [1]}), "attention_mask"),
        (json!({"input_ids": [1, 2, 3], "attention_mask": [1, 0, 1]}), "attention_mask"),
        (json!({"input_ids": [1, 2], "labels": [1, 3]}), "labels"),
        (json!({"input_ids": [1, 200000]}), "token 200000"),
        (json!({"prompt": "a", "completion": null}), "`completion` is null"),
        (json!({"text": "a", "sample_weight": 2.0}), "sample_weight"),
        (json!({"text": "a", "weight": -1}), "`weight` is -1"),
        (json!({"text": "a", "weight": "2"}), "weight"),
        (json!({"prompt": "a", "completion": "b", "tools": [{"type": "function"}]}), "tools"),
        (json!({"prompt": "a", "completion": "b", "text": "c"}), "data.columns"),
        (json!({"prompt": "a"}), "`prompt`"),
        (json!({"messages": [turn("user"), {"role": "assistant", "content": "4", "weight": 0}]}), "weight"),
        (
            json!({"messages": [turn("user"), {"role": "assistant", "content": "4", "thinking": "hm"}]}),
            "thinking",
        ),
        (json!({"messages": [turn("user")]}), "assistant"),
        (json!({"messages": [turn("user"), {"content": "4"}]}), "role"),
        (json!({"messages": [{"role": "user", "content": [{"type": "image"}]}, turn("assistant")]}), "image"),
        (json!({"conversations": [{"from": "function_call", "value": "x"}]}), "function_call"),
    ];
    for (row, name) in cases {
        let message = refused(row.clone());
        assert!(message.contains(name), "{row}: {message}");
    }
}

#[test]
fn whole_numbers_are_texts_and_other_kinds_are_named() {
    let as_text = one(json!({"prompt": "17+25=", "completion": "42"}));
    assert_eq!(one(json!({"prompt": "17+25=", "completion": 42})).ids, as_text.ids);
    let whole = one(json!({"text": "-7"}));
    assert_eq!(one(json!({"text": -7})).ids, whole.ids);
    let turns = json!([{"role": "assistant", "content": "4"}]);
    for (row, expected) in [
        (
            json!({"prompt": "q", "completion": 2.5}),
            "`completion` is 2.5, expected a text, a whole number or",
        ),
        (json!({"prompt": true, "completion": "x"}), "`prompt` is true, expected a text, a whole number or"),
        (json!({"prompt": "q", "completion": turns}), "prompt: is \"q\", expected a list of messages"),
        (json!({"instruction": "q", "output": 0.5}), "`output` is 0.5, expected a text"),
    ] {
        let message = refused(row);
        assert!(message.contains(expected), "{message}, expected {expected}");
    }
}

#[test]
fn roles_that_a_template_leaves_out_are_refused() {
    let source = "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}<|s|>{{ m.role }}: {{ m.content }}<|e|>{% endif %}\
                  {% endfor %}{% if add_generation_prompt %}<|s|>assistant: {% endif %}";
    let text = Checkpoint::open(&folder()).unwrap().text().unwrap();
    let encoder = Encoder::new(text, None).with_template(ChatTemplate::new(source.into(), "", "").unwrap());
    let chat = |first: &str| {
        json!({"messages": [{"role": first, "content": "a"}, {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c", "name": "Ann"}]})
    };
    let message = examples(&encoder, chat("developer")).unwrap_err().to_string();
    assert!(message.contains("developer"), "{message}");
    let mut unused = BTreeSet::new();
    encoder.row(row(chat("user")), &Columns::default(), Turns::All, &mut unused).unwrap();
    assert!(unused.contains("messages.name"), "{unused:?}");
    let mut with_tools = chat("user");
    with_tools["tools"] = json!([{"type": "function"}]);
    assert!(examples(&encoder, with_tools).unwrap_err().to_string().contains("tools"));
}

#[test]
fn a_template_that_rewrites_history_gives_an_example_for_each_answer() {
    // As Qwen3's: only the last answer keeps its thoughts.
    let source = "{% for m in messages %}<|s|>{{ m.role }}: {% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}\
                  {{ m.content }}<|e|>{% endfor %}{% if add_generation_prompt %}<|s|>assistant: {% endif %}";
    let text = Checkpoint::open(&folder()).unwrap().text().unwrap();
    let template = ChatTemplate::new(source.into(), "", "").unwrap();
    let encoder = Encoder::new(text, None).with_template(template);
    let chat = json!({"id": "x", "messages": [
        {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6"}]});
    let all = examples(&encoder, chat.clone()).unwrap();
    assert_eq!(all.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["x#1", "x#2"]);
    let text = Checkpoint::open(&folder()).unwrap().text().unwrap();
    let trained = |e: &Example| -> String {
        let ids: Vec<u32> = e.ids.iter().zip(&e.trained).filter(|(_, t)| **t).map(|(id, _)| *id).collect();
        text.decode(&ids).unwrap()
    };
    assert_eq!((trained(&all[0]), trained(&all[1])), ("<think></think>4".into(), "<think></think>6".into()));
    let history = text.decode(&all[1].ids).unwrap();
    assert!(history.starts_with("user: 2+2?assistant: 4user: 3+3?"), "{history}");
    let last = encoder.row(row(chat), &Columns::default(), Turns::Last, &mut BTreeSet::new()).unwrap();
    assert_eq!((last.len(), &last[0].ids), (1, &all[1].ids));
}

#[test]
fn what_the_template_marks_is_trained_and_nothing_else() {
    let text = || Checkpoint::open(&folder()).unwrap().text().unwrap();
    let rendered = |think: &str| {
        let source = format!(
            "{{% for m in messages %}}<|s|>{{{{ m.role }}}}:{{% if m.role == 'assistant' %}}{{% generation %}}{think}\
             {{{{ m.content }}}}{{% endgeneration %}}{{% else %}}{{{{ m.content }}}}{{% endif %}}<|e|>{{% endfor %}}"
        );
        let template = ChatTemplate::new(source, "", "").unwrap();
        Encoder::new(text(), None).with_template(template)
    };
    let chat = json!({"id": "x", "messages": [
        {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6"}]});
    let trained = |e: &Example| -> String {
        let ids: Vec<u32> = e.ids.iter().zip(&e.trained).filter(|(_, t)| **t).map(|(id, _)| *id).collect();
        text().decode_all(&ids).unwrap()
    };
    // The end mark lies outside of the block, so it is not trained; there is no generation prompt to go by.
    let all = examples(&rendered(""), chat.clone()).unwrap();
    assert_eq!(all.iter().map(&trained).collect::<Vec<_>>(), ["46"]);
    let whole = "<|s|>user:2+2?<|e|><|s|>assistant:4<|e|><|s|>user:3+3?<|e|><|s|>assistant:6<|e|>";
    assert_eq!(all[0].ids, text().encode_raw(whole).unwrap());
    // As Qwen3's: only the last answer keeps its thoughts.
    let rewrites = rendered("{% if loop.last %}<think></think>{% endif %}");
    let all = examples(&rewrites, chat.clone()).unwrap();
    assert_eq!(all.iter().map(&trained).collect::<Vec<_>>(), ["<think></think>4", "<think></think>6"]);
    let last = rewrites.row(row(chat), &Columns::default(), Turns::Last, &mut BTreeSet::new()).unwrap();
    assert_eq!((last.len(), &last[0].ids), (1, &all[1].ids));
}
