//! Stages `attribution`, `circuits` and `heads` over all checkpoints, suites and rules.

use std::collections::BTreeMap;

use common::Error;
use hooks::Head;

use super::attribution::{Scored, scores};
use super::pairs::Suite;
use super::roles::roles;
use super::{Subject, circuits, heads};
use crate::config::CircuitConfig;
use crate::results::{CircuitFacts, HeadRoles, NoiseFloor, TestedHead};
use crate::{Stage, Study};

/// What was found in one checkpoint, on one suite, by one rule.
pub(crate) struct Found {
    pub(crate) facts: CircuitFacts,
    pub(crate) noise: NoiseFloor,
    pub(crate) tests: Vec<TestedHead>,
    /// Share of all importance of each head.
    pub(crate) importance: BTreeMap<Head, f64>,
    /// The heads of circuits of draws of the pairs.
    pub(crate) draws: Vec<heads::DrawnHeads>,
}

impl Found {
    /// The `n` heads of `list` that are most important here, in the order of heads.
    pub(crate) fn most_important(&self, list: &[Head], n: Option<usize>) -> Vec<Head> {
        let mut list = list.to_vec();
        let weight = |head: &Head| self.importance.get(head).copied().unwrap_or(0.0);
        list.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.cmp(b)));
        list.truncate(n.unwrap_or(usize::MAX));
        list.sort_unstable();
        list
    }
}

/// Everything that is found in circuits, by checkpoint, suite and rule.
pub(crate) struct Circuits {
    pub(crate) found: BTreeMap<(usize, usize, usize), Found>,
    /// The base's scores on the first suite, as the first rule takes them.
    pub(crate) base: Option<Scored>,
    /// What heads attend to, by checkpoint and suite.
    pub(crate) roles: Vec<HeadRoles>,
    /// Whether all is done.
    pub(crate) whole: bool,
}

/// Asks for the results of every job of the three stages. One model is in memory at a time: all of a checkpoint's jobs
/// come before those of the next.
pub(crate) fn find(study: &mut Study<'_>, subjects: &[Subject], suites: &[Suite]) -> Result<Circuits, Error> {
    let rules = study.config.circuit.clone();
    let mut found: BTreeMap<(usize, usize, usize), Found> = BTreeMap::new();
    let mut base: BTreeMap<(usize, bool), Option<Scored>> = BTreeMap::new();
    let mut all_roles = Vec::new();
    // Hashes of the scores that the first rule works on, by checkpoint and suite.
    let mut of_first: BTreeMap<(usize, usize), String> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        for (s, suite) in suites.iter().enumerate() {
            for source_only in [false, true] {
                let mine: Vec<usize> =
                    (0..rules.len()).filter(|&r| rules[r].source_only == source_only).collect();
                if mine.is_empty() {
                    continue;
                }
                study.work.go_on()?;
                let scored = scores(study, subject, suite, (source_only, at == 0))?;
                if let Some(scored) = scored.as_ref().filter(|_| source_only == rules[0].source_only) {
                    of_first.insert((at, s), scored.hash.clone());
                }
                let first = (at > 0).then(|| base.get(&(s, source_only)).and_then(Option::as_ref));
                for r in mine {
                    let scores = (first, scored.as_ref());
                    if let Some(one) = one(study, subject, (suite, &rules[r]), scores)? {
                        found.insert((at, s, r), one);
                    }
                }
                if at == 0 {
                    base.insert((s, source_only), scored);
                }
            }
            let shown = found.contains_key(&(0, s, 0)).then(|| shown(&found, subjects, (at, s)));
            let shown = shown.filter(|_| found.contains_key(&(at, s, 0)));
            let by = [0, at].map(|at| of_first.get(&(at, s)).cloned());
            all_roles.extend(roles(study, subject, (suite, at == 0), (by, shown))?);
        }
    }
    let n = subjects.len() * suites.len();
    let whole = found.len() == n * rules.len() && all_roles.len() == n;
    let base = base.remove(&(0, rules[0].source_only)).flatten();
    Ok(Circuits { found, base, roles: all_roles, whole })
}

/// The heads whose attention on an example is kept: those of the first rule's circuit of the base and of the last
/// checkpoint of each training, or of the base's.
fn shown(
    found: &BTreeMap<(usize, usize, usize), Found>,
    subjects: &[Subject],
    (at, s): (usize, usize),
) -> Vec<Head> {
    let is_last = subjects.get(at + 1).is_none_or(|next| next.group != subjects[at].group);
    let of = |at: usize| found.get(&(at, s, 0)).map_or(&[][..], |found| &found.facts.heads);
    match at == 0 || is_last {
        true => of(0)
            .iter()
            .chain(of(at))
            .copied()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect(),
        false => Vec::new(),
    }
}

/// Circuit, noise floor, draws and tests of one checkpoint. `first` is `None` for the base, else its scores; scores are
/// `None` where they are not done.
fn one(
    study: &mut Study<'_>,
    subject: &Subject,
    at: (&Suite, &CircuitConfig),
    (first, scored): (Option<Option<&Scored>>, Option<&Scored>),
) -> Result<Option<Found>, Error> {
    let name = format!("{}/{}/{}", subject.label, at.0.name, at.1.name);
    let Some(scored) = scored else {
        study.jobs.wait(Stage::Circuits, &name);
        study.jobs.wait(Stage::Heads, &format!("{name}/noise"));
        study.jobs.wait(Stage::Heads, &format!("{name}/draws"));
        if first.is_some() {
            study.jobs.wait(Stage::Heads, &format!("{name}/tests"));
        }
        return Ok(None);
    };
    let circuit = circuits::circuit(study, subject, at, (scored, first.is_none()))?;
    let noise = heads::noise(study, subject, at, scored)?;
    let draws = heads::draws(study, subject, at, scored)?;
    let tests = match first {
        Some(Some(base)) => heads::tests(study, subject, at, (base, scored))?,
        Some(None) => {
            study.jobs.wait(Stage::Heads, &format!("{name}/tests"));
            None
        }
        None => Some(Vec::new()),
    };
    let (Some(circuit), Some(noise), Some(tests), Some(draws)) = (circuit, noise, tests, draws) else {
        return Ok(None);
    };
    let ranked = circuits::Ranked::new(&scored.file, at.1)?;
    let shares = ::circuits::head_importance(&ranked.circuit(at.1)?, &ranked.mean);
    let importance = scored.file.wiring.heads().map(|head| (head, f64::from(*shares.get(head)))).collect();
    Ok(Some(Found { facts: circuit.result, noise, tests, importance, draws }))
}
