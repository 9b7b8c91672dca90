//! `sparks attribute`: score every edge, or every node, of a model on pairs of prompts.

use std::path::PathBuf;
use std::sync::Arc;

use attribution::{
    Endpoint, Method, NodeScores, Options, PairNodeScores, PairScores, PairSummary, Scores, score_nodes,
    score_pair, zero_gradient,
};
use circuits::{PairMetric, PerPair, Provenance, ScoreFile, ScoreLevel};
use clap::ValueEnum;
use common::{Error, file_hash, write_whole};
use hooks::{EdgeMap, KeyValue, Metric, NodeMap, Positions, Task};
use model_qwen::model_hash;
use posttrain::Ranks;
use serde_json::{Map, Value, json};

use crate::choices::{METRICS, POSITIONS, name, named, table};
use crate::input;
use crate::options::{Common, Result};
use crate::output::{print_json, progress, ready, to_json};
use crate::rows::{Rows, shard_of_job};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Pairs of clean and corrupt prompts, JSONL.
    #[arg(long, value_name = "P.jsonl")]
    pairs: PathBuf,
    /// Score edges, or nodes (a head, an MLP or the input with all its outgoing edges).
    #[arg(long, value_enum, default_value_t = Level::Edges)]
    level: Level,
    /// Attribution method.
    #[arg(long, value_enum, default_value_t = MethodName::EapIgInputs)]
    method: MethodName,
    /// Number of sample points of integrated gradients; 5 where not given.
    #[arg(long, value_name = "M")]
    steps: Option<usize>,
    /// Sample points: left is k/M for k = 0..M-1, right is k = 1..M. Default: left for eap-ig-inputs, right for
    /// eap-ig-activations.
    #[arg(long, value_parser = table(&ENDPOINTS))]
    endpoint: Option<Endpoint>,
    /// Metric whose gradient is taken.
    #[arg(long, default_value = "logit-diff", value_parser = named::<Metric>(&METRICS))]
    metric: Metric,
    /// Positions at which the metric is read: the last of the prompt, all of a given answer, or all of the prompt.
    #[arg(long, default_value = "last", value_parser = named::<Positions>(&POSITIONS))]
    positions: Positions,
    /// Key and value inputs: one for each query head, or one for each key/value head.
    #[arg(long, default_value = "ungrouped", value_parser = table(&KEY_VALUES))]
    kv: KeyValue,
    /// Leave the scores of all edges into heads at zero.
    #[arg(long)]
    source_only: bool,
    /// Store the scores of each pair in the file.
    #[arg(long)]
    per_pair: bool,
    /// Recompute blocks in the backward pass: 1.5 times as slow, much less memory on long prompts.
    #[arg(long)]
    recompute: bool,
    /// Score only every N-th pair, from pair I. Default: `SPARKS_SHARD`, else the array of the scheduler (Slurm, AWS
    /// Batch, SkyPilot, Cloud Run, Google Batch, Grid Engine).
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Output file: .json (EAP-IG's format), .pt or .safetensors.
    #[arg(long, value_name = "SCORES")]
    out: PathBuf,
    /// Print a summary as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    Nodes,
    Edges,
}

/// The methods; their settings are flags of their own.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MethodName {
    Eap,
    EapIgInputs,
    EapIgActivations,
    CleanCorrupt,
    Exact,
}

const ENDPOINTS: [(&str, Endpoint); 3] =
    [("left", Endpoint::Left), ("right", Endpoint::Right), ("midpoint", Endpoint::Midpoint)];
const KEY_VALUES: [(&str, KeyValue); 2] =
    [("grouped", KeyValue::Grouped), ("ungrouped", KeyValue::Ungrouped)];

/// Points of integrated gradients where none are given.
const STEPS: usize = 5;

fn method(args: &Args) -> Method {
    let steps = args.steps.unwrap_or(STEPS);
    let endpoint = |default| args.endpoint.unwrap_or(default);
    match args.method {
        MethodName::Eap => Method::Eap,
        MethodName::EapIgInputs => Method::EapIgInputs { steps, endpoint: endpoint(Endpoint::Left) },
        MethodName::EapIgActivations => {
            Method::EapIgActivations { steps, endpoint: endpoint(Endpoint::Right) }
        }
        MethodName::CleanCorrupt => Method::CleanCorrupt,
        MethodName::Exact => Method::Exact,
    }
}

pub(crate) fn run(common: &Common, args: Args, ranks: &Arc<dyn Ranks>) -> Result {
    let (metric, method, positions, key_value) =
        (args.metric.clone(), method(&args), args.positions, args.kv);
    if !matches!(method, Method::EapIgInputs { .. } | Method::EapIgActivations { .. }) {
        let given = [("steps", args.steps.is_some()), ("endpoint", args.endpoint.is_some())];
        for (name, _) in given.iter().filter(|(_, given)| *given) {
            common.warn(format!("--{name}: no effect with --method {method}, which integrates nothing"))?;
        }
    }
    let shard = shard_of_job(common, args.shard.as_deref(), ranks)?;
    if args.level == Level::Nodes && args.source_only {
        return Err(Error::input("--source-only: needs --level edges"));
    }
    let level = name(&args.level);
    ScoreFile::check_path(&args.out)?;
    ready(&args.out)?;
    if args.out.extension().is_some_and(|e| e == "pt") && (args.per_pair || shard.is_some()) {
        return Err(Error::at(
            &args.out,
            ".pt has no room for pairs, which --per-pair and --shard keep; expected .json or .safetensors",
        ));
    }
    let checkpoint = common.open(&args.model)?;
    let all = input::pairs(common, &args.pairs, &checkpoint, Some((&metric, positions)))?;
    let rows = Rows::new(shard, ranks, (all.len(), "pair"))?;
    let model = common.load(&checkpoint)?;
    // A shard keeps its pairs' scores, so that merged shards have the bits of one run.
    let options = Options {
        key_value,
        source_only: args.source_only,
        per_pair: args.per_pair || shard.is_some(),
        recompute: args.recompute,
    };
    let task = Task::new(&model, &all, metric.clone());
    if let Some(warning) = zero_gradient(method, &metric) {
        common.warn(warning.to_string())?;
    }
    let bar = progress(common, rows.mine().len(), "scoring pairs");
    let pair = |row: usize| {
        bar.inc(1);
        &all.as_slice()[row]
    };
    let (nodes, mut scores, per_pair) = if args.level == Level::Nodes {
        let mut scored = rows.each(|row| {
            let PairNodeScores { summary, scores } = score_nodes(&task, pair(row), method)?;
            Ok((summary, scores.values().to_vec()))
        });
        if !rows.is_first() {
            return scored.try_for_each(|none| none.map(drop));
        }
        let wiring = task.wiring();
        let of = |(summary, values)| PairNodeScores { summary, scores: NodeMap::from_values(wiring, values) };
        let NodeScores { mean, pairs, per_pair, .. } = NodeScores::collect(scored.map(|one| one.map(of)))?;
        let edges = EdgeMap::filled(mean.wiring().with(key_value), 0.0);
        let rows = options.per_pair.then(|| per_pair.into_iter().collect());
        (Some(mean), Scores { mean: edges, pairs, per_pair: None, warnings: Vec::new() }, rows)
    } else {
        let mut scored = rows.each(|row| {
            let PairScores { id, scores, clean, corrupt, input_sum } =
                score_pair(&task, pair(row), method, options)?;
            Ok((PairSummary { id, clean, corrupt, input_sum }, scores.values().to_vec()))
        });
        if !rows.is_first() {
            return scored.try_for_each(|none| none.map(drop));
        }
        let wiring = task.wiring().with(key_value);
        let of = |(PairSummary { id, clean, corrupt, input_sum }, values)| PairScores {
            id,
            scores: EdgeMap::from_values(wiring, values),
            clean,
            corrupt,
            input_sum,
        };
        let mut scores = Scores::collect(scored.map(|one| one.map(of)), options)?;
        let rows = scores.per_pair.take();
        (None, scores, rows.map(|rows| rows.into_iter().collect()))
    };
    bar.finish_and_clear();
    if zero_gradient(method, &metric).is_none() {
        scores.warnings.drain(..).try_for_each(|warning| common.warn(warning.to_string()))?;
    }

    let order: Vec<u64> = rows.all().map(|row| row as u64).collect();
    let provenance = Provenance {
        version: Some(env!("CARGO_PKG_VERSION").into()),
        method: Some(method.to_string()),
        settings: Some(to_json(&method)?),
        metric: Some(metric.to_string()),
        level: Some(if args.level == Level::Nodes { ScoreLevel::Nodes } else { ScoreLevel::Edges }),
        positions: Some(positions),
        source_only: Some(args.source_only),
        dtype: Some(format!("{:?}", common.dtype()).to_lowercase()),
        model: Some(model_hash(checkpoint.dir())?),
        pairs_file: Some(file_hash(&args.pairs)?),
        n_pairs: Some(scores.pairs.len()),
        pairs: Some(pair_metrics(&scores.pairs)),
        pair_order: Some(order),
        completeness_error: Some(scores.completeness_error()),
        shard: shard.map(|s| (s.index as u64, s.count as u64)),
        keep_per_pair: shard.map(|_| args.per_pair),
        other: arithmetic(common)?,
        ..Provenance::default()
    };
    let scored = nodes.as_ref().map_or(scores.mean.values().len(), |nodes| nodes.values().len());
    let summary = json!({
        level.as_str(): scored, "pairs": scores.pairs.len(),
        "completeness_error": scores.completeness_error(), "out": args.out,
    });
    let ids = scores.pairs.iter().map(|p| p.id.clone()).collect();
    let mut file = ScoreFile::new(scores.mean, Some(provenance));
    file.nodes = nodes;
    file.per_pair = per_pair.map(|values| PerPair { ids, values });
    write_whole(&args.out, &file.to_bytes(&args.out)?)?;
    if args.json {
        print_json(&summary);
    } else {
        common.note(format!("{}: {scored} {} from {} pairs", args.out.display(), level, summary["pairs"]));
    }
    Ok(())
}

/// The adapter and the type of products, where they are not what files without these fields had.
fn arithmetic(common: &Common) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    if let Some(adapter) = common.adapter() {
        fields.insert("adapter".into(), model_hash(adapter)?.into());
    }
    if common.compute() != kernels::Compute::F32 {
        fields.insert("compute".into(), common.compute().name().into());
    }
    Ok(fields)
}

/// The metric of each pair, as score files have it.
pub(crate) fn pair_metrics(pairs: &[PairSummary]) -> Vec<PairMetric> {
    let of = |p: &PairSummary| PairMetric {
        id: p.id.clone(),
        clean: p.clean,
        corrupt: p.corrupt,
        input_sum: p.input_sum,
    };
    pairs.iter().map(of).collect()
}
