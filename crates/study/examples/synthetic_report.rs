//! Draws the report from SYNTHETIC results, to look at its design: `synthetic_report DIR [complete|plain|null|large|hostile]`.

#[path = "../tests/synthetic/stages.rs"]
mod stages;
#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use hooks::{KeyValue, Wiring};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("expected a folder to write to")?;
    let large =
        Wiring { n_layers: 28, n_heads: 12, n_kv_heads: 2, d_model: 1536, key_value: KeyValue::Grouped };
    let results = match arguments.next().as_deref() {
        Some("null") => synthetic::results(1, 0.0),
        Some("large") => stages::complete(synthetic::results_of(large, 1, 0.5)),
        Some("plain") => synthetic::results(1, 1.0),
        Some("hostile") => hostile(stages::complete(synthetic::results(1, 1.0))),
        Some("complete") | None => stages::complete(synthetic::results(1, 1.0)),
        Some(other) => {
            return Err(format!("{other}: expected complete, plain, null, large or hostile").into());
        }
    };
    study::write_report(&results, std::path::Path::new(&dir))?;
    Ok(())
}

/// Texts that would run or draw something in a page that took them for markup.
fn hostile(mut results: study::Results) -> study::Results {
    let bad = |what: &str| {
        format!(
            "{what} </title></script></style>\"'><img src=x onerror=ran=1><script>ran=1</script>&amp;\u{7}\u{202e}"
        )
    };
    results.title = bad("title");
    results.model.name = bad("model");
    results.notice = Some(bad("notice"));
    results.task.description = bad("task");
    let old: Vec<String> = results.task.suites.iter().map(|s| s.name.clone()).collect();
    let text = serde_json::to_string(&results).expect("finite");
    // Every text that names something else too: suites, trainings, checkpoints.
    let quoted = |name: &str| serde_json::to_string(name).expect("a text");
    let names = old.iter().map(String::as_str).chain(["SFT", "grpo-96", "top180"]);
    let text = names.fold(text, |text, name| text.replace(&quoted(name), &quoted(&bad(name))));
    let mut results: study::Results = serde_json::from_str(&text).expect("still results");
    for said in results.task.examples.iter_mut().flat_map(|e| e.completions.iter_mut()) {
        said.text = bad("completion");
    }
    for case in results.cases.iter_mut().flat_map(|c| c.examples.iter_mut()) {
        case.problem = bad("prompt");
        case.after.text = bad("sample");
    }
    results
}
