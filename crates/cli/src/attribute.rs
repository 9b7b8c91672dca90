//! `sparks attribute`: a score for every edge, or for every node.

use std::path::PathBuf;

use attribution::{Endpoint, Method, NodeScores, Options, PairScores, Scores, score_nodes, score_pair};
use circuits::{PerPair, ScoreFile};
use hooks::{EdgeMap, KeyValue, Metric, Pair, Positions};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::input;
use crate::options::{Common, Failure, Result};
use crate::output::{print_json, progress, ready, write_whole};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder.
    model: String,
    /// Pairs of prompts, JSONL.
    #[arg(long, value_name = "P.jsonl")]
    pairs: PathBuf,
    /// What is scored: each edge, or each writer with all that it says (heads, MLPs, the input).
    #[arg(long, default_value = "edges", value_name = "nodes|edges")]
    level: String,
    /// How gradients are taken.
    #[arg(
        long,
        default_value = "eap-ig-inputs",
        value_name = "eap|eap-ig-inputs|eap-ig-activations|clean-corrupt|exact"
    )]
    method: String,
    /// Sample points of integrated gradients.
    #[arg(long, default_value_t = 5, value_name = "M")]
    steps: usize,
    /// Where the points lie: `left` for eap-ig-inputs and `right` for eap-ig-activations where not given.
    #[arg(long, value_name = "left|right|midpoint")]
    endpoint: Option<String>,
    /// What is measured.
    #[arg(long, default_value = "logit-diff", value_name = "logit-diff|prob-diff|kl|nll")]
    metric: String,
    /// Where it is measured: at the prompt's end, over a whole answer given token by token, or everywhere.
    #[arg(long, default_value = "last", value_name = "last|answer|all")]
    positions: String,
    /// How key and value inputs are counted.
    #[arg(long, default_value = "ungrouped", value_name = "grouped|ungrouped")]
    kv: String,
    /// Leave edges into heads at zero.
    #[arg(long)]
    source_only: bool,
    /// Keep each pair's scores in the file.
    #[arg(long)]
    per_pair: bool,
    /// Run blocks again in the backward pass: half as slow again, in much less memory on long prompts.
    #[arg(long)]
    recompute: bool,
    /// This process's share of the pairs; from the Slurm array where not given.
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Where the scores go: .json (EAP-IG's format), .pt or .safetensors.
    #[arg(long, value_name = "SCORES")]
    out: PathBuf,
    /// A summary as one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// `I/N`, counted from 0 or from 1: shard N is shard 0.
fn shard(given: Option<&str>) -> Result<Option<(usize, usize)>> {
    let slurm = || -> Option<String> {
        let get = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
        let (id, count) = (get("SLURM_ARRAY_TASK_ID")?, get("SLURM_ARRAY_TASK_COUNT")?);
        let first = get("SLURM_ARRAY_TASK_MIN").unwrap_or(0);
        let step = get("SLURM_ARRAY_TASK_STEP").unwrap_or(1).max(1);
        Some(format!("{}/{count}", (id - first.min(id)) / step))
    };
    let Some(text) = given.map(str::to_owned).or_else(slurm) else { return Ok(None) };
    let parsed =
        text.split_once('/').and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match parsed {
        Some((i, n)) if n > 0 && i <= n => Ok(Some((i % n, n))),
        _ => Err(Failure::input(format!("--shard {text}: expected I/N with I from 0 to N"))),
    }
}

fn method(args: &Args) -> Result<Method> {
    let endpoint = |default| match args.endpoint.as_deref() {
        None => Ok(default),
        Some("left") => Ok(Endpoint::Left),
        Some("right") => Ok(Endpoint::Right),
        Some("midpoint") => Ok(Endpoint::Midpoint),
        Some(other) => Err(Failure::input(format!("--endpoint {other}: expected left, right or midpoint"))),
    };
    let steps = args.steps;
    Ok(match args.method.as_str() {
        "eap" => Method::Eap,
        "eap-ig-inputs" => Method::EapIgInputs { steps, endpoint: endpoint(Endpoint::Left)? },
        "eap-ig-activations" => Method::EapIgActivations { steps, endpoint: endpoint(Endpoint::Right)? },
        "clean-corrupt" => Method::CleanCorrupt,
        "exact" => Method::Exact,
        other => {
            return Err(Failure::input(format!(
                "--method {other}: expected eap, eap-ig-inputs, eap-ig-activations, clean-corrupt or exact"
            )));
        }
    })
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    let metric: Metric = args.metric.parse().map_err(|e| Failure::input(format!("--{e}")))?;
    let method = method(&args)?;
    let positions: Positions = args.positions.parse().map_err(|e| Failure::input(format!("--{e}")))?;
    let key_value = match args.kv.as_str() {
        "ungrouped" => KeyValue::Ungrouped,
        "grouped" => KeyValue::Grouped,
        other => return Err(Failure::input(format!("--kv {other}: expected grouped or ungrouped"))),
    };
    let shard = shard(args.shard.as_deref())?;
    if let (Some((k, n)), None) = (shard, &args.shard) {
        common.note(format!("share {k} of {n} of the pairs, as the Slurm array says (--shard {k}/{n})"));
    }
    let of_nodes = match args.level.as_str() {
        "edges" => false,
        "nodes" if args.source_only => {
            return Err(Failure::input("--level nodes: without --source-only, which is about edges"));
        }
        "nodes" => true,
        other => return Err(Failure::input(format!("--level {other}: expected nodes or edges"))),
    };
    ScoreFile::check_path(&args.out)?;
    ready(&args.out, &[&args.pairs])?;
    if args.out.extension().is_some_and(|e| e == "pt") && (args.per_pair || shard.is_some()) {
        return Err(Failure::input(format!(
            "{}: .pt has no room for pairs, which --per-pair and --shard keep; expected .json or .safetensors",
            args.out.display()
        )));
    }
    let checkpoint = common.open(&args.model)?;
    let all = input::pairs_at(common, &args.pairs, &checkpoint, positions)?;
    let mine: Vec<(usize, &Pair)> =
        all.iter().enumerate().filter(|(i, _)| shard.is_none_or(|(k, n)| i % n == k)).collect();
    if mine.is_empty() {
        return Err(Failure::input(format!("--shard: no pair left of {} for this share", all.len())));
    }
    let model = common.load(&checkpoint)?;
    // A share keeps its pairs' scores, so that joining shares gives the bits of one run.
    let options = Options {
        key_value,
        source_only: args.source_only,
        per_pair: args.per_pair || shard.is_some(),
        recompute: args.recompute,
    };
    let bar = progress(common, mine.len(), "scoring pairs");
    let (nodes, scores, per_pair) = if of_nodes {
        let scored = mine.iter().map(|(_, pair)| {
            bar.inc(1);
            score_nodes(&model, pair, metric, method)
        });
        let NodeScores { mean, pairs, per_pair } = NodeScores::collect(scored)?;
        let edges = EdgeMap::filled(mean.wiring().with(key_value), 0.0);
        let rows = options.per_pair.then(|| per_pair.iter().flat_map(|row| row.values().to_vec()).collect());
        (Some(mean), Scores { mean: edges, pairs, per_pair: None }, rows)
    } else {
        let scored = mine.iter().map(|(_, pair)| -> std::result::Result<PairScores, attribution::Error> {
            let scores = score_pair(&model, pair, metric, method, options);
            bar.inc(1);
            scores
        });
        let mut scores = Scores::collect(scored, options)?;
        let rows = scores.per_pair.take();
        (None, scores, rows.map(|rows| rows.iter().flat_map(|row| row.values().to_vec()).collect()))
    };
    bar.finish_and_clear();

    let order: Vec<usize> = mine.iter().map(|(i, _)| *i).collect();
    let pairs_text =
        std::fs::read(&args.pairs).map_err(|e| Failure::input(format!("{}: {e}", args.pairs.display())))?;
    let mut meta = json!({
        "version": env!("CARGO_PKG_VERSION"), "method": method.to_string(), "settings": method,
        "metric": metric.to_string(), "level": args.level, "positions": args.positions, "source_only": args.source_only,
        "dtype": format!("{:?}", common.dtype()?).to_lowercase(),
        "model": model_hash(&checkpoint)?, "pairs_file": hex(&Sha256::digest(&pairs_text)),
        "n_pairs": scores.pairs.len(), "pairs": scores.pairs, "pair_order": order,
        "completeness_error": scores.completeness_error(),
    });
    if let Some((k, n)) = shard {
        meta["shard"] = json!([k, n]);
        meta["keep_per_pair"] = args.per_pair.into();
    }
    let scored = nodes.as_ref().map_or(scores.mean.values().len(), |nodes| nodes.values().len());
    let summary = json!({
        args.level.as_str(): scored, "pairs": scores.pairs.len(),
        "completeness_error": scores.completeness_error(), "out": args.out,
    });
    let ids = scores.pairs.iter().map(|p| p.id.clone()).collect();
    let mut file = ScoreFile::new(scores.mean, meta);
    file.nodes = nodes;
    file.per_pair = per_pair.map(|values| PerPair { ids, values });
    write_whole(&args.out, &file.to_bytes(&args.out)?)?;
    if args.json {
        print_json(&summary);
    } else {
        common.note(format!(
            "{}: {scored} {} from {} pairs",
            args.out.display(),
            args.level,
            summary["pairs"]
        ));
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A name for a checkpoint: the hash of its configuration and of its weight files' names, sizes and headers.
pub(crate) fn model_hash(checkpoint: &model_qwen::Checkpoint) -> Result<String> {
    use std::io::Read as _;
    let mut hash = Sha256::new();
    let entries = std::fs::read_dir(checkpoint.dir()).map_err(Failure::input)?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    let wanted =
        |p: &&PathBuf| p.extension().is_some_and(|e| e == "safetensors") || p.ends_with("config.json");
    for path in paths.iter().filter(wanted) {
        let bad = |e: std::io::Error| Failure::input(format!("{}: {e}", path.display()));
        let mut file = std::fs::File::open(path).map_err(bad)?;
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(file.metadata().map_err(bad)?.len().to_le_bytes());
        // The first megabytes tell checkpoints of one training run apart; the whole would take seconds.
        let mut head = Vec::new();
        file.by_ref().take(1 << 22).read_to_end(&mut head).map_err(bad)?;
        hash.update(&head);
    }
    Ok(hex(&hash.finalize()))
}
