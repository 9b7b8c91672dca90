//! Pairs files under tokenizers that people have: special tokens in front, numbers split into digits.

use hooks::{Encode as _, Metric, Pairs, PairsReader, Positions};
use model_qwen::Text;

use crate::fixtures::shared;

fn text(name: &str) -> Option<Text> {
    let path = shared(&format!("tokenizers/{name}/tokenizer.json"))?;
    Some(Text::open(&path).unwrap())
}

/// Two pairs as case model-01 has them, with other numbers.
const SUMS: &str = r#"{"id":"s","clean":"9 + 8 =","corrupt":"9 + 6 =","answer":" 17","distractor":" 15"}
{"id":"t","clean":"30 + 12 =","corrupt":"30 + 15 =","answer":" 42","distractor":" 45"}"#;

#[test]
fn answers_that_share_their_first_token_are_refused_and_can_be_measured_whole() {
    let Some(text) = text("qwen2.5") else { return };
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

#[test]
fn prompts_alone_get_the_special_token() {
    let Some(text) = text("r1-distill-qwen-1.5b") else { return };
    let (prompt, answer) = (text.prompt("Paris").unwrap(), text.continuation("Paris").unwrap());
    assert_eq!(prompt[1..], answer[..], "the tokenizer puts one token in front");
    let line = r#"{"clean":"The capital of France is","corrupt":"The capital of Italy is","answer":" Paris","distractor":" Rome"}"#;
    let pairs = Pairs::parse(line, &text).unwrap();
    let pair = &pairs.as_slice()[0];
    assert_eq!((pair.clean[0], pair.corrupt[0]), (prompt[0], prompt[0]));
    assert!(!pair.target.answers.contains(&prompt[0]) && !pair.target.is_void());
}
