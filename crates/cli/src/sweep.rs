//! `sparks sweep`: what every head, every layer of heads or one set of them is worth on pairs.

use std::path::PathBuf;

use ablation::{replaced, scaled, sweep};
use hooks::{Head, HookedModel as _, Metric};
use serde_json::json;

use crate::input;
use crate::interventions::{fill, parse};
use crate::options::{Common, Failure, Result};
use crate::output::{print_json, ready, say, write_whole};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder.
    model: String,
    /// Pairs of prompts, JSONL; heads are ablated on the clean ones.
    #[arg(long, value_name = "P.jsonl")]
    pairs: PathBuf,
    /// What is ablated at a time: a head, a layer's heads, or all the chosen heads together.
    #[arg(long, default_value = "head", value_name = "head|layer|set")]
    by: String,
    /// Only these heads, such as L5H1,L7H3; all where not given.
    #[arg(long, value_delimiter = ',', value_name = "HEADS")]
    heads: Vec<String>,
    /// What an ablated head's values become.
    #[arg(long, default_value = "zero", value_name = "zero|mean|mean-positional|resample")]
    fill: String,
    /// Token ids or texts that means and resampled values are taken from; the clean prompts, and for resample
    /// the corrupt ones, where not given.
    #[arg(long, value_name = "IN")]
    fill_from: Option<PathBuf>,
    /// Multiply by a factor instead.
    #[arg(long, conflicts_with = "fill", value_name = "FACTOR", allow_negative_numbers = true)]
    scale: Option<f64>,
    /// What is measured.
    #[arg(long, default_value = "logit-diff", value_name = "logit-diff|prob-diff|kl|nll")]
    metric: String,
    /// Pairs in one run.
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch: usize,
    /// Rows of the printed table.
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,
    /// The JSON object as a file.
    #[arg(long, value_name = "OUT.json")]
    out: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if let Some(out) = &args.out {
        ready(out, &[&args.pairs])?;
    }
    let metric: Metric = args.metric.parse().map_err(|e| Failure::input(format!("--{e}")))?;
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs(common, &args.pairs, &checkpoint)?;
    let model = common.load(&checkpoint)?;
    let wiring = model.wiring();
    let chosen: Vec<Head> =
        if args.heads.is_empty() { wiring.heads().collect() } else { parse(&args.heads)? };
    let sets: Vec<(String, Vec<Head>)> = match args.by.as_str() {
        "head" => chosen.iter().map(|h| (h.to_string(), vec![*h])).collect(),
        "layer" => (0..wiring.n_layers)
            .map(|l| (format!("L{l}"), chosen.iter().filter(|h| h.layer == l).copied().collect()))
            .filter(|(_, heads): &(String, Vec<Head>)| !heads.is_empty())
            .collect(),
        "set" => {
            let names: Vec<String> = chosen.iter().map(ToString::to_string).collect();
            vec![(names.join(","), chosen)]
        }
        other => return Err(Failure::input(format!("--by {other}: expected head, layer or set"))),
    };
    let (names, sets): (Vec<String>, Vec<Vec<Head>>) = sets.into_iter().unzip();
    let found = match args.scale {
        Some(factor) => sweep(&model, &pairs, metric, &scaled(wiring, &sets, factor)?, args.batch)?,
        None if args.fill == "resample" && args.fill_from.is_none() => {
            // Each pair's heads take what they mixed on its own corrupt prompt, so pairs run one by one.
            let mut sums = vec![(0.0f64, 0.0f64); sets.len()];
            for pair in &pairs {
                let source = hooks::Batch::new(std::slice::from_ref(&pair.corrupt))?;
                let fill = ablation::Fill::Resample(ablation::Resampled::record(&model, &source).into());
                let one = hooks::Pairs::new(vec![pair.clone()])?;
                let effects = sweep(&model, &one, metric, &replaced(wiring, &sets, &fill)?, 1)?;
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
                Some(path) => input::checked_batch(path, &checkpoint, &model),
                None => Ok(hooks::Batch::new(&pairs.iter().map(|p| p.clean.clone()).collect::<Vec<_>>())?),
            };
            let fill = fill(&args.fill, &model, source)?;
            sweep(&model, &pairs, metric, &replaced(wiring, &sets, &fill)?, args.batch)?
        }
    };
    let clean = found.first().map_or(f32::NAN, |effect| effect.clean);
    let change = match args.scale {
        Some(factor) => format!("scale {factor}"),
        None => args.fill.clone(),
    };
    let rows: Vec<_> = names
        .iter()
        .zip(&found)
        .map(|(name, e)| json!({ args.by.as_str(): name, "ablated": e.ablated, "change": e.change() }))
        .collect();
    let out = json!({
        "metric": metric.to_string(), "change": change, "pairs": pairs.len(), "clean": clean, "effects": rows,
    });
    if let Some(path) = &args.out {
        write_whole(path, format!("{out:#}\n").as_bytes())?;
    }
    if args.json {
        print_json(&out);
    } else if args.out.is_none() {
        say!("{metric} {clean:.4} on {} pairs; with each {} at {change}:", pairs.len(), args.by);
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|&a, &b| found[b].change().abs().total_cmp(&found[a].change().abs()));
        for i in order.into_iter().take(args.top) {
            say!("  {:<8}{:>10.4}{:>+10.4}", names[i], found[i].ablated, found[i].change());
        }
    }
    Ok(())
}
