//! Joining score files of parts of the pairs; the result has the bits of one run over all pairs.

use common::Shard;
use hooks::{EdgeMap, NodeMap};

use crate::{Error, PairMetric, PerPair, Provenance, ScoreFile};

/// Joins score files, each with a name for messages: of one run (method, model, pairs file, …), each with the
/// scores of its pairs and their places in the pairs file. The means are summed in the order of the pairs file.
///
/// # Errors
/// No file, a file without per-pair scores or places, files of different runs or graphs, a pair in two files, a
/// missing or repeated shard: by name.
pub fn merge(files: Vec<(String, ScoreFile)>) -> Result<ScoreFile, Error> {
    // (place in the pairs file, id, metrics, scores)
    let mut rows: Vec<(u64, String, PairMetric, Vec<f32>)> = Vec::new();
    let mut first: Option<(String, ScoreFile, Provenance)> = None;
    let mut shards = Vec::new();
    for (name, mut file) in files {
        let at = |what: &str| Error::input(what).within(&name);
        let per_pair = file
            .per_pair
            .take()
            .ok_or_else(|| at("no per-pair scores, expected a file made with --shard"))?;
        let of = file.provenance.take().unwrap_or_default();
        let order = of.pair_order.clone().ok_or_else(|| at("missing `sparks.pair_order`"))?;
        let pairs = of.pairs.clone().ok_or_else(|| at("missing `sparks.pairs`"))?;
        if order.len() != per_pair.ids.len() || pairs.len() != order.len() {
            return Err(at("`sparks.pair_order`, `sparks.pairs` and the per-pair scores differ in length"));
        }
        if let Some((its_name, its, run)) = &first {
            run.check_same_run(&of).map_err(|e| e.within(format_args!("{its_name} and {name}")))?;
            if its.wiring != file.wiring {
                return Err(at("its graph differs from that of the first file"));
            }
        }
        let shard = of.shard.map(|(index, count)| Shard { index: index as usize, count: count as usize });
        shards.extend(shard.map(|shard| (shard, name.clone())));
        let scores = per_pair.values.chunks(file.n_scores().max(1)).map(<[f32]>::to_vec);
        for (((place, id), pair), scores) in order.into_iter().zip(per_pair.ids).zip(pairs).zip(scores) {
            rows.push((place, id, pair, scores));
        }
        first.get_or_insert((name, file, of));
    }
    let Some((_, first, mut provenance)) = first else { return Err(Error::input("no score files given")) };
    Shard::check_all(&shards)?;
    provenance.shard = None;
    rows.sort_by_key(|row| row.0);
    if let Some(twice) = rows.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(Error::input(format!("pair {} is in two of the files", twice[0].1)));
    }
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
        let ids = rows.iter().map(|r| r.1.clone()).collect();
        out.per_pair = Some(PerPair { ids, values: rows.into_iter().flat_map(|r| r.3).collect() });
    }
    Ok(out)
}
