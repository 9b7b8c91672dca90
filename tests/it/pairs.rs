//! Pairs files under tokenizers that people have: special tokens in front, numbers split into digits.

use hooks::{Encode as _, Metric, Pairs, PairsReader, Positions};
use model_qwen::Text;

use crate::fixtures::shared;

/// Two pairs as case model-01 has them, with other numbers.
const SUMS: &str = r#"{"id":"s","clean":"9 + 8 =","corrupt":"9 + 6 =","answer":" 17","distractor":" 15"}
{"id":"t","clean":"30 + 12 =","corrupt":"30 + 15 =","answer":" 42","distractor":" 45"}"#;

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn answers_that_share_their_first_token_are_refused_and_can_be_measured_whole() {
    let text = Text::open(&shared("tokenizers/qwen2.5/tokenizer.json")).unwrap();
    let pairs = Pairs::parse(SUMS, &text).unwrap();
    for metric in [Metric::LogitDiff, Metric::ProbDiff] {
        let message = metric.check_pair(&pairs.as_slice()[0]).unwrap_err().to_string();
        assert!(
            message.starts_with("pair s: `answer` and `distractor` begin with the same token"),
            "{message}"
        );
        assert!(message.contains("--positions answer"), "{message}");
    }
    let whole = PairsReader::new(&text).positions(Positions::Answer).parse(SUMS).unwrap();
    for pair in &whole {
        Metric::LogitDiff.check_pair(pair).unwrap();
        assert_eq!(pair.n_targets(), 3, "a blank and two digits");
    }
    // A first token that differs is enough: no blank in front.
    let bare = SUMS.replace("\" 17\"", "\"17\"").replace("\" 15\"", "\"25\"");
    Metric::LogitDiff.check_pair(&Pairs::parse(&bare, &text).unwrap().as_slice()[0]).unwrap();
}

/// Qwen's tokenizer with a special token in front of every text, as Llama's and DeepSeek's have it.
fn with_first_token() -> Text {
    let path = shared("tokenizers/qwen2.5/tokenizer.json");
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (first, text) = ("<|endoftext|>", serde_json::json!({"Sequence": {"id": "A", "type_id": 0}}));
    let special = serde_json::json!({"SpecialToken": {"id": first, "type_id": 0}});
    file["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing", "single": [special, text], "pair": [special, text, text],
        "special_tokens": {first: {"id": first, "ids": [151_643], "tokens": [first]}},
    });
    Text::from_bytes(file.to_string().as_bytes()).unwrap()
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn prompts_alone_get_the_special_token() {
    let text = with_first_token();
    let (prompt, answer) = (text.prompt("Paris").unwrap(), text.continuation("Paris").unwrap());
    assert_eq!((prompt[0], &prompt[1..]), (151_643, &answer[..]));
    let line = r#"{"clean":"The capital of France is","corrupt":"The capital of Italy is","answer":" Paris","distractor":" Rome"}"#;
    let pairs = Pairs::parse(line, &text).unwrap();
    let pair = &pairs.as_slice()[0];
    assert_eq!((pair.clean[0], pair.corrupt[0]), (prompt[0], prompt[0]));
    assert!(!pair.target.answers.contains(&prompt[0]) && !pair.target.is_void());
}
