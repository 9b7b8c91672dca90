//! `sparks merge`: join the score files of shards; the result has the bits of one run over all pairs.

use std::path::PathBuf;

use circuits::{PerPair, ScoreFile};
use common::{Error, write_whole};
use hooks::{EdgeMap, NodeMap};
use serde_json::{Value, json};

use crate::options::{Common, Result};
use crate::output::ready;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Score files made with `attribute --shard`.
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
    /// Output file.
    #[arg(long, value_name = "ALL")]
    out: PathBuf,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    ScoreFile::check_path(&args.out)?;
    ready(&args.out, &args.shards.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    // (place in the pairs file, id, summary, scores)
    let mut rows: Vec<(u64, String, Value, Vec<f32>)> = Vec::new();
    let mut first: Option<ScoreFile> = None;
    for path in &args.shards {
        let at = |what: &str| Error::at(path, what);
        let file = ScoreFile::read(path)?;
        let per_pair = file
            .per_pair
            .as_ref()
            .ok_or_else(|| at("no per-pair scores, expected a file made with --shard"))?;
        let order = file.meta["pair_order"].as_array().ok_or_else(|| at("missing `sparks.pair_order`"))?;
        if order.len() != per_pair.ids.len() {
            return Err(at("`sparks.pair_order` and the per-pair scores differ in length"));
        }
        if let Some(first) = &first {
            for field in [
                "level",
                "method",
                "settings",
                "metric",
                "model",
                "pairs_file",
                "positions",
                "source_only",
                "dtype",
            ] {
                if first.meta[field] != file.meta[field] {
                    return Err(at(&format!("`{field}` differs from that of {}", args.shards[0].display())));
                }
            }
            if first.wiring != file.wiring {
                return Err(at("its graph differs from that of the first file"));
            }
        }
        let width = file.n_scores();
        for (k, (place, id)) in order.iter().zip(&per_pair.ids).enumerate() {
            let place = place.as_u64().ok_or_else(|| at("`sparks.pair_order`: expected whole numbers"))?;
            let scores = per_pair.values[k * width..(k + 1) * width].to_vec();
            rows.push((place, id.clone(), file.meta["pairs"][k].clone(), scores));
        }
        if first.is_none() {
            first = Some(file);
        }
    }
    let Some(first) = first else { return Err(Error::input("no score files given")) };
    rows.sort_by_key(|row| row.0);
    if let Some(twice) = rows.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(Error::input(format!("pair {} is in two of the files", twice[0].1)));
    }
    if let Some(n) = first.meta["shard"][1].as_u64()
        && args.shards.len() as u64 != n
    {
        return Err(Error::input(format!("{} files given, expected all {n} shards", args.shards.len())));
    }

    // Summed in the order of one run over all pairs.
    let mut sum = vec![0f64; first.n_scores()];
    for (_, _, _, scores) in &rows {
        sum.iter_mut().zip(scores).for_each(|(sum, &s)| *sum += f64::from(s));
    }
    let n = rows.len() as f64;
    let mean: Vec<f32> = sum.iter().map(|s| (s / n) as f32).collect();
    let mut meta = first.meta.clone();
    let keep = meta["keep_per_pair"].as_bool().unwrap_or(false);
    if let Some(object) = meta.as_object_mut() {
        object.shift_remove("shard");
        object.shift_remove("keep_per_pair");
    }
    let number = |pair: &Value, field: &str| pair[field].as_f64().unwrap_or(f64::NAN);
    let error = |p: &Value| (number(p, "input_sum") - (number(p, "corrupt") - number(p, "clean"))).abs();
    let effect = |p: &Value| (number(p, "corrupt") - number(p, "clean")).abs();
    let total = |f: &dyn Fn(&Value) -> f64| rows.iter().map(|r| f(&r.2)).sum::<f64>();
    meta["completeness_error"] = json!(total(&error) / total(&effect).max(f64::MIN_POSITIVE));
    meta["n_pairs"] = rows.len().into();
    meta["pairs"] = rows.iter().map(|r| r.2.clone()).collect();
    meta["pair_order"] = rows.iter().map(|r| r.0).collect();
    let mut out = match &first.nodes {
        Some(_) => ScoreFile::of_nodes(NodeMap::from_values(first.wiring, mean), meta),
        None => ScoreFile::new(EdgeMap::from_values(first.wiring, mean), meta),
    };
    if keep {
        out.per_pair = Some(PerPair {
            ids: rows.iter().map(|r| r.1.clone()).collect(),
            values: rows.iter().flat_map(|r| r.3.iter().copied()).collect(),
        });
    }
    write_whole(&args.out, &out.to_bytes(&args.out)?)?;
    common.note(format!("{}: {} pairs from {} files", args.out.display(), rows.len(), args.shards.len()));
    Ok(())
}
