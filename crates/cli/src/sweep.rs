//! `sparks sweep`: ablate each head, each layer of heads or one set of heads, and measure the effect.

use std::path::PathBuf;
use std::sync::Arc;

use ablation::{HeadEffect, replaced, scaled, sweep};
use clap::ValueEnum;
use hooks::{Head, HookedModel as _, Metric, Positions, Task};
use posttrain::Ranks;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::choices::{METRICS, name, named};
use crate::input;
use crate::interventions::{FillName, check_source, fill};
use crate::options::{Common, Result};
use crate::output::say;
use crate::part::{self, Made, Output};
use crate::rows::Rows;

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
    #[arg(long, conflicts_with = "scale", value_name = "IN")]
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
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Head,
    Layer,
    Set,
}

/// The settings, with which the effects of all sets of heads become the result.
#[derive(Serialize, Deserialize)]
pub(crate) struct Settings {
    #[serde(flatten)]
    made: Made,
    by: String,
    change: String,
    metric: String,
    pairs: usize,
    batch: usize,
    /// The sets, by name.
    sets: Vec<String>,
}

/// The metric without and with one set ablated.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    clean: f32,
    ablated: f32,
}

impl part::Settings for Settings {
    const COMMAND: part::Name = part::Name::Sweep;
    type Row = Row;

    fn result(&self, rows: &[Row]) -> Result<Value> {
        let clean = rows.first().map_or(f32::NAN, |row| row.clean);
        let effect = |(set, row): (&String, &Row)| {
            let Row { clean, ablated } = *row;
            let change = HeadEffect { clean, ablated }.change();
            json!({ self.by.as_str(): set, "ablated": ablated, "change": change })
        };
        Ok(json!({
            "metric": self.metric, "change": self.change, "pairs": self.pairs, "clean": clean,
            "effects": self.sets.iter().zip(rows).map(effect).collect::<Vec<_>>(),
        }))
    }
}

impl Settings {
    /// Prints the largest effects of a result.
    fn say(&self, result: &Value, top: usize) {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let Self { by, change, metric, pairs, .. } = self;
        say!("{metric} {:.4} on {pairs} pairs; with each {by} at {change}:", number(&result["clean"]));
        let effects = result["effects"].as_array().map_or(&[][..], Vec::as_slice);
        let mut order: Vec<usize> = (0..effects.len()).collect();
        let size = |i: usize| number(&effects[i]["change"]).abs();
        order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
        for i in order.into_iter().take(top) {
            let (ablated, change) = (number(&effects[i]["ablated"]), number(&effects[i]["change"]));
            say!("  {:<8}{ablated:>10.4}{change:>+10.4}", self.sets[i]);
        }
    }
}

/// Sets of heads that are ablated together, by name.
fn sets(by: By, chosen: &[Head], n_layers: usize) -> Vec<(String, Vec<Head>)> {
    match by {
        By::Head => chosen.iter().map(|h| (h.to_string(), vec![*h])).collect(),
        By::Layer => (0..n_layers)
            .map(|l| (format!("L{l}"), chosen.iter().filter(|h| h.layer == l).copied().collect()))
            .filter(|(_, heads): &(String, Vec<Head>)| !heads.is_empty())
            .collect(),
        By::Set => {
            let names: Vec<String> = chosen.iter().map(ToString::to_string).collect();
            vec![(names.join(","), chosen.to_vec())]
        }
    }
}

/// The effects of `sets`, each replaced by its values on the corrupt prompt of the same pair, so that pairs run one at a
/// time.
fn resampled(task: &Task<'_>, sets: &[Vec<Head>]) -> Result<Vec<HeadEffect>> {
    let mut sums = vec![(0.0f64, 0.0f64); sets.len()];
    for pair in task.pairs {
        let source = hooks::Batch::new(std::slice::from_ref(&pair.corrupt))?;
        let fill = ablation::Fill::Resample(ablation::Resampled::record(task.model, &source).into());
        let one = hooks::Pairs::new(vec![pair.clone()])?;
        let effects = sweep(&task.on(&one), &replaced(task.wiring(), sets, &fill)?)?;
        for (sum, effect) in sums.iter_mut().zip(effects) {
            *sum = (sum.0 + f64::from(effect.clean), sum.1 + f64::from(effect.ablated));
        }
    }
    let n = task.pairs.len() as f64;
    let mean = |(clean, ablated): (f64, f64)| HeadEffect {
        clean: (clean / n) as f32,
        ablated: (ablated / n) as f32,
    };
    Ok(sums.into_iter().map(mean).collect())
}

pub(crate) fn run(common: &Common, args: Args, ranks: &Arc<dyn Ranks>) -> Result {
    check_source(args.fill, args.fill_from.as_deref())?;
    let shard = args.output.shard(common, ranks)?;
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs(common, &args.pairs, &checkpoint, Some((&args.metric, Positions::Last)))?;
    let files = [("pairs_file", Some(&*args.pairs)), ("fill_from", args.fill_from.as_deref())];
    let made = part::made(common, shard, &checkpoint, &files)?;
    let model = common.load(&checkpoint)?;
    let wiring = model.wiring();
    let chosen: Vec<Head> = if args.heads.is_empty() { wiring.heads().collect() } else { args.heads };
    let (names, sets): (Vec<String>, Vec<Vec<Head>>) =
        sets(args.by, &chosen, wiring.n_layers).into_iter().unzip();
    // A head that is not there is refused by every shard.
    replaced(wiring, &sets, &ablation::Fill::Zero)?;
    let rows = Rows::new(shard, ranks, (sets.len(), "set of heads"))?;
    let settings = Settings {
        made,
        by: name(&args.by),
        change: match args.scale {
            Some(factor) => format!("scale {factor}"),
            None => name(&args.fill),
        },
        metric: args.metric.to_string(),
        pairs: pairs.len(),
        batch: args.batch,
        sets: names,
    };
    let task = Task::new(&model, &pairs, args.metric.clone()).batch_size(args.batch);
    let mine: Vec<Vec<Head>> = rows.mine().map(|at| sets[at].clone()).collect();
    let found = match args.scale {
        Some(factor) => sweep(&task, &scaled(wiring, &mine, factor)?)?,
        None if args.fill == FillName::Resample && args.fill_from.is_none() => resampled(&task, &mine)?,
        None => {
            let source = || match &args.fill_from {
                Some(path) => input::checked_batch(common, path, &checkpoint, &model),
                None => Ok(hooks::Batch::new(&pairs.iter().map(|p| p.clean.clone()).collect::<Vec<_>>())?),
            };
            let fill = fill(args.fill, &model, source)?;
            sweep(&task, &replaced(wiring, &mine, &fill)?)?
        }
    };
    let row = |effect: HeadEffect| Row { clean: effect.clean, ablated: effect.ablated };
    let found = found.into_iter().map(row).collect();
    if let Some(result) = args.output.give(common, &settings, rows, found)? {
        settings.say(&result, args.top);
    }
    Ok(())
}
