//! `sparks merge`: join the score files of shards; the result has the bits of one run over all pairs.

use std::path::PathBuf;

use circuits::{PairMetric, PerPair, Provenance, ScoreFile};
use common::{Error, write_whole};
use hooks::{EdgeMap, NodeMap};

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
    let mut rows: Vec<(u64, String, PairMetric, Vec<f32>)> = Vec::new();
    let mut first: Option<(ScoreFile, Provenance)> = None;
    let mut shards = Vec::new();
    for path in &args.shards {
        let at = |what: &str| Error::at(path, what);
        let file = crate::circuit::read_scores(common, path)?;
        let per_pair = file
            .per_pair
            .as_ref()
            .ok_or_else(|| at("no per-pair scores, expected a file made with --shard"))?;
        let of = file.provenance.clone().unwrap_or_default();
        let order = of.pair_order.clone().ok_or_else(|| at("missing `sparks.pair_order`"))?;
        let pairs = of.pairs.clone().ok_or_else(|| at("missing `sparks.pairs`"))?;
        if order.len() != per_pair.ids.len() || pairs.len() != order.len() {
            return Err(at("`sparks.pair_order`, `sparks.pairs` and the per-pair scores differ in length"));
        }
        if let Some((first, its)) = &first {
            its.check_same_run(&of)
                .map_err(|e| e.within(format_args!("{} and {}", args.shards[0].display(), path.display())))?;
            if first.wiring != file.wiring {
                return Err(at("its graph differs from that of the first file"));
            }
        }
        shards.extend(of.shard.map(|shard| (shard, path)));
        let width = file.n_scores();
        for (k, (place, (id, pair))) in order.into_iter().zip(per_pair.ids.iter().zip(pairs)).enumerate() {
            let scores = per_pair.values[k * width..(k + 1) * width].to_vec();
            rows.push((place, id.clone(), pair, scores));
        }
        if first.is_none() {
            first = Some((file, of));
        }
    }
    let Some((first, mut provenance)) = first else { return Err(Error::input("no score files given")) };
    check_shards(&shards, args.shards.len())?;
    provenance.shard = None;
    rows.sort_by_key(|row| row.0);
    if let Some(twice) = rows.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(Error::input(format!("pair {} is in two of the files", twice[0].1)));
    }

    // Summed in the order of one run over all pairs.
    let mut sum = vec![0f64; first.n_scores()];
    for (_, _, _, scores) in &rows {
        sum.iter_mut().zip(scores).for_each(|(sum, &s)| *sum += f64::from(s));
    }
    let n = rows.len() as f64;
    let mean: Vec<f32> = sum.iter().map(|s| (s / n) as f32).collect();
    let keep = provenance.keep_per_pair.take().unwrap_or(false);
    let total = |f: fn(&PairMetric) -> f64| rows.iter().map(|r| f(&r.2)).sum::<f64>();
    let error = total(|p| (p.input_sum - (p.corrupt - p.clean)).abs());
    let effect = total(|p| (p.corrupt - p.clean).abs());
    provenance.completeness_error = Some(error / effect.max(f64::MIN_POSITIVE));
    provenance.n_pairs = Some(rows.len());
    provenance.pairs = Some(rows.iter().map(|r| r.2.clone()).collect());
    provenance.pair_order = Some(rows.iter().map(|r| r.0).collect());
    let mut out = match &first.nodes {
        Some(_) => ScoreFile::of_nodes(NodeMap::from_values(first.wiring, mean), Some(provenance)),
        None => ScoreFile::new(EdgeMap::from_values(first.wiring, mean), Some(provenance)),
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

/// Checks that the files made with `--shard` are all shards of one number, each once.
fn check_shards(shards: &[((u64, u64), &PathBuf)], files: usize) -> Result {
    let Some(&((_, n), first)) = shards.first() else { return Ok(()) };
    if let Some((shard, path)) = shards.iter().find(|(shard, _)| shard.1 != n) {
        let what = format!("shard {}/{}, but {} is one of {n}", shard.0, shard.1, first.display());
        return Err(Error::at(path, what));
    }
    for (i, (shard, path)) in shards.iter().enumerate() {
        if let Some((_, earlier)) = shards[..i].iter().find(|(other, _)| other == shard) {
            let what = format!("shard {}/{n} is given twice, first as {}", shard.0, earlier.display());
            return Err(Error::at(path, what));
        }
    }
    let missing: Vec<String> = (0..n)
        .filter(|k| shards.iter().all(|(shard, _)| shard.0 != *k))
        .map(|k| format!("{k}/{n}"))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Error::input(format!(
            "{files} files given, expected all {n} shards; missing: {missing}"
        )));
    }
    Ok(())
}
