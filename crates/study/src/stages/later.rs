//! The stages after `heads`: answers, interventions, transfers, thinking, cases, controls.

use common::Error;
use hooks::Head;

use super::answers::{self, Benchmark};
use super::found::Circuits;
use super::interventions::{self, NamedHeads, Trained};
use super::pairs::{Suite, named};
use super::{Subject, cases, controls, curves, think, transfers};
use crate::config::InterventionsConfig;
use crate::results::{Cases, Controls, HeadSet, HeadStudy, Intervention, ThinkStudy, Transfer};
use crate::{Stage, Study, StudyConfig};

/// One training: a group of checkpoints of one entry of the configuration.
pub(crate) struct Group {
    pub(crate) name: String,
    /// Places in the list of checkpoints.
    pub(crate) members: Vec<usize>,
    pub(crate) curves: curves::Curves,
}

impl Group {
    pub(crate) fn last(&self) -> usize {
        self.members[self.members.len() - 1]
    }
}

/// What the stages after `heads` found.
pub(crate) struct Later {
    pub(crate) answers: Vec<Vec<Option<answers::Found>>>,
    pub(crate) interventions: Vec<Intervention>,
    pub(crate) think: Vec<(ThinkStudy, Vec<f64>)>,
    pub(crate) cases: Vec<Cases>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) controls: Option<Controls>,
}

/// Checkpoints, suites and trainings.
pub(crate) type At<'a> = (&'a [Subject], &'a [Suite], &'a [Group]);

/// Asks for the jobs of the stages after `heads`.
pub(crate) fn later(
    study: &mut Study<'_>,
    (subjects, suites, groups): At<'_>,
    (circuits, heads): (&Circuits, &[HeadStudy]),
    benchmarks: &[Benchmark],
) -> Result<Option<Later>, Error> {
    let config = study.config.clone();
    let answers = answers::answers(study, subjects, benchmarks)?;
    let mut whole = answers.iter().flatten().all(Option::is_some);
    let mut interventions = Vec::new();
    let mut all_transfers = Vec::new();
    for group in groups {
        let last = group.last();
        if let Some(section) = &config.interventions {
            if circuits.whole {
                let place = place(&config, section)?;
                let trained = Trained {
                    name: &group.name,
                    heads: sets(&config, section, (group, place), (circuits, heads))?,
                    last: (&subjects[last], &answers[last]),
                    base: (&subjects[0], &answers[0]),
                };
                let rows = interventions::all(study, section, &trained, benchmarks, &suites[place.0])?;
                whole &= rows.is_some();
                interventions.extend(rows.unwrap_or_default());
            } else {
                study.jobs.wait(Stage::Interventions, &group.name);
            }
        }
        if let Some(section) = &config.transfers {
            for (s, suite) in suites.iter().enumerate() {
                if section.suites.as_ref().is_some_and(|names| !names.contains(&suite.name)) {
                    continue;
                }
                if !circuits.whole {
                    study.jobs.wait(Stage::Transfers, &format!("{}/{}", suite.name, group.name));
                    continue;
                }
                let mut named = of_change(&section.sets, (group, (s, 0)), (circuits, heads, &config), None);
                named.retain(|one| !one.heads.is_empty());
                let pair = [(&subjects[last], &subjects[0]), (&subjects[0], &subjects[last])];
                for (from, into) in pair {
                    study.work.go_on()?;
                    let rows =
                        transfers::transfers(study, (from, into), (suite, false), &named, section.draws)?;
                    whole &= rows.is_some();
                    all_transfers.extend(rows.unwrap_or_default());
                }
            }
        }
    }
    let mut studies = Vec::new();
    if let Some(section) = &config.think {
        for name in &section.checkpoints {
            let subject = named(subjects, name)?;
            let found = think::think(study, section, subject, benchmarks, &config.circuit[0])?;
            whole &= found.is_some();
            studies.extend(found);
        }
    }
    let mut all_cases = Vec::new();
    for group in groups {
        for (b, benchmark) in benchmarks.iter().enumerate() {
            let last = group.last();
            let found = [answers[0][b].as_ref(), answers[last][b].as_ref()];
            let one = cases::cases(study, (&subjects[0], &subjects[last]), benchmark, found)?;
            whole &= one.is_some();
            all_cases.extend(one);
        }
    }
    let mut controls = None;
    if config.controls.trials > 0 {
        let at = (&suites[0], &config.circuit[0]);
        let lasts: Vec<(&str, &Subject)> = groups.iter().map(|g| (&*g.name, &subjects[g.last()])).collect();
        controls = controls::controls(study, (&subjects[0], &lasts), at, circuits.base.as_ref())?;
        whole &= controls.is_some();
    }
    let later = Later {
        answers,
        interventions,
        think: studies,
        cases: all_cases,
        transfers: all_transfers,
        controls,
    };
    Ok(whole.then_some(later))
}

/// The suite and the rule whose circuits name the heads of interventions.
fn place(config: &StudyConfig, section: &InterventionsConfig) -> Result<(usize, usize), Error> {
    let at = |name: Option<&String>, mut names: Box<dyn Iterator<Item = &String> + '_>| match name {
        Some(name) => names.position(|n| n == name),
        None => Some(0),
    };
    let suite = at(section.suite.as_ref(), Box::new(config.suite.iter().map(|s| &s.name)));
    let rule = at(section.rule.as_ref(), Box::new(config.circuit.iter().map(|c| &c.name)));
    suite.zip(rule).ok_or_else(|| Error::internal("names are checked"))
}

/// The sets of heads that the interventions of a training change.
fn sets(
    config: &StudyConfig,
    section: &InterventionsConfig,
    (group, place): (&Group, (usize, usize)),
    (circuits, heads): (&Circuits, &[HeadStudy]),
) -> Result<Vec<NamedHeads>, Error> {
    let mut named = of_change(&section.sets, (group, place), (circuits, heads, config), section.top);
    if let Some(control) = &section.control {
        let s = config.suite.iter().position(|s| s.name == *control);
        let s = s.ok_or_else(|| Error::internal("names are checked"))?;
        let found = &circuits.found[&(group.last(), s, place.1)];
        let heads = found.most_important(&found.facts.heads, section.top);
        named.push(NamedHeads { set: HeadSet::Control, heads });
    }
    named.retain(|one| !one.heads.is_empty());
    Ok(named)
}

/// Sets of heads by their change since the base, those of largest importance. New heads that are all emergent are no
/// second set.
fn of_change(
    wanted: &[HeadSet],
    (group, (s, r)): (&Group, (usize, usize)),
    (circuits, heads, config): (&Circuits, &[HeadStudy], &StudyConfig),
    top: Option<usize>,
) -> Vec<NamedHeads> {
    let (suite, rule) = (&config.suite[s].name, &config.circuit[r].name);
    let study = heads.iter().find(|h| h.training == group.name && h.suite == *suite && h.rule == *rule);
    let Some(change) = study.and_then(|study| study.changes.last()) else { return Vec::new() };
    let (last, base) = (&circuits.found[&(group.last(), s, r)], &circuits.found[&(0, s, r)]);
    let emergent = change.emergent.clone().unwrap_or_default();
    let joint: Vec<Head> = change.gained.iter().chain(&change.lost).copied().collect();
    let one = |&set: &HeadSet| {
        let (list, place) = match set {
            HeadSet::Emergent => (&emergent, last),
            HeadSet::New if emergent == change.gained && wanted.contains(&HeadSet::Emergent) => return None,
            HeadSet::New => (&change.gained, last),
            HeadSet::Kept => (&change.kept, last),
            HeadSet::Lost => (&change.lost, base),
            HeadSet::Joint => (&joint, last),
            HeadSet::Control | HeadSet::OffOnly => return None,
        };
        Some(NamedHeads { set, heads: place.most_important(list, top) })
    };
    wanted.iter().filter_map(one).collect()
}
