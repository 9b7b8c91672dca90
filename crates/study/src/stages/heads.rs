//! Stage `heads`: the test of every head of a checkpoint against the base, and noise floors.

use std::collections::BTreeMap;

use circuits::{Emergence, HeadEmergence};
use common::Error;
use hooks::{Head, Reader, Writer};
use serde_json::json;

use super::Subject;
use super::attribution::Scored;
use super::circuits::Ranked;
use super::pairs::Suite;
use crate::config::{CircuitConfig, ControlsConfig};
use crate::jobs::Job;
use crate::noise::Draws;
use crate::results::{NoiseFloor, TestedHead};
use crate::{Stage, Study};

/// The noise floor of `subject` on `suite` by `rule`; `None` where it is not done here.
pub(crate) fn noise(
    study: &mut Study<'_>,
    subject: &Subject,
    (suite, rule): (&Suite, &CircuitConfig),
    scored: &Scored,
) -> Result<Option<NoiseFloor>, Error> {
    let (draws, seed) = (study.config.controls.draws, study.config.study.seed);
    let name = format!("{}/{}/{}/noise", subject.label, suite.name, rule.name);
    let inputs = json!({ "scores": scored.hash, "rule": rule, "draws": draws, "seed": seed });
    let job = Job { stage: Stage::Heads, name: &name, inputs, files: &[], ready: true };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("heads: noise floor of {} on {}, {}", subject.label, suite.name, rule.name));
        let ranked = Ranked::new(&scored.file, rule)?;
        let wiring = ranked.mean.wiring();
        let selection = rule.selection(wiring.n_edges());
        Draws { selection, rank: rule.rank(), draws, seed }.noise(&subject.label, wiring, &ranked.per_pair)
    })?;
    Ok(done.map(|done| done.result))
}

/// The tests of the heads of `subject` against the base's scores; `None` where they are not done here.
pub(crate) fn tests(
    study: &mut Study<'_>,
    subject: &Subject,
    (suite, rule): (&Suite, &CircuitConfig),
    (base, scored): (&Scored, &Scored),
) -> Result<Option<Vec<TestedHead>>, Error> {
    let (controls, seed) = (study.config.controls.clone(), study.config.study.seed);
    let name = format!("{}/{}/{}/tests", subject.label, suite.name, rule.name);
    let inputs = json!({
        "base": base.hash, "scores": scored.hash, "rule": rule, "draws": controls.draws, "rate": controls.rate,
        "seed": seed, "heads tested": "all",
    });
    let job = Job { stage: Stage::Heads, name: &name, inputs, files: &[], ready: true };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("heads: tests of {} on {}, {}", subject.label, suite.name, rule.name));
        let (before, after) = (Ranked::new(&base.file, rule)?, Ranked::new(&scored.file, rule)?);
        let tested = changed(rule, &controls, seed, (&before, &after))?;
        Ok(rows(&tested))
    })?;
    Ok(done.map(|done| done.result))
}

/// The test of every head between two checkpoints' scores.
pub(crate) fn changed(
    rule: &CircuitConfig,
    controls: &ControlsConfig,
    seed: u64,
    (before, after): (&Ranked, &Ranked),
) -> Result<Vec<HeadEmergence>, Error> {
    let wiring = before.mean.wiring();
    let mut how = Emergence::new(rule.selection(wiring.n_edges()));
    (how.rank, how.draws, how.rate, how.seed) = (rule.rank(), controls.draws, controls.rate, seed);
    how.test(wiring, &before.per_pair, &after.per_pair)
}

/// The tests as the results file has them.
pub(crate) fn rows(tested: &[HeadEmergence]) -> Vec<TestedHead> {
    tested.iter().map(row).collect()
}

fn row(t: &HeadEmergence) -> TestedHead {
    TestedHead {
        head: t.head,
        fate: t.fate,
        before: f64::from(t.base),
        after: f64::from(t.post),
        effect: t.effect_interval,
        base_frequency: f64::from(t.base_frequency),
        frequency: f64::from(t.post_frequency),
        p_value: t.p_value,
        found: t.significant,
    }
}

/// The heads of one draw's circuit, each with the number of circuit edges at it.
pub(crate) type DrawnHeads = BTreeMap<Head, usize>;

/// The circuits of `subject` from draws of the pairs, with replacement: draw `k` takes the same pairs for every checkpoint,
/// so that differences between checkpoints have intervals. `None` where it is not done here.
pub(crate) fn draws(
    study: &mut Study<'_>,
    subject: &Subject,
    (suite, rule): (&Suite, &CircuitConfig),
    scored: &Scored,
) -> Result<Option<Vec<DrawnHeads>>, Error> {
    let (draws, seed) = (study.config.controls.draws, study.config.study.seed);
    let name = format!("{}/{}/{}/draws", subject.label, suite.name, rule.name);
    let inputs = json!({ "scores": scored.hash, "rule": rule, "draws": draws, "seed": seed });
    let job = Job { stage: Stage::Heads, name: &name, inputs, files: &[], ready: true };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("heads: draws of {} on {}, {}", subject.label, suite.name, rule.name));
        let ranked = Ranked::new(&scored.file, rule)?;
        let wiring = ranked.mean.wiring();
        let how = Draws { selection: rule.selection(wiring.n_edges()), rank: rule.rank(), draws, seed };
        how.circuits(wiring, &ranked.per_pair, |circuit| degrees(&circuit))
    })?;
    let Some(done) = done else { return Ok(None) };
    let read = |drawn: &BTreeMap<String, usize>| {
        drawn.iter().map(|(head, &n)| Ok((head.parse()?, n))).collect::<Result<DrawnHeads, Error>>()
    };
    done.result.iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// The heads of a circuit with the number of its edges that start or end at each.
fn degrees(circuit: &::circuits::Circuit) -> BTreeMap<String, usize> {
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for head in circuit.heads() {
        at.insert(head.to_string(), 0);
    }
    let mut count = |head: Head| {
        if let Some(n) = at.get_mut(&head.to_string()) {
            *n += 1;
        }
    };
    for edge in circuit.edges() {
        if let Writer::Head(head) = edge.from {
            count(head);
        }
        if let Reader::Head(head, _) = edge.to {
            count(head);
        }
    }
    at
}
