//! `sparks faithfulness`: run a circuit with the other edges corrupted or ablated, and compare the metric.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ablation::{Baseline, WriterMeans};
use circuits::{
    Circuit, Curve, Faithfulness, Measured, Null, PruneRule, Rank, ScoreFile, Size, along, measure_batches,
    random_scores,
};
use clap::ValueEnum;
use common::Error;
use hooks::{Batch, HookedModel as _, Metric, Pairs, Positions, Task};
use model_qwen::Qwen;
use posttrain::Ranks;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::choices::{METRICS, POSITIONS, name, named};
use crate::input;
use crate::options::{Common, Result};
use crate::output::{say, to_json};
use crate::part::{self, Made, Output};
use crate::rows::Rows;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Circuit file; with --curve a scores file.
    #[arg(long, value_name = "C.json")]
    circuit: PathBuf,
    /// Pairs of clean and corrupt prompts, JSONL.
    #[arg(long, value_name = "P.jsonl")]
    pairs: PathBuf,
    /// Metric. Default: the one in the circuit file, else logit-diff.
    #[arg(long, value_parser = named::<Metric>(&METRICS))]
    metric: Option<Metric>,
    /// Positions at which the metric is read. Default: those in the circuit file, else last.
    #[arg(long, value_parser = named::<Positions>(&POSITIONS))]
    positions: Option<Positions>,
    /// Value of the edges outside the circuit: that of the corrupt prompt, zero, or a mean over the clean prompts.
    #[arg(long, value_enum, default_value_t = EdgeFillName::Corrupt)]
    fill: EdgeFillName,
    /// Faithfulness at MIB's ten circuit sizes, with CPR and CMD.
    #[arg(long)]
    curve: bool,
    /// Number of random circuits of each kind: random, layer-matched, degree-matched.
    #[arg(long, default_value_t = 1, value_name = "N")]
    nulls: u64,
    /// Number of pairs in one batch.
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch: usize,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The fills of edges outside a circuit.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EdgeFillName {
    Corrupt,
    Zero,
    Mean,
    MeanPositional,
}

/// The fill of that name; means are over the clean prompts.
fn baseline(name: EdgeFillName, model: &Qwen, pairs: &Pairs, batch: usize) -> Result<Baseline> {
    let means = || -> Result<Arc<WriterMeans>> {
        let prompts: Vec<Vec<u32>> = pairs.iter().map(|p| p.clean.clone()).collect();
        let batches: std::result::Result<Vec<Batch>, _> =
            prompts.chunks(batch.max(1)).map(Batch::new).collect();
        Ok(Arc::new(WriterMeans::measure(model, &batches?)?))
    };
    Ok(match name {
        EdgeFillName::Corrupt => Baseline::Corrupt,
        EdgeFillName::Zero => Baseline::Zero,
        EdgeFillName::Mean => Baseline::Mean(means()?),
        EdgeFillName::MeanPositional => Baseline::MeanPositional(means()?),
    })
}

/// The settings, with which what was measured on all pairs becomes the result.
#[derive(Serialize, Deserialize)]
pub(crate) struct Settings {
    #[serde(flatten)]
    made: Made,
    metric: String,
    positions: Positions,
    fill: String,
    batch: usize,
    seed: u64,
    /// Edges of the model.
    n_edges: usize,
    circuits: Measure,
}

/// The circuits that are measured, in their order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Measure {
    /// One circuit, then random ones of each kind.
    One { edges: usize, pruned: usize, nulls: Vec<(String, usize)> },
    /// The circuits of a curve by absolute and by signed scores, then those of random scores.
    Curve { absolute: Vec<Size>, signed: Vec<Size>, random: Vec<Vec<Size>> },
}

impl part::Settings for Settings {
    const COMMAND: part::Name = part::Name::Faithfulness;
    /// The pairs of a batch.
    type Row = Vec<Measured>;

    fn result(&self, rows: &[Vec<Measured>]) -> Result<Value> {
        let mut pairs: Vec<Measured> = rows.concat();
        pairs.sort_by_key(|pair| pair.place);
        let n = self.circuits.count();
        if let Some(pair) = pairs.iter().find(|pair| pair.circuits.len() != n) {
            return Err(Error::input(format!("pair {}: `circuits`: expected {n} numbers", pair.id)));
        }
        Ok(match &self.circuits {
            Measure::One { edges, pruned, nulls } => {
                let mut out = to_json(&Faithfulness::of(&pairs, 0))?;
                let (mut values, mut next) = (Map::new(), 1..);
                for (name, n) in nulls {
                    let of = next.by_ref().take(*n).map(|at| Faithfulness::of(&pairs, at).faithfulness);
                    values.insert(name.clone(), of.collect());
                }
                out["edges"] = (*edges).into();
                out["pruned"] = (*pruned).into();
                out["metric"] = self.metric.clone().into();
                out["positions"] = json!(self.positions);
                out["fill"] = self.fill.clone().into();
                out["null_faithfulness"] = values.into();
                out
            }
            Measure::Curve { absolute, signed, random } => {
                let mut next = 0..;
                let mut along = |sizes: &Vec<Size>| {
                    let of =
                        next.by_ref().take(sizes.len()).map(|at| Faithfulness::of(&pairs, at).faithfulness);
                    Curve::of(sizes, &of.collect::<Vec<_>>())
                };
                let (absolute, signed) = (along(absolute), along(signed));
                let random: Vec<Curve> = random.iter().map(along).collect();
                let ends = Faithfulness::of(&pairs, 0);
                json!({
                    "clean": ends.clean, "corrupt": ends.corrupt,
                    "metric": self.metric, "positions": self.positions, "fill": self.fill,
                    "cmd": absolute.cmd, "cpr": signed.cpr, "points": absolute.points, "signed_points": signed.points,
                    "random": random.iter().map(|c| json!({ "cmd": c.cmd, "cpr": c.cpr })).collect::<Vec<_>>(),
                })
            }
        })
    }
}

impl Measure {
    /// Number of circuits.
    fn count(&self) -> usize {
        match self {
            Self::One { nulls, .. } => 1 + nulls.iter().map(|(_, n)| n).sum::<usize>(),
            Self::Curve { absolute, signed, random } => {
                absolute.len() + signed.len() + random.iter().map(Vec::len).sum::<usize>()
            }
        }
    }
}

/// A number of a result.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Settings {
    /// Prints a result.
    fn say(&self, result: &Value) {
        if matches!(self.circuits, Measure::Curve { .. }) {
            say!("share of edges  faithfulness (absolute)  (signed)");
            for (a, s) in list(&result["points"]).iter().zip(list(&result["signed_points"])) {
                let of = |point: &Value| number(&point["faithfulness"]);
                say!("{:14.3}  {:23.4}  {:8.4}", number(&a["share"]), of(a), of(s));
            }
            say!("CMD {:.4}  CPR {:.4}", number(&result["cmd"]), number(&result["cpr"]));
            for curve in list(&result["random"]) {
                say!("  random scores: CMD {:.4}  CPR {:.4}", number(&curve["cmd"]), number(&curve["cpr"]));
            }
            return;
        }
        say!(
            "{}: clean {:.4}, corrupt {:.4}, circuit {:.4}",
            self.metric,
            number(&result["clean"]),
            number(&result["corrupt"]),
            number(&result["circuit"])
        );
        say!(
            "faithfulness {:.4} with {} of {} edges",
            number(&result["faithfulness"]),
            result["edges"],
            self.n_edges
        );
        for (name, values) in result["null_faithfulness"].as_object().into_iter().flatten() {
            let values: Vec<f64> = list(values).iter().filter_map(Value::as_f64).collect();
            let (low, high) =
                values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
            say!(
                "  {} circuits of that size: faithfulness {:.4} on average, {low:.4} to {high:.4} ({} draws)",
                name.replace('_', "-"),
                values.iter().sum::<f64>() / values.len() as f64,
                values.len()
            );
        }
    }
}

/// Largest number of random circuits, which are in memory together.
const MAX_NULLS: u64 = 1000;

/// The circuits of a curve, in groups that are measured together. MIB: absolute scores for CMD, scores in the loss
/// convention for CPR, the pruning rule it pins.
fn on_curve(file: &ScoreFile, seeds: Range<u64>) -> Result<(Measure, Vec<Vec<Circuit>>)> {
    let prune = PruneRule::Before2025July { greedy: false };
    let (absolute, first) = along(&file.scores, Rank::Absolute, prune)?;
    let (signed, second) = along(&file.loss_scores()?, Rank::Signed, prune)?;
    let (mut random, mut groups) = (Vec::new(), vec![first, second]);
    for seed in seeds {
        let (sizes, circuits) = along(&random_scores(file.wiring, seed), Rank::Absolute, prune)?;
        random.push(sizes);
        groups.push(circuits);
    }
    Ok((Measure::Curve { absolute, signed, random }, groups))
}

/// A circuit, pruned, and random ones, in groups that are measured together.
fn with_nulls(given: &Circuit, seeds: Range<u64>) -> (Measure, Vec<Vec<Circuit>>) {
    let circuit = given.pruned();
    let (edges, pruned) = (circuit.n_edges(), given.n_edges() - circuit.n_edges());
    let (mut nulls, mut groups) = (Vec::new(), vec![vec![circuit.clone()]]);
    for (name, kind) in [
        ("random", Null::Random),
        ("layer_matched", Null::LayerMatched),
        ("degree_matched", Null::DegreeMatched),
    ] {
        if !seeds.is_empty() {
            let drawn: Vec<_> = seeds.clone().map(|seed| circuit.null(kind, seed).pruned()).collect();
            nulls.push((name.to_owned(), drawn.len()));
            groups.push(drawn);
        }
    }
    (Measure::One { edges, pruned, nulls }, groups)
}

/// Measures the circuits of each group on the pairs of one batch.
fn measure_batch(
    task: &Task<'_>,
    groups: &[Vec<Circuit>],
    fill: &Baseline,
    batch: usize,
) -> Result<Vec<Measured>> {
    let mut found: Vec<Measured> = Vec::new();
    for group in groups {
        let group: Vec<&Circuit> = group.iter().collect();
        let more = measure_batches(task, &group, fill, &|at| at == batch)?;
        if found.is_empty() {
            found = more;
        } else {
            found.iter_mut().zip(more).for_each(|(pair, more)| pair.circuits.extend(more.circuits));
        }
    }
    Ok(found)
}

pub(crate) fn run(common: &Common, args: Args, ranks: &Arc<dyn Ranks>) -> Result {
    if args.nulls > MAX_NULLS {
        return Err(Error::input(format!("--nulls: {}, expected at most {MAX_NULLS}", args.nulls)));
    }
    let shard = args.output.shard(common, ranks)?;
    let file = crate::circuit::read_scores(common, &args.circuit)?;
    let metric = args.metric.clone().or(file.metric()).unwrap_or(Metric::LogitDiff);
    let positions = args.positions.or(file.positions()).unwrap_or_default();
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs(common, &args.pairs, &checkpoint, Some((&metric, positions)))?;
    if let Some(of) = file.provenance.as_ref().and_then(|p| p.model.as_ref())
        && *of != model_qwen::model_hash(checkpoint.dir())?
    {
        common.warn(format!(
            "{}: the circuit was made on another checkpoint than {}",
            args.circuit.display(),
            args.model
        ))?;
    }
    let files = [("circuit_file", Some(&*args.circuit)), ("pairs_file", Some(&*args.pairs))];
    let made = part::made(common, shard, &checkpoint, &files)?;
    let model = common.load(&checkpoint)?;
    let file = file.on(model.wiring()).map_err(|e| e.within(args.circuit.display()))?;
    let task = Task::new(&model, &pairs, metric.clone()).batch_size(args.batch);
    task.check()?;
    let rows = Rows::new(shard, ranks, (task.batches().count(), "batch of pairs"))?;
    let fill = baseline(args.fill, &model, &pairs, args.batch)?;
    let seeds = common.seed()..common.seed().saturating_add(args.nulls);
    let (circuits, groups) = if args.curve {
        if file.nodes.is_some() {
            return Err(Error::at(&args.circuit, "scores of nodes; --curve is over edges"));
        }
        crate::circuit::note_convention(common, &args.circuit, &file);
        on_curve(&file, seeds)?
    } else {
        crate::circuit::note_empty(common, &args.circuit, &file);
        with_nulls(&file.circuit(), seeds)
    };
    if let Measure::One { pruned: removed @ 1.., .. } = circuits {
        let file = args.circuit.display();
        common.note(format!("{file}: the circuit was not pruned; {removed} edges are pruned first"));
    }
    let settings = Settings {
        made,
        metric: metric.to_string(),
        positions,
        fill: name(&args.fill),
        batch: args.batch,
        seed: common.seed(),
        n_edges: file.wiring.n_edges(),
        circuits,
    };
    let measured = rows.work(|batch| measure_batch(&task, &groups, &fill, batch))?;
    if let Some(result) = args.output.give(common, &settings, rows, measured)? {
        settings.say(&result);
    }
    Ok(())
}
