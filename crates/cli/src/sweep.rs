//! `sparks sweep`: ablate each head, each layer of heads or one set of heads, and measure the effect.

use std::path::PathBuf;

use ablation::{replaced, scaled, sweep};
use clap::ValueEnum;
use hooks::{Head, HookedModel as _, Metric, Task};
use serde_json::json;

use crate::choices::{METRICS, name, named};
use crate::input;
use crate::interventions::{FillName, fill};
use crate::options::{Common, Result};
use crate::output::{print_json, ready, say};
use crate::result::write_result;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Pairs of prompts, JSONL. Heads are ablated on the clean prompts.
    #[arg(long, value_name = "P.jsonl")]
    pairs: PathBuf,
    /// What is ablated together: one head, the heads of one layer, or all chosen heads.
    #[arg(long, value_enum, default_value_t = By::Head)]
    by: By,
    /// Heads to ablate, such as L5H1,L7H3. Default: all.
    #[arg(long, value_delimiter = ',', value_name = "HEADS")]
    heads: Vec<Head>,
    /// Value that replaces z of an ablated head.
    #[arg(long, value_enum, default_value_t = FillName::Zero)]
    fill: FillName,
    /// File of token ids or texts for means and resampling. Default: the clean prompts for means, each pair's
    /// corrupt prompt for resample.
    #[arg(long, value_name = "IN")]
    fill_from: Option<PathBuf>,
    /// Multiply z by a factor instead of replacing it.
    #[arg(long, conflicts_with = "fill", value_name = "FACTOR", allow_negative_numbers = true)]
    scale: Option<f64>,
    /// Metric.
    #[arg(long, default_value = "logit-diff", value_parser = named::<Metric>(&METRICS))]
    metric: Metric,
    /// Number of pairs in one batch.
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch: usize,
    /// Number of rows in the printed table.
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,
    /// Write the result to a file: JSON, or NumPy's .npz by the extension.
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Head,
    Layer,
    Set,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if let Some(out) = &args.out {
        ready(out, &[&args.pairs])?;
    }
    let metric = args.metric.clone();
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs(common, &args.pairs, &checkpoint)?;
    let model = common.load(&checkpoint)?;
    let wiring = model.wiring();
    let chosen: Vec<Head> = if args.heads.is_empty() { wiring.heads().collect() } else { args.heads };
    let sets: Vec<(String, Vec<Head>)> = match args.by {
        By::Head => chosen.iter().map(|h| (h.to_string(), vec![*h])).collect(),
        By::Layer => (0..wiring.n_layers)
            .map(|l| (format!("L{l}"), chosen.iter().filter(|h| h.layer == l).copied().collect()))
            .filter(|(_, heads): &(String, Vec<Head>)| !heads.is_empty())
            .collect(),
        By::Set => {
            let names: Vec<String> = chosen.iter().map(ToString::to_string).collect();
            vec![(names.join(","), chosen)]
        }
    };
    let (names, sets): (Vec<String>, Vec<Vec<Head>>) = sets.into_iter().unzip();
    let task = Task::new(&model, &pairs, metric.clone()).batch_size(args.batch);
    let found = match args.scale {
        Some(factor) => sweep(&task, &scaled(wiring, &sets, factor)?)?,
        None if args.fill == FillName::Resample && args.fill_from.is_none() => {
            // Heads take their values on the corrupt prompt of the same pair, so pairs run one at a time.
            let mut sums = vec![(0.0f64, 0.0f64); sets.len()];
            for pair in &pairs {
                let source = hooks::Batch::new(std::slice::from_ref(&pair.corrupt))?;
                let fill = ablation::Fill::Resample(ablation::Resampled::record(&model, &source).into());
                let one = hooks::Pairs::new(vec![pair.clone()])?;
                let effects = sweep(&task.on(&one), &replaced(wiring, &sets, &fill)?)?;
                for (sum, effect) in sums.iter_mut().zip(effects) {
                    *sum = (sum.0 + f64::from(effect.clean), sum.1 + f64::from(effect.ablated));
                }
            }
            let n = pairs.len() as f64;
            let mean = |(clean, ablated): (f64, f64)| ablation::HeadEffect {
                clean: (clean / n) as f32,
                ablated: (ablated / n) as f32,
            };
            sums.into_iter().map(mean).collect()
        }
        None => {
            let source = || match &args.fill_from {
                Some(path) => input::checked_batch(common, path, &checkpoint, &model),
                None => Ok(hooks::Batch::new(&pairs.iter().map(|p| p.clean.clone()).collect::<Vec<_>>())?),
            };
            let fill = fill(args.fill, &model, source)?;
            sweep(&task, &replaced(wiring, &sets, &fill)?)?
        }
    };
    let clean = found.first().map_or(f32::NAN, |effect| effect.clean);
    let change = match args.scale {
        Some(factor) => format!("scale {factor}"),
        None => name(&args.fill),
    };
    let by = name(&args.by);
    let rows: Vec<_> = names
        .iter()
        .zip(&found)
        .map(|(set, e)| json!({ by.as_str(): set, "ablated": e.ablated, "change": e.change() }))
        .collect();
    let out = json!({
        "metric": metric.to_string(), "change": change, "pairs": pairs.len(), "clean": clean, "effects": rows,
    });
    if let Some(path) = &args.out {
        write_result(path, &out)?;
    }
    if args.json {
        print_json(&out);
    } else if args.out.is_none() {
        say!("{metric} {clean:.4} on {} pairs; with each {by} at {change}:", pairs.len());
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|&a, &b| found[b].change().abs().total_cmp(&found[a].change().abs()));
        for i in order.into_iter().take(args.top) {
            say!("  {:<8}{:>10.4}{:>+10.4}", names[i], found[i].ablated, found[i].change());
        }
    }
    Ok(())
}
