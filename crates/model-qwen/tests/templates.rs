//! Chat templates against `transformers`: templates in the style of published ones over conversations with tools,
//! reasoning, parts and nulls; and pieces of the language by themselves (`tools/oracles/templates.py`).
#![allow(clippy::unwrap_used)]

use model_qwen::{ChatOptions, ChatTemplate, Error};
use serde_json::Value;

fn read(name: &str) -> String {
    let path = format!("{}/testdata/templates/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether the result is what the row says, or how it differs.
fn compare(row: &Value, found: Result<String, Error>) -> Result<(), String> {
    match (row["text"].as_str(), found) {
        (Some(expected), Ok(found)) if found == expected => Ok(()),
        (None, Err(_)) => Ok(()),
        (expected, found) => Err(format!("expected {expected:?} {}\n   found {found:?}", row["error"])),
    }
}

#[test]
fn templates_of_many_families_render_as_in_transformers() {
    let conversations: Value = serde_json::from_str(&read("conversations.json")).unwrap();
    let given: Value = serde_json::from_str(&read("tools.json")).unwrap();
    let (mut failures, mut spans) = (Vec::new(), 0);
    let rows = rows(&read("cases.jsonl"));
    assert!(rows.len() > 1100);
    for row in &rows {
        let name = row["template"].as_str().unwrap();
        let template = ChatTemplate::new(read(&format!("{name}.jinja")), "<s>", "</s>")
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut options = ChatOptions::default();
        for (key, value) in row["options"].as_object().unwrap() {
            match key.as_str() {
                "add_generation_prompt" => options.add_generation_prompt = value == true,
                "continue_final_message" => options.continue_final_message = true,
                "tools" => options.tools = Some(given["tools"].clone()),
                "documents" => options.documents = Some(given["documents"].clone()),
                _ => drop(options.variables.insert(key.clone(), value.clone())),
            }
        }
        let messages = conversations[row["conversation"].as_str().unwrap()].as_array().unwrap();
        let what = format!("{name} {} {}", row["conversation"], row["options"]);
        if let Err(why) = compare(row, template.apply(messages, &options)) {
            failures.push(format!("{what}: {why}"));
        }
        if let Some(generated) = row["generated"].as_array() {
            let found = template.apply_with_spans(messages, &options).unwrap();
            let pieces: Vec<&str> = found.generated.iter().map(|span| &found.text[span.clone()]).collect();
            assert_eq!(pieces, *generated, "{what}");
            spans += pieces.len();
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), rows.len(), failures.join("\n"));
    assert!(spans > 40, "{spans}");
}

#[test]
fn the_language_is_that_of_python() {
    let rows = rows(&read("snippets.jsonl"));
    let mut failures = Vec::new();
    for row in &rows[1..] {
        let source = row["source"].as_str().unwrap();
        let template = ChatTemplate::new(source.to_owned(), "<s>", "</s>");
        let options = ChatOptions {
            variables: rows[0]["values"].as_object().unwrap().clone(),
            ..ChatOptions::default()
        };
        if let Err(why) = compare(row, template.and_then(|template| template.apply(&[], &options))) {
            failures.push(format!("{source}\n{why}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

#[test]
fn spans_end_where_a_message_is_continued() {
    let source = "{% for m in messages %}{{ m.role }}:{% generation %} {{ m.content }}.{% endgeneration %}{% endfor %}";
    let template = ChatTemplate::new(source.to_owned(), "", "").unwrap();
    assert!(template.marks_generation());
    let messages =
        [serde_json::json!({"role": "a", "content": "é"}), serde_json::json!({"role": "b", "content": "x"})];
    let mut options = ChatOptions::default();
    let whole = template.apply_with_spans(&messages, &options).unwrap();
    assert_eq!((whole.text.as_str(), whole.generated), ("a: é.b: x.", vec![2..6, 8..11]));
    options.continue_final_message = true;
    let cut = template.apply_with_spans(&messages, &options).unwrap();
    assert_eq!((cut.text.as_str(), cut.generated), ("a: é.b: x", vec![2..6, 8..10]));
    options.add_generation_prompt = true;
    assert!(
        template
            .apply(&messages, &options)
            .unwrap_err()
            .to_string()
            .contains("excludes add_generation_prompt")
    );
}

#[test]
fn every_kind_of_line_break_is_one() {
    // jinja2 3.1: Template("a\r\n{{ 'b\r\nc\rd' }}").render() == "a\nb\nc\nd"
    let template = ChatTemplate::new("a\r\n{{ 'b\r\nc\rd' }}".to_owned(), "", "").unwrap();
    assert_eq!(template.apply(&[], &ChatOptions::default()).unwrap(), "a\nb\nc\nd");
}
