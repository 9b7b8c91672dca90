//! Stage `transfers`: heads' mixed values of one checkpoint put into another on the same prompts. If what a head computes is
//! what makes the difference between the two, the difference comes along.

use std::sync::Arc;

use ablation::{Ablation, Fill, Resampled};
use common::Error;
use hooks::{Batch, Head, HookedModel as _, Metric, Pair, Pairs};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stats::bootstrap_mean;

use super::answers::LEVEL;
use super::interventions::NamedHeads;
use super::pairs::Suite;
use super::{Subject, random};
use crate::jobs::Job;
use crate::results::{Transfer, TransferDraw};
use crate::study::Work;
use crate::{Stage, Study};

/// Draws of the pairs behind the interval of a change.
const RESAMPLES: usize = 2000;

/// The metric of each pair.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    source: Vec<f64>,
    before: Vec<f64>,
    /// With the values of the heads, and of each random set.
    after: Vec<(Vec<String>, Vec<f64>)>,
}

/// The transfers of each of `sets` from `from` into `into` on the clean prompts of `suite`; `None` where they are not done
/// here.
pub(crate) fn transfers(
    study: &mut Study<'_>,
    (from, into): (&Subject, &Subject),
    (suite, is_base): (&Suite, bool),
    sets: &[NamedHeads],
    draws: usize,
) -> Result<Option<Vec<Transfer>>, Error> {
    let (seed, batch) = (study.config.study.seed, study.config.controls.batch);
    let metric = study.config.attribution.metric.clone();
    let heads = |named: &NamedHeads| named.heads.iter().map(ToString::to_string).collect::<Vec<_>>();
    let inputs = json!({
        "models": [from.hash, into.hash], "pairs": suite.file(is_base).map(|(_, hash)| hash),
        "heads": sets.iter().map(heads).collect::<Vec<_>>(), "draws": draws, "metric": metric.to_string(),
        "seed": seed, "batch": batch,
    });
    let name = format!("{}/{}-to-{}", suite.name, from.label, into.label);
    let ready = from.ready && into.ready && suite.file(is_base).is_some();
    let job = Job { stage: Stage::Transfers, name: &name, inputs, files: &[], ready };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("transfers: heads of {} in {} on {}", from.label, into.label, suite.name));
        let pairs = suite.of(into, is_base)?;
        let on = On { pairs: &pairs, metric: &metric, batch };
        let n_heads = work.model(from)?.wiring().n_heads;
        let drawn = sets.iter().map(|named| {
            let random = random::draws(&named.heads, n_heads, draws, seed);
            std::iter::once(named.heads.clone()).chain(random).collect::<Vec<_>>()
        });
        let drawn: Vec<Vec<Vec<Head>>> = drawn.collect();
        on.measure(work, (from, into), &drawn)
    })?;
    let Some(done) = done else { return Ok(None) };
    let rows = done.result.iter().zip(sets).map(|(measured, named)| {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let change =
            |after: &[f64]| after.iter().zip(&measured.before).map(|(a, b)| a - b).collect::<Vec<_>>();
        let (_, after) = measured.after.first().ok_or_else(|| Error::internal("a set was measured"))?;
        let (source, before) = (mean(&measured.source), mean(&measured.before));
        let moved = change(after);
        let random = measured.after[1..].iter().map(|(heads, values)| {
            let heads = heads.iter().map(|head| head.parse()).collect::<Result<Vec<Head>, _>>()?;
            Ok(TransferDraw { heads, change: mean(&change(values)) })
        });
        let random = random.collect::<Result<Vec<_>, Error>>()?;
        let gap = source - before;
        Ok(Transfer {
            from: from.label.clone(),
            into: into.label.clone(),
            suite: suite.name.clone(),
            set: named.set,
            heads: named.heads.clone(),
            metric: metric.to_string(),
            before,
            after: mean(after),
            source,
            change: bootstrap_mean(&moved, LEVEL, RESAMPLES, seed),
            share: (gap.abs() > 1e-6 * source.abs().max(before.abs())).then(|| mean(&moved) / gap),
            p_value: p_value(mean(&moved), gap, &random),
            random,
        })
    });
    rows.collect::<Result<_, Error>>().map(Some)
}

/// One-sided: the share of the draws, the heads among them, whose change goes at least as far towards `gap`.
fn p_value(change: f64, gap: f64, random: &[TransferDraw]) -> Option<f64> {
    let drawn: Vec<f64> = random.iter().map(|draw| draw.change * gap.signum()).collect();
    random::p_value(change * gap.signum(), &drawn)
}

/// What is run, and read how.
struct On<'a> {
    pairs: &'a Pairs,
    metric: &'a Metric,
    batch: usize,
}

impl On<'_> {
    fn batches(&self) -> Result<Vec<(Batch, Vec<&Pair>)>, Error> {
        let chunk = |places: Vec<usize>| {
            let pairs: Vec<&Pair> = places.iter().map(|&at| &self.pairs.as_slice()[at]).collect();
            let prompts: Vec<Vec<u32>> = pairs.iter().map(|pair| pair.clean.clone()).collect();
            Ok((Batch::new(&prompts)?.rows(pairs[0].rows()), pairs))
        };
        self.pairs.batches(self.batch).into_iter().map(chunk).collect()
    }

    /// Runs `from` and keeps its values; then `into`, as it is and with each set's. One model is in memory at a time.
    fn measure(
        &self,
        work: &mut Work<'_>,
        (from, into): (&Subject, &Subject),
        sets: &[Vec<Vec<Head>>],
    ) -> Result<Vec<Measured>, Error> {
        let batches = self.batches()?;
        let model = work.model(from)?;
        let (mut source, mut before, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (batch, pairs) in &batches {
            values.push(Arc::new(Resampled::record(model, batch)));
            let logits = model.run(batch, &mut ());
            source.extend(self.metric.read(logits.clone(), pairs, Some(&logits))?.into_iter().map(f64::from));
        }
        let model = work.model(into)?;
        let mut after: Vec<Vec<Vec<f64>>> = sets.iter().map(|sets| vec![Vec::new(); sets.len()]).collect();
        for ((batch, pairs), values) in batches.iter().zip(&values) {
            let plain = model.run(batch, &mut ());
            let read = |logits| -> Result<Vec<f64>, Error> {
                Ok(self.metric.read(logits, pairs, Some(&plain))?.into_iter().map(f64::from).collect())
            };
            before.extend(read(plain.clone())?);
            for (sets, after) in sets.iter().zip(&mut after) {
                for (heads, after) in sets.iter().zip(after) {
                    let fill = Fill::Resample(Arc::clone(values));
                    let mut hook = Ablation::heads(model.wiring(), heads.iter().copied(), fill)?;
                    after.extend(read(model.run(batch, &mut hook))?);
                }
            }
        }
        let row = |(sets, after): (&Vec<Vec<Head>>, Vec<Vec<f64>>)| Measured {
            source: source.clone(),
            before: before.clone(),
            after: sets.iter().map(|set| set.iter().map(ToString::to_string).collect()).zip(after).collect(),
        };
        Ok(sets.iter().zip(after).map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_away_from_the_other_checkpoint_is_not_rare_however_large() {
        let random: Vec<TransferDraw> =
            (1..20).map(|i| TransferDraw { heads: Vec::new(), change: 0.1 * f64::from(i) }).collect();
        assert_eq!(p_value(5.0, 1.0, &random), Some(0.05));
        assert_eq!(p_value(-5.0, 1.0, &random), Some(1.0));
        assert_eq!(p_value(-5.0, -1.0, &random), Some(0.05));
        // Half of the draws, 1.0 to 1.9, go as far as 1.0.
        assert_eq!(p_value(1.0, 1.0, &random), Some(11.0 / 20.0));
        assert_eq!(p_value(5.0, 1.0, &random[1..]), None);
    }
}
