//! Two studies side by side: what one found and the other did not.

use std::collections::BTreeSet;

use hooks::Head;
use serde::Serialize;
use stats::Interval;

use crate::results::{Answers, HeadStudy, Verdict};
use crate::{Error, Results};

/// The differences of two studies. `first` and `second` are as they were given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyComparison {
    /// Heads at the last checkpoint of each training, suite and rule that both have.
    pub heads: Vec<HeadsCompared>,
    /// Answers of checkpoints of one label to benchmarks of one name.
    pub answers: Vec<AnswersCompared>,
    /// Claims that both judge.
    pub hypotheses: Vec<VerdictsCompared>,
    /// Settings that differ: section, name, both values; empty where a study has no such setting.
    pub settings: Vec<[String; 4]>,
    /// Trainings, benchmarks and claims that one of the two lacks.
    pub unmatched: Vec<String>,
}

/// New and emergent heads of one training in two studies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadsCompared {
    /// The training.
    pub training: String,
    /// The suite.
    pub suite: String,
    /// The rule.
    pub rule: String,
    /// New heads of both, of the first alone, of the second alone.
    pub new: [Vec<String>; 3],
    /// Emergent heads, likewise.
    pub emergent: [Vec<String>; 3],
    /// Lost heads, likewise.
    pub lost: [Vec<String>; 3],
}

/// The answers of one checkpoint to one benchmark in two studies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswersCompared {
    /// Label of the checkpoint.
    pub checkpoint: String,
    /// The benchmark.
    pub benchmark: String,
    /// Accuracy in both studies.
    pub accuracy: [f64; 2],
    /// The second less the first, paired over problems; `None` where the problems differ.
    pub difference: Option<Interval>,
}

/// The verdicts on one claim in two studies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerdictsCompared {
    /// Key of the claim.
    pub id: String,
    /// Both verdicts.
    pub verdicts: [Verdict; 2],
    /// Both effects.
    pub effects: [Option<Interval>; 2],
}

/// Compares two studies.
///
/// # Errors
/// Models of different sizes.
pub fn compare(first: &Results, second: &Results) -> Result<StudyComparison, Error> {
    let size = |r: &Results| (r.model.n_layers, r.model.n_heads);
    if size(first) != size(second) {
        let what =
            format!("models of {:?} and {:?} layers and heads, expected one size", size(first), size(second));
        return Err(Error::input(what));
    }
    let mut unmatched = Vec::new();
    let key = |h: &HeadStudy| format!("heads of {} on {} by {}", h.training, h.suite, h.rule);
    let heads = pair(&first.heads, &second.heads, key, &mut unmatched);
    let key = |a: &Answers| format!("answers of {} to {}", a.checkpoint, a.benchmark);
    let answers = pair(&first.answers, &second.answers, key, &mut unmatched);
    let claims = pair(&first.hypotheses, &second.hypotheses, |h| format!("claim {}", h.id), &mut unmatched);
    let problems = |r: &Results, name: &str| {
        r.benchmarks.iter().find(|b| b.name == name).map(|b| b.problems.clone()).unwrap_or_default()
    };
    let compared = answers.into_iter().map(|(a, b)| {
        let same = problems(first, &a.benchmark) == problems(second, &b.benchmark);
        let difference = same.then(|| stats::paired_bootstrap(&a.rates, &b.rates, 0.95, 2000, 0).difference);
        AnswersCompared {
            checkpoint: a.checkpoint.clone(),
            benchmark: a.benchmark.clone(),
            accuracy: [a, b].map(|x| x.measures.pass_at_1.estimate),
            difference,
        }
    });
    Ok(StudyComparison {
        heads: heads.into_iter().map(|(a, b)| last_heads(a, b)).collect(),
        answers: compared.collect(),
        hypotheses: claims
            .into_iter()
            .map(|(a, b)| VerdictsCompared {
                id: a.id.clone(),
                verdicts: [a.verdict, b.verdict],
                effects: [a.effect, b.effect],
            })
            .collect(),
        settings: settings(first, second),
        unmatched,
    })
}

/// Entries of one key; those without a counterpart are named.
fn pair<'a, T>(
    first: &'a [T],
    second: &'a [T],
    key: impl Fn(&T) -> String,
    unmatched: &mut Vec<String>,
) -> Vec<(&'a T, &'a T)> {
    let mut both = Vec::new();
    for a in first {
        match second.iter().find(|b| key(b) == key(a)) {
            Some(b) => both.push((a, b)),
            None => unmatched.push(format!("{} (first alone)", key(a))),
        }
    }
    let alone = second.iter().filter(|b| !first.iter().any(|a| key(a) == key(b)));
    unmatched.extend(alone.map(|b| format!("{} (second alone)", key(b))));
    both
}

fn last_heads(a: &HeadStudy, b: &HeadStudy) -> HeadsCompared {
    let of = |study: &HeadStudy, which: fn(&crate::results::HeadChange) -> Vec<Head>| -> BTreeSet<Head> {
        study.changes.last().map(which).unwrap_or_default().into_iter().collect()
    };
    let three = |which: fn(&crate::results::HeadChange) -> Vec<Head>| {
        let (a, b) = (of(a, which), of(b, which));
        let names = |heads: &mut dyn Iterator<Item = &Head>| heads.map(ToString::to_string).collect();
        [names(&mut a.intersection(&b)), names(&mut a.difference(&b)), names(&mut b.difference(&a))]
    };
    HeadsCompared {
        training: a.training.clone(),
        suite: a.suite.clone(),
        rule: a.rule.clone(),
        new: three(|c| c.gained.clone()),
        emergent: three(|c| c.emergent.clone().unwrap_or_default()),
        lost: three(|c| c.lost.clone()),
    }
}

fn settings(first: &Results, second: &Results) -> Vec<[String; 4]> {
    let value = |r: &Results, section: &str, name: &str| {
        let found = r.settings.iter().find(|s| s.section == section && s.name == name);
        found.map_or_else(String::new, |s| s.value.clone())
    };
    let names: BTreeSet<(String, String)> = [first, second]
        .iter()
        .flat_map(|r| r.settings.iter().map(|s| (s.section.clone(), s.name.clone())))
        .collect();
    let rows = names.into_iter().map(|(section, name)| {
        let (a, b) = (value(first, &section, &name), value(second, &section, &name));
        [section, name, a, b]
    });
    rows.filter(|[_, _, a, b]| a != b).collect()
}
