//! `sparks faithfulness`: run a circuit with the other edges corrupted or ablated, and compare the metric.

use std::path::PathBuf;
use std::sync::Arc;

use ablation::{Baseline, WriterMeans};
use circuits::{Circuit, Null, PruneRule, Rank, curve, faithfulness, faithfulness_of, random_scores};
use clap::ValueEnum;
use common::Error;
use hooks::{Batch, EdgeMap, HookedModel as _, Metric, Pairs, Positions, Task};
use model_qwen::Qwen;
use serde_json::json;

use crate::choices::{METRICS, POSITIONS, name, named};
use crate::input;
use crate::options::{Common, Result};
use crate::output::{print_json, ready, say, to_json};
use crate::result::write_result;

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
    /// Write the result to a file: JSON, or NumPy's .npz by the extension.
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
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

/// Writes the result to `--out`, and prints it with `--json`.
fn give(args: &Args, result: &serde_json::Value) -> Result {
    if let Some(path) = &args.out {
        write_result(path, result)?;
    }
    if args.json {
        print_json(result);
    }
    Ok(())
}

/// Largest number of random circuits, which are in memory together.
const MAX_NULLS: u64 = 1000;

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if args.nulls > MAX_NULLS {
        return Err(Error::input(format!("--nulls: {}, expected at most {MAX_NULLS}", args.nulls)));
    }
    if let Some(out) = &args.out {
        ready(out, &[&args.circuit, &args.pairs])?;
    }
    let file = crate::circuit::read_scores(common, &args.circuit)?;
    let metric = args.metric.clone().or(file.metric()).unwrap_or(Metric::LogitDiff);
    let positions = args.positions.or(file.positions()).unwrap_or_default();
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs_at(common, &args.pairs, &checkpoint, positions)?;
    if let Some(of) = file.provenance.as_ref().and_then(|p| p.model.as_ref())
        && *of != model_qwen::model_hash(checkpoint.dir())?
    {
        common.warn(format!(
            "{}: the circuit was made on another checkpoint than {}",
            args.circuit.display(),
            args.model
        ))?;
    }
    let model = common.load(&checkpoint)?;
    let file = file.on(model.wiring()).map_err(|e| e.within(args.circuit.display()))?;
    let fill = baseline(args.fill, &model, &pairs, args.batch)?;

    let task = Task::new(&model, &pairs, metric.clone()).batch_size(args.batch);
    if args.curve {
        if file.nodes.is_some() {
            return Err(Error::at(&args.circuit, "scores of nodes; --curve is over edges"));
        }
        crate::circuit::note_convention(common, &args.circuit, &file);
        // MIB: absolute scores for CMD, scores in the loss convention for CPR, the pruning rule it pins.
        let prune = PruneRule::Before2025July { greedy: false };
        let along = |scores: &EdgeMap<f32>, rank| curve(&task, scores, rank, prune, &fill);
        let of = |rank| match rank {
            Rank::Signed => along(&file.loss_scores()?, rank),
            Rank::Absolute => along(&file.scores, rank),
        };
        let random = |k: u64| along(&random_scores(file.wiring, common.seed() + k), Rank::Absolute);
        let (absolute, signed) = (of(Rank::Absolute)?, of(Rank::Signed)?);
        let random = (0..args.nulls).map(random).collect::<Result<Vec<_>>>()?;
        if args.json || args.out.is_some() {
            let full = Circuit::full(file.wiring);
            let ends = faithfulness(&task, &full, &fill)?;
            give(
                &args,
                &json!({
                    "clean": ends.clean, "corrupt": ends.corrupt,
                    "metric": metric.to_string(), "positions": positions, "fill": name(&args.fill),
                    "cmd": absolute.cmd, "cpr": signed.cpr, "points": absolute.points, "signed_points": signed.points,
                    "random": random.iter().map(|c| json!({ "cmd": c.cmd, "cpr": c.cpr })).collect::<Vec<_>>(),
                }),
            )?;
        } else {
            say!("share of edges  faithfulness (absolute)  (signed)");
            for (a, s) in absolute.points.iter().zip(&signed.points) {
                say!("{:14.3}  {:23.4}  {:8.4}", a.share, a.faithfulness, s.faithfulness);
            }
            say!("CMD {:.4}  CPR {:.4}", absolute.cmd, signed.cpr);
            for curve in random {
                say!("  random scores: CMD {:.4}  CPR {:.4}", curve.cmd, curve.cpr);
            }
        }
        return Ok(());
    }

    let given = file.circuit();
    crate::circuit::note_empty(common, &args.circuit, &file);
    let circuit = given.pruned();
    let removed = given.n_edges() - circuit.n_edges();
    if removed > 0 {
        common.note(format!(
            "{}: the circuit was not pruned; {removed} edges are pruned first",
            args.circuit.display()
        ));
    }
    let found = faithfulness(&task, &circuit, &fill)?;
    let mut nulls = serde_json::Map::new();
    for (name, kind) in [
        ("random", Null::Random),
        ("layer_matched", Null::LayerMatched),
        ("degree_matched", Null::DegreeMatched),
    ] {
        let drawn: Vec<_> = (0..args.nulls).map(|k| circuit.null(kind, common.seed() + k).pruned()).collect();
        if drawn.is_empty() {
            continue;
        }
        let all = faithfulness_of(&task, &drawn.iter().collect::<Vec<_>>(), &fill)?;
        nulls.insert(name.into(), all.iter().map(|f| f.faithfulness).collect());
    }
    if args.json || args.out.is_some() {
        let mut out = to_json(&found)?;
        out["edges"] = circuit.n_edges().into();
        out["pruned"] = removed.into();
        out["metric"] = metric.to_string().into();
        out["positions"] = json!(positions);
        out["fill"] = name(&args.fill).into();
        out["null_faithfulness"] = nulls.into();
        give(&args, &out)?;
    } else {
        say!(
            "{metric}: clean {:.4}, corrupt {:.4}, circuit {:.4}",
            found.clean,
            found.corrupt,
            found.circuit
        );
        say!(
            "faithfulness {:.4} with {} of {} edges",
            found.faithfulness,
            circuit.n_edges(),
            file.wiring.n_edges()
        );
        for (name, values) in &nulls {
            let values: Vec<f64> =
                values.as_array().into_iter().flatten().filter_map(|x| x.as_f64()).collect();
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
    Ok(())
}
