//! `sparks lens`: logit lens of the residual streams, and direct logit attribution of heads and MLPs.

use std::path::PathBuf;

use attribution::{At, direct_logit_attribution, direct_mean, logit_lens, logit_lens_metric};
use burn::tensor::Tensor;
use common::Error;
use hooks::{HookedModel as _, Metric, Positions, Rows, Site, Stream, Task};
use ndarray::ArrayView1;
use serde_json::{Value, json};

use crate::choices::{METRICS, named, table};
use crate::input::{self, Input};
use crate::options::{Common, Result, text};
use crate::output::{print_json, ready, say};
use crate::result::write_result;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// File of token ids or texts: print the most likely tokens of each residual stream.
    #[arg(long, conflicts_with = "pairs", value_name = "IN")]
    input: Option<PathBuf>,
    /// Pairs of prompts, JSONL: print the metric of each residual stream, and direct logit attribution.
    #[arg(long, value_name = "P.jsonl")]
    pairs: Option<PathBuf>,
    /// Positions: the last, or all. With --pairs it applies to direct logit attribution.
    #[arg(long, default_value = "last", value_parser = table(&[("last", At::Last), ("all", At::Every)]))]
    positions: At,
    /// Also read the residual stream between attention and MLP of each block.
    #[arg(long)]
    mid: bool,
    /// Number of most likely tokens of each stream, and size of the printed table.
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,
    /// Metric of the logit lens on pairs. Direct logit attribution is always of the logit difference.
    #[arg(long, default_value = "logit-diff", value_parser = named::<Metric>(&METRICS))]
    metric: Metric,
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
    let at = args.positions;
    let found = match &args.pairs {
        Some(path) => of_pairs(common, &args, path, at)?,
        None => of_input(common, &args, at)?,
    };
    if let Some(path) = &args.out {
        write_result(path, &found)?;
    }
    if args.json {
        print_json(&found);
    } else if args.out.is_none() {
        print(&found, args.top);
    }
    Ok(())
}

fn of_input(common: &Common, args: &Args, at: At) -> Result<Value> {
    let path = args.input.as_ref().ok_or_else(|| Error::input("missing --input IN or --pairs P.jsonl"))?;
    let checkpoint = common.open(&args.model)?;
    let input = Input::read(common, path, &checkpoint)?;
    let text = text(&checkpoint)?;
    let model = common.load(&checkpoint)?;
    let prompts = input.prompts(checkpoint.config.vocab)?;
    let mut rows = Vec::new();
    for prompt in &prompts {
        let batch = hooks::Batch::new(std::slice::from_ref(prompt))?;
        model.check(&batch).map_err(|e| e.within(path.display()))?;
        let batch = if at == At::Last { batch.rows(Rows::Last) } else { batch };
        let mut streams = Vec::new();
        logit_lens(&model, &batch, args.mid, |stream, logits| -> Result {
            let positions = likeliest(logits, args.top)?;
            let positions = positions.into_iter().map(|tokens| -> Result<Value> {
                let tokens = tokens.into_iter().map(|(id, logit, prob)| -> Result<Value> {
                    let mut token = json!({ "id": id, "logit": logit, "prob": prob });
                    if let Some(text) = &text {
                        token["text"] = text.decode(&[id])?.into();
                    }
                    Ok(token)
                });
                Ok(tokens.collect::<Result<Vec<_>>>()?.into())
            });
            let positions = positions.collect::<Result<Vec<_>>>()?;
            streams.push(json!({ "stream": Site::from(stream).to_string(), "top": positions }));
            Ok(())
        })?;
        rows.push(json!({ "input_ids": prompt, "lens": streams }));
    }
    Ok(json!({ "rows": rows }))
}

/// The `k` most likely tokens of each position of `[1, positions, vocab]`: id, logit, probability.
fn likeliest(logits: Tensor<3>, k: usize) -> Result<Vec<Vec<(u32, f32, f32)>>> {
    let vocab = logits.dims()[2];
    let values: Vec<f32> = logits.into_data().try_to_vec().map_err(Error::internal)?;
    let positions = values.chunks(vocab).map(|row| {
        let highest = row.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x));
        let total: f64 = row.iter().map(|&x| f64::from(x - highest).exp()).sum();
        let mut ids: Vec<u32> = (0..vocab as u32).collect();
        let descending = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
        let k = k.min(vocab);
        if k < vocab {
            ids.select_nth_unstable_by(k, descending);
        }
        ids.truncate(k);
        ids.sort_by(descending);
        let of = |id: u32| {
            let logit = row[id as usize];
            (id, logit, (f64::from(logit - highest).exp() / total) as f32)
        };
        ids.into_iter().map(of).collect()
    });
    Ok(positions.collect())
}

fn of_pairs(common: &Common, args: &Args, path: &std::path::Path, at: At) -> Result<Value> {
    let metric = args.metric.clone();
    let checkpoint = common.open(&args.model)?;
    // Direct logit attribution is of the logit difference, whatever the metric of the lens is.
    let pairs = input::pairs(common, path, &checkpoint, Some((&Metric::LogitDiff, Positions::Last)))?;
    let model = common.load(&checkpoint)?;
    let streams = logit_lens_metric(&Task::new(&model, &pairs, metric.clone()), args.mid)?;
    let streams: Vec<Value> = streams
        .into_iter()
        .map(|(stream, value)| json!({ "stream": Site::from(stream).to_string(), "value": value }))
        .collect();
    let wiring = model.wiring();
    let found = direct_logit_attribution(&model, &pairs, at)?;
    let (total, writers) = direct_mean(wiring, &found);
    let mut out = json!({
        "metric": metric.to_string(),
        "lens": streams,
        "direct": {
            "logit_diff": total,
            "writers": writers.iter().map(|(w, x)| (w.to_string(), json!(x))).collect::<serde_json::Map<_, _>>(),
        },
    });
    let per_pair = found.iter().map(|pair| {
        let of = |values: ArrayView1<'_, f32>| match at {
            At::Last => json!(values[0]),
            At::Every => json!(values.to_vec()),
        };
        let parts = wiring.writers().zip(pair.writers.outer_iter()).map(|(w, x)| (w.to_string(), of(x)));
        json!({
            "id": pair.id, "logit_diff": of(pair.logit_diff.view()), "biases": of(pair.biases.view()),
            "writers": parts.collect::<serde_json::Map<_, _>>(),
        })
    });
    out["direct"]["per_pair"] = per_pair.collect::<Vec<_>>().into();
    Ok(out)
}

fn print(found: &Value, top: usize) {
    let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
    for row in found["rows"].as_array().into_iter().flatten() {
        say!("{} tokens", row["input_ids"].as_array().map_or(0, Vec::len));
        for stream in row["lens"].as_array().into_iter().flatten() {
            let name = stream["stream"].as_str().unwrap_or_default();
            for (position, tokens) in stream["top"].as_array().into_iter().flatten().enumerate() {
                let tokens = tokens.as_array().into_iter().flatten().map(|t| {
                    let name = t["text"].as_str().map_or(t["id"].to_string(), |text| format!("{text:?}"));
                    format!("{name} {:.3}", number(&t["prob"]))
                });
                let position = if stream["top"].as_array().map_or(0, Vec::len) > 1 {
                    format!("{position:>4}")
                } else {
                    String::new()
                };
                say!("{name:<28}{position}  {}", tokens.collect::<Vec<_>>().join("  "));
            }
        }
    }
    let Some(streams) = found["lens"].as_array() else { return };
    say!("logit lens: {} of each residual stream", found["metric"].as_str().unwrap_or_default());
    for stream in streams {
        let name: Stream = match stream["stream"].as_str().unwrap_or_default().parse() {
            Ok(Site::Stream(name)) => name,
            _ => continue,
        };
        say!("  {:<26}{:>10.4}", Site::from(name).to_string(), number(&stream["value"]));
    }
    let direct = &found["direct"];
    say!(
        "direct logit attribution: largest contributions to the logit difference of {:.4}",
        number(&direct["logit_diff"])
    );
    let mut writers: Vec<(&String, f64)> =
        direct["writers"].as_object().into_iter().flatten().map(|(w, x)| (w, number(x))).collect();
    writers.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    for (writer, value) in writers.into_iter().take(top.max(1) * 4) {
        say!("  {writer:<26}{value:>+10.4}");
    }
}
