//! Measures of a run with confidence intervals (pass@1, pass@k, maj@k, length, truncation, repetition), and the
//! comparison of two runs on the same problems.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::failure::is_looping;
use crate::record::{FinishReason, Record};
use common::{Error, Result};
use math_grade::equivalence_classes;
use stats::{
    Interval, Mcnemar, PairedBootstrap, bootstrap_mean, clustered, majority, mcnemar,
    minimum_detectable_effect, paired_bootstrap, pass_at_k, success_at_k, unpaired_sd,
};

/// A measure at `k` samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AtK {
    /// Samples.
    pub k: usize,
    /// Mean over problems, with its interval.
    pub value: Interval,
}

/// The measures of one run. Rates are fractions with intervals clustered by problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Measures {
    /// Problems with at least one record.
    pub problems: usize,
    /// Fewest samples of any problem; the largest `k` below.
    pub samples: usize,
    /// All records.
    pub records: usize,
    /// Mean over problems of the share of right samples: pass@1, also called avg@n.
    pub pass_at_1: Interval,
    /// Unbiased pass@k for k = 1, 2, 4, … and `samples`.
    pub pass_at_k: Vec<AtK>,
    /// success@k: any of the first k samples right.
    pub success_at_k: Vec<AtK>,
    /// maj@k: the most frequent answer of the first k samples, by equivalence, is right.
    pub maj_at_k: Vec<AtK>,
    /// Mean length in tokens, bootstrap over problems.
    pub tokens: Interval,
    /// Share of samples that used up the token budget.
    pub truncated: Interval,
    /// Share of samples that end in a repetition.
    pub looping: Interval,
    /// Share of samples without a readable answer.
    pub unanswered: Interval,
    /// Difference in pass@1 from another run of this kind that would be detected with power 0.8 at level 0.05.
    pub minimum_detectable_effect: f64,
}

/// Resamples of every bootstrap here.
const RESAMPLES: usize = 2000;

/// The records of each problem in sample order, problems in order of appearance.
fn by_problem<'a>(records: &[&'a Record]) -> Vec<(&'a str, Vec<&'a Record>)> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<(&str, Vec<&Record>)> = Vec::new();
    for record in records {
        let at = *index.entry(&record.id).or_insert_with(|| {
            groups.push((&record.id, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(record);
    }
    groups.iter_mut().for_each(|(_, g)| g.sort_by_key(|r| r.sample));
    groups
}

/// Computes all measures at confidence `level`.
///
/// # Errors
/// There are no records.
pub fn measure(records: &[&Record], level: f64) -> Result<Measures> {
    let groups = by_problem(records);
    let samples = groups
        .iter()
        .map(|(_, g)| g.len())
        .min()
        .ok_or_else(|| Error::input("expected at least one record"))?;
    let share = |test: &dyn Fn(&Record) -> bool| -> Vec<f64> {
        groups.iter().map(|(_, g)| g.iter().filter(|r| test(r)).count() as f64 / g.len() as f64).collect()
    };
    let rate = |test: &dyn Fn(&Record) -> bool| clustered(&share(test), level);
    let mut ks: Vec<usize> = (0..).map(|i| 1 << i).take_while(|k| *k < samples).collect();
    ks.push(samples);
    let at = |f: &dyn Fn(&[&Record], usize) -> f64| -> Vec<AtK> {
        ks.iter()
            .map(|&k| AtK {
                k,
                value: clustered(&groups.iter().map(|(_, g)| f(g, k)).collect::<Vec<_>>(), level),
            })
            .collect()
    };
    let classes: HashMap<*const Record, Option<usize>> = groups
        .iter()
        .flat_map(|(_, g)| {
            let answers: Vec<Option<&str>> = g.iter().map(|r| r.answer.as_deref()).collect();
            g.iter()
                .map(|r| std::ptr::from_ref::<Record>(r))
                .zip(equivalence_classes(&answers))
                .collect::<Vec<_>>()
        })
        .collect();
    let majority_right = |g: &[&Record], k: usize| {
        let votes: Vec<Option<usize>> =
            g[..k].iter().map(|r| classes[&std::ptr::from_ref::<Record>(r)]).collect();
        let winner = majority(&votes);
        let voter = votes.iter().position(|v| v.is_some() && *v == winner);
        f64::from(u8::from(voter.is_some_and(|i| g[i].verdict.correct)))
    };
    let right = share(&|r| r.verdict.correct);
    let lengths: Vec<f64> = groups
        .iter()
        .map(|(_, g)| g.iter().map(|r| r.ids.len() as f64).sum::<f64>() / g.len() as f64)
        .collect();
    Ok(Measures {
        problems: groups.len(),
        samples,
        records: records.len(),
        pass_at_1: clustered(&right, level),
        pass_at_k: at(&|g, k| {
            pass_at_k(g.len(), g.iter().filter(|r| r.verdict.correct).count(), k).unwrap_or(f64::NAN)
        }),
        success_at_k: at(&|g, k| {
            let verdicts: Vec<bool> = g.iter().map(|r| r.verdict.correct).collect();
            success_at_k(&verdicts, k).map_or(f64::NAN, |s| f64::from(u8::from(s)))
        }),
        maj_at_k: at(&majority_right),
        tokens: bootstrap_mean(&lengths, level, RESAMPLES, 0),
        truncated: rate(&|r| r.finish == FinishReason::Length),
        looping: rate(&|r| is_looping(&r.completion)),
        unanswered: rate(&|r| r.verdict.pred_parsed.is_none()),
        minimum_detectable_effect: detectable(&right, samples),
    })
}

/// The minimum detectable effect, from the variance of per-problem rates between and within problems.
fn detectable(rates: &[f64], samples: usize) -> f64 {
    let n = rates.len() as f64;
    let p = rates.iter().sum::<f64>() / n;
    let between = if samples > 1 && rates.len() > 1 {
        let spread = rates.iter().map(|r| (r - p).powi(2)).sum::<f64>() / (n - 1.0);
        let within =
            rates.iter().map(|r| r * (1.0 - r)).sum::<f64>() / n * samples as f64 / (samples as f64 - 1.0);
        spread - within / samples as f64
    } else {
        p * (1.0 - p)
    };
    // With nothing or everything solved, take the variance at half a problem.
    let p = p.clamp(0.5 / n, 1.0 - 0.5 / n);
    minimum_detectable_effect(rates.len(), unpaired_sd(samples, p, between), 0.05, 0.8)
}

/// Two runs on the same problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunComparison {
    /// Difference in pass@1, after minus before, bootstrap over problems.
    pub difference: PairedBootstrap,
    /// Exact test on the problems that one run solved and the other did not.
    pub mcnemar: Mcnemar,
    /// Problems solved after and not before, in order. Solved: more than half of its samples are right.
    pub newly_solved: Vec<String>,
    /// Problems solved before and not after.
    pub newly_missed: Vec<String>,
}

/// Compares two runs at confidence `level`.
///
/// # Errors
/// There are no records, or the runs are not of the same problems.
pub fn compare(before: &[&Record], after: &[&Record], level: f64) -> Result<RunComparison> {
    let rates = |records: &[&Record]| -> Vec<(String, f64)> {
        by_problem(records)
            .into_iter()
            .map(|(id, g)| {
                (id.to_string(), g.iter().filter(|r| r.verdict.correct).count() as f64 / g.len() as f64)
            })
            .collect()
    };
    let before = rates(before);
    let others: HashMap<String, f64> = rates(after).into_iter().collect();
    if before.is_empty()
        || before.len() != others.len()
        || !before.iter().all(|(id, _)| others.contains_key(id))
    {
        return Err(Error::input("expected two runs of the same problems"));
    }
    let ids: Vec<String> = before.iter().map(|(id, _)| id.clone()).collect();
    let (before, after): (Vec<f64>, Vec<f64>) = before.iter().map(|(id, rate)| (*rate, others[id])).unzip();
    let solved = |rates: &[f64]| rates.iter().map(|r| *r > 0.5).collect::<Vec<bool>>();
    let (was, is) = (solved(&before), solved(&after));
    let changed = |from: &[bool], to: &[bool]| {
        ids.iter()
            .zip(from.iter().zip(to))
            .filter(|(_, (f, t))| !**f && **t)
            .map(|(id, _)| id.clone())
            .collect()
    };
    Ok(RunComparison {
        difference: paired_bootstrap(&before, &after, level, RESAMPLES, 0),
        mcnemar: mcnemar(&was, &is),
        newly_solved: changed(&was, &is),
        newly_missed: changed(&is, &was),
    })
}
