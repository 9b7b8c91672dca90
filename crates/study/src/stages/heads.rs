//! Stage `heads`: the test of every head of a checkpoint against the base, and noise floors.

use circuits::{Emergence, Fate, HeadEmergence};
use common::Error;
use serde_json::json;

use super::Subject;
use super::attribution::Scored;
use super::circuits::Ranked;
use crate::config::{CircuitConfig, SuiteConfig};
use crate::jobs::Job;
use crate::noise::Draws;
use crate::results::{NoiseFloor, TestedHead};
use crate::{Stage, Study};

/// The noise floor of `subject` on `suite` by `rule`; `None` where it is not done here.
pub(crate) fn noise(
    study: &mut Study<'_>,
    subject: &Subject,
    (suite, rule): (&SuiteConfig, &CircuitConfig),
    scored: &Scored,
) -> Result<Option<NoiseFloor>, Error> {
    let (draws, seed) = (study.config.controls.draws, study.config.study.seed);
    let name = format!("{}/{}/{}/noise", subject.label, suite.name, rule.name);
    let inputs = json!({ "scores": scored.hash, "rule": rule, "draws": draws, "seed": seed });
    let job = Job { stage: Stage::Heads, name: &name, inputs, files: &[] };
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
    (suite, rule): (&SuiteConfig, &CircuitConfig),
    (base, scored): (&Scored, &Scored),
) -> Result<Option<Vec<TestedHead>>, Error> {
    let (controls, seed) = (study.config.controls.clone(), study.config.study.seed);
    let name = format!("{}/{}/{}/tests", subject.label, suite.name, rule.name);
    let inputs = json!({
        "base": base.hash, "scores": scored.hash, "rule": rule, "draws": controls.draws, "rate": controls.rate,
        "seed": seed,
    });
    let job = Job { stage: Stage::Heads, name: &name, inputs, files: &[] };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("heads: tests of {} on {}, {}", subject.label, suite.name, rule.name));
        let (before, after) = (Ranked::new(&base.file, rule)?, Ranked::new(&scored.file, rule)?);
        let wiring = before.mean.wiring();
        let mut how = Emergence::new(rule.selection(wiring.n_edges()));
        (how.rank, how.draws, how.rate, how.seed) = (rule.rank(), controls.draws, controls.rate, seed);
        let tested = how.test(wiring, &before.per_pair, &after.per_pair)?;
        let worth = |t: &&HeadEmergence| t.fate != Fate::Outside || t.significant;
        Ok(tested.iter().filter(worth).map(row).collect())
    })?;
    Ok(done.map(|done| done.result))
}

fn row(t: &HeadEmergence) -> TestedHead {
    TestedHead {
        head: t.head,
        fate: t.fate,
        effect: t.effect_interval,
        base_frequency: f64::from(t.base_frequency),
        frequency: f64::from(t.post_frequency),
        p_value: t.p_value,
        found: t.significant,
    }
}
