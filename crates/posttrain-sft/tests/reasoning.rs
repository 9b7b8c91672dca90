//! Generation prompts that go on beyond the answer's beginning, reasoning that a template leaves out, and the token
//! that ends a text.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model_qwen::{ChatTemplate, Checkpoint};
use posttrain::rows::DataRow;
use posttrain_sft::{Columns, Encoder, Error, Example, Turns};
use serde_json::{Value, json};

/// As that of DeepSeek-R1-Distill (`tools/oracles/sft_generation_prompt.py`).
const R1: &str = "{% for m in messages %}{% if m.role == 'user' %}<|s|>User: {{ m.content }}{% endif %}\
    {% if m.role == 'assistant' %}{% set content = m.content %}\
    {% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}\
    <|s|>Assistant: {{ content }}<|e|>{% endif %}{% endfor %}\
    {% if add_generation_prompt %}<|s|>Assistant: <think>\n{% endif %}";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sft-forms")
}

fn with_template(source: &str) -> Encoder {
    let text = Checkpoint::open(&folder()).unwrap().text().unwrap();
    Encoder::new(text, None).with_template(ChatTemplate::new(source.into(), "", "").unwrap())
}

fn examples(encoder: &Encoder, value: Value) -> Result<Vec<Example>, Error> {
    let fields = value.as_object().unwrap().clone();
    let row = DataRow { place: "line 1".into(), number: 1, fields };
    encoder.row(row, &Columns::default(), Turns::All, &mut BTreeSet::new())
}

fn turn(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

#[test]
fn the_prompt_is_what_both_renderings_have_in_common_as_in_trl() {
    let encoder = with_template(R1);
    let one = json!({ "prompt": [turn("user", "2+2?")], "completion": [turn("assistant", "4")] });
    let ids = [1, 56, 290, 29, 224, 21, 14, 21, 34, 1, 36, 86, 291, 292, 87, 29, 268, 2];
    assert_eq!(examples(&encoder, one).unwrap(), [Example::new("1", ids.to_vec(), 16)]);
    let prompt = [turn("user", "2+2?"), turn("assistant", "4"), turn("user", "3+3?")];
    let two = json!({ "prompt": prompt, "completion": [turn("assistant", "<b>6</b>")] });
    let more = [
        1, 56, 290, 29, 294, 14, 22, 34, 1, 36, 86, 291, 292, 87, 29, 224, 31, 69, 33, 25, 31, 18, 69, 33, 2,
    ];
    let all = [&ids[..], &more[..]].concat();
    assert_eq!(examples(&encoder, two).unwrap(), [Example::new("1", all, 35)]);
    let chat = json!({ "messages": [turn("user", "2+2?"), turn("assistant", "4")] });
    assert_eq!(examples(&encoder, chat).unwrap(), [Example::new("1#1", ids.to_vec(), 16)]);
}

#[test]
fn reasoning_that_is_not_trained_is_refused() {
    let thought = "<think>\ntwo and two\n</think>\n\n4";
    let marked = "{% for m in messages %}{{ m.role }}:{% generation %}{{ m.content.split('</think>')[-1] }}\
                  {% endgeneration %}{% endfor %}";
    let plain = "{% for m in messages %}{{ m.role }}:{{ m.content.split('</think>')[-1] }}{% endfor %}\
                 {% if add_generation_prompt %}assistant:{% endif %}";
    for template in [R1, marked, plain] {
        let encoder = with_template(template);
        for row in [
            json!({ "messages": [turn("user", "2+2?"), turn("assistant", thought)] }),
            json!({ "prompt": [turn("user", "2+2?")], "completion": [turn("assistant", thought)] }),
        ] {
            let message = examples(&encoder, row).unwrap_err().to_string();
            assert!(message.contains("</think>") && message.contains("chat_template.jinja"), "{message}");
        }
        // No thought is none to lose.
        let empty = [turn("user", "2+2?"), turn("assistant", "<think>\n\n</think>\n\n4")];
        assert_eq!(examples(&encoder, json!({ "messages": empty })).unwrap().len(), 1);
    }
    // Written for the last answer alone: so is the answer of each example.
    let last = "{% for m in messages %}{{ m.role }}:{% if loop.last %}{{ m.content }}{% else %}\
                {{ m.content.split('</think>')[-1] }}{% endif %}{% endfor %}\
                {% if add_generation_prompt %}assistant:{% endif %}";
    let twice =
        [turn("user", "2+2?"), turn("assistant", thought), turn("user", "2+2?"), turn("assistant", thought)];
    assert_eq!(examples(&with_template(last), json!({ "messages": twice })).unwrap().len(), 2);
    let field = json!({ "messages": [turn("user", "2+2?"),
        { "role": "assistant", "content": "4", "reasoning_content": "two and two" }] });
    let message = examples(&with_template(R1), field).unwrap_err().to_string();
    assert!(message.contains("reasoning_content"), "{message}");
}

#[test]
fn a_text_ends_with_the_tokenizers_own_token() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(folder().join(name), dir.path().join(name)).unwrap();
    }
    let end = || -> Result<u32, Error> {
        let encoder = Encoder::of(&Checkpoint::open(dir.path())?)?;
        let text = examples(&encoder, json!({ "text": "2+2" }))?.remove(0).ids.pop().unwrap();
        let pair =
            examples(&encoder, json!({ "prompt": "2+2=", "completion": "4" }))?.remove(0).ids.pop().unwrap();
        assert_eq!(text, pair);
        Ok(text)
    };
    let text = Checkpoint::open(dir.path()).unwrap().text().unwrap();
    let own = text.id("<|end|>").unwrap();
    put("generation_config.json", r#"{"eos_token_id": [5, 6]}"#);
    assert_eq!(end().unwrap(), own);
    put("tokenizer_config.json", r#"{"eos_token": {"content": "<|e|>"}}"#);
    assert_eq!(end().unwrap(), text.id("<|e|>").unwrap());
    // Then config.json's, then the first stop id.
    put("tokenizer_config.json", "{}");
    let config = std::fs::read_to_string(folder().join("config.json")).unwrap();
    put("config.json", &config.replace("\"eos_token_id\": 0", "\"eos_token_id\": 7"));
    assert_eq!(end().unwrap(), 7);
    put("config.json", &config.replace("\"eos_token_id\": 0", "\"eos_token_id\": null"));
    assert_eq!(end().unwrap(), 5);
    put("tokenizer_config.json", r#"{"eos_token": "<|nowhere|>"}"#);
    assert!(end().unwrap_err().to_string().contains("<|nowhere|>"));
}
