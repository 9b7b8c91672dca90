//! Stage `attribution`: every edge scored on every pair, for each checkpoint, suite and part.

use attribution::{Options, Scores, score_pair};
use circuits::{PairMetric, PerPair, Provenance, ScoreFile, ScoreLevel, merge};
use common::Error;
use hooks::{Positions, Task};
use serde_json::json;

use super::Subject;
use super::pairs::Suite;
use crate::config::AttributionConfig;
use crate::jobs::{Done, Job};
use crate::{Stage, Study};

/// The file of a job's scores: the mean over its pairs, and each pair's.
const FILE: &str = "scores.safetensors";

/// The scores of one checkpoint on one suite: the mean over pairs and each pair's.
pub(crate) struct Scored {
    /// The merged parts.
    pub(crate) file: ScoreFile,
    /// A hash of the parts: the input of jobs that use them.
    pub(crate) hash: String,
}

/// The scores of `subject` on the suite `suite`; `None` where a part is not done here.
pub(crate) fn scores(
    study: &mut Study<'_>,
    subject: &Subject,
    suite: &Suite,
    (source_only, is_base): (bool, bool),
) -> Result<Option<Scored>, Error> {
    let how = study.config.attribution.clone();
    let file = suite.file(is_base);
    let pairs_hash = file.map(|(_, hash)| hash.to_owned());
    let ready = subject.ready && file.is_some();
    let kind = if source_only { "source-only" } else { "edges" };
    let mut parts = Vec::new();
    for part in 0..how.parts {
        let name = format!("{}/{}/{kind}/{part}-of-{}", subject.label, suite.name, how.parts);
        let inputs = json!({
            "model": subject.hash, "pairs": pairs_hash, "method": how.method(), "metric": how.metric.to_string(),
            "source_only": source_only, "part": [part, how.parts], "recompute": how.recompute,
        });
        let job = Job { stage: Stage::Attribution, name: &name, inputs, files: &[FILE], ready };
        let Study { jobs, work, .. } = &mut *study;
        let done = jobs.run(&job, |dir| {
            work.say(format!(
                "attribution: {} on {}, part {part} of {}",
                subject.label, suite.name, how.parts
            ));
            let pairs = suite.of(subject, is_base)?;
            let task = Task::new(work.model(subject)?, &pairs, how.metric.clone());
            let mut file = score(&task, &how, (part, how.parts), source_only)?;
            if let Some(of) = &mut file.provenance {
                (of.model, of.pairs_file) = (Some(subject.hash.clone()), pairs_hash.clone());
            }
            file.write(&dir.join(FILE))
        })?;
        parts.extend(done);
    }
    if parts.len() < how.parts {
        return Ok(None);
    }
    let read = |part: &Done<()>| {
        let path = part.dir.join(FILE);
        Ok((path.display().to_string(), ScoreFile::read(&path)?))
    };
    let file = merge(parts.iter().map(read).collect::<Result<_, Error>>()?)?;
    Ok(Some(Scored { file, hash: parts.iter().map(|part| part.hash.as_str()).collect::<Vec<_>>().join("+") }))
}

/// Scores the pairs of part `k` of `n` of the task.
pub(crate) fn score(
    task: &Task<'_>,
    how: &AttributionConfig,
    (k, n): (usize, usize),
    source_only: bool,
) -> Result<ScoreFile, Error> {
    let options = Options { source_only, per_pair: true, recompute: how.recompute, ..Options::default() };
    let places: Vec<usize> = (k..task.pairs.len()).step_by(n).collect();
    let pairs = task.pairs.as_slice();
    let scored = task.each(&places, |&at| score_pair(task, &pairs[at], how.method(), options));
    let scores = Scores::collect(scored, options)?;
    let metrics = scores.pairs.iter().map(|p| PairMetric {
        id: p.id.clone(),
        clean: p.clean,
        corrupt: p.corrupt,
        input_sum: p.input_sum,
    });
    let provenance = Provenance {
        version: Some(env!("CARGO_PKG_VERSION").into()),
        method: Some(how.method().to_string()),
        settings: serde_json::to_value(how.method()).ok(),
        metric: Some(how.metric.to_string()),
        level: Some(ScoreLevel::Edges),
        positions: Some(Positions::Last),
        source_only: Some(source_only),
        n_pairs: Some(places.len()),
        pairs: Some(metrics.collect()),
        pair_order: Some(places.iter().map(|&i| i as u64).collect()),
        completeness_error: Some(scores.completeness_error()),
        shard: Some((k as u64, n as u64)),
        keep_per_pair: Some(true),
        ..Provenance::default()
    };
    let ids = scores.pairs.iter().map(|p| p.id.clone()).collect();
    let mut file = ScoreFile::new(scores.mean, Some(provenance));
    file.per_pair = scores.per_pair.map(|rows| PerPair { ids, values: rows.into_iter().collect() });
    Ok(file)
}
