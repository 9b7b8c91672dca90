//! `sparks heads`: for each head its place in a circuit, the ranks of its weights, the entropy of its attention.

use std::path::PathBuf;

use circuits::{attention_entropy, head_spectra, paths};
use common::Error;
use hooks::{Head, HookedModel as _};
use serde_json::{Map, Value, json};

use crate::circuit::{note_empty, read_scores};
use crate::input;
use crate::options::{Common, Result};
use crate::output::{print_json, ready, say};
use crate::result::write_result;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Circuit file: adds degrees, and paths from the input through each head to the logits.
    #[arg(long, value_name = "C.json")]
    circuit: Option<PathBuf>,
    /// Pairs of prompts, JSONL: adds the attention entropy on the clean prompts.
    #[arg(long, value_name = "P.jsonl")]
    pairs: Option<PathBuf>,
    /// Write the result to a file: JSON, or NumPy's .npz by the extension.
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if let Some(out) = &args.out {
        ready(out)?;
    }
    let file = args.circuit.as_ref().map(|path| read_scores(common, path)).transpose()?;
    let checkpoint = common.open(&args.model)?;
    let pairs = args.pairs.as_ref().map(|path| input::pairs(common, path, &checkpoint, None)).transpose()?;
    let model = common.load(&checkpoint)?;
    let wiring = model.wiring();

    let spectra = head_spectra(&model)?;
    let entropies = pairs.as_ref().map(|pairs| attention_entropy(&model, pairs)).transpose()?;
    let places = match (file, &args.circuit) {
        (Some(file), Some(path)) => {
            let at = |e: Error| e.within(path.display());
            let file = file.on(wiring).map_err(at)?;
            note_empty(common, path, &file);
            Some(paths(&file.circuit(), &file.scores).map_err(at)?)
        }
        _ => None,
    };

    let mut rows: Vec<(Head, Value)> = Vec::new();
    for head in wiring.heads() {
        let mut row = Map::from_iter([("head".to_owned(), json!(head.to_string()))]);
        let mut add = |value: serde_json::Result<Value>| -> Result {
            if let Value::Object(fields) = value.map_err(Error::internal)? {
                row.extend(fields);
            }
            Ok(())
        };
        if let Some(places) = &places {
            add(serde_json::to_value(places.heads.get(head)))?;
            // Of an empty circuit every head has nothing.
            let share = if places.weight > 0.0 { places.heads.get(head).weight / places.weight } else { 0.0 };
            add(Ok(json!({ "weight_share": share })))?;
        }
        add(serde_json::to_value(spectra.get(head)))?;
        if let Some(entropies) = &entropies {
            let e = entropies.get(head);
            add(Ok(json!({ "attention_entropy": e.entropy, "attention_entropy_normalised": e.normalised })))?;
        }
        rows.push((head, row.into()));
    }
    let mut out = json!({ "heads": rows.iter().map(|(_, row)| row).collect::<Vec<_>>() });
    if let Some(places) = &places {
        out["circuit"] = json!({ "paths": places.paths, "weight": places.weight });
    }
    if let Some(path) = &args.out {
        write_result(path, &out)?;
    }
    if args.json {
        print_json(&out);
        return Ok(());
    }
    if args.out.is_some() {
        return Ok(());
    }
    const COLUMNS: [(&str, &str, bool); 11] = [
        ("in q", "into_query", false),
        ("in k", "into_key", false),
        ("in v", "into_value", false),
        ("out", "out", false),
        ("paths", "paths", true),
        ("weight %", "weight_share", true),
        ("OV rank", "ov_effective_rank", true),
        ("OV stable", "ov_stable_rank", true),
        ("QK rank", "qk_effective_rank", true),
        ("QK stable", "qk_stable_rank", true),
        ("entropy", "attention_entropy", true),
    ];
    let shown: Vec<_> = COLUMNS.iter().filter(|(_, field, _)| rows[0].1.get(field).is_some()).collect();
    say!("{:<8}{}", "head", shown.iter().map(|(title, ..)| format!("{title:>11}")).collect::<String>());
    for (head, row) in &rows {
        // Heads outside the circuit are not shown in its table.
        if places.as_ref().is_some_and(|p| p.heads.get(*head).paths == 0.0) {
            continue;
        }
        let cell = |(_, field, fraction): &&(&str, &str, bool)| match (row[*field].as_f64(), fraction) {
            (Some(x), _) if *field == "weight_share" => format!("{:>11.2}", 100.0 * x),
            (Some(x), true) if x.abs() >= 1e6 => format!("{x:>11.3e}"),
            (Some(x), true) if *field == "paths" => format!("{x:>11.0}"),
            (Some(x), true) => format!("{x:>11.3}"),
            (Some(x), false) => format!("{x:>11.0}"),
            (None, _) => format!("{:>11}", "-"),
        };
        say!("{:<8}{}", head.to_string(), shown.iter().map(cell).collect::<String>());
    }
    let mut units = vec!["ranks in dimensions"];
    if places.is_some() {
        units = vec!["in and out in edges", "weight in % of the circuit's paths", "ranks in dimensions"];
    }
    if entropies.is_some() {
        units.push("entropy in nats");
    }
    common.note(units.join("; "));
    Ok(())
}
