//! The results of a study from those of its jobs.

use std::collections::BTreeMap;

use common::Error;
use hooks::Head;
use model_qwen::Checkpoint;

use super::attribution::{Scored, scores};
use super::{Subject, circuits, curves, heads};
use crate::config::{CircuitConfig, SuiteConfig};
use crate::results::{
    CheckpointFacts, CheckpointHeads, CircuitFacts, HeadStudy, ModelFacts, NoiseFloor, Results, RunFacts,
    SCHEMA, Setting, SuiteFacts, TaskFacts, Training, TrainingEffect, VERSION,
};
use crate::{Stage, Study, caveats, dynamics};

/// What was found in one checkpoint, on one suite, by one rule.
struct Found {
    facts: CircuitFacts,
    noise: NoiseFloor,
    tests: Vec<crate::results::TestedHead>,
    /// Share of all importance of each head.
    importance: BTreeMap<Head, f64>,
}

/// Asks for the results of every job and puts them together; `None` where some are not done here.
pub(crate) fn results(study: &mut Study<'_>, subjects: &[Subject]) -> Result<Option<Results>, Error> {
    let (suites, rules) = (study.config.suite.clone(), study.config.circuit.clone());
    // One model in memory at a time: all of a checkpoint's jobs before those of the next.
    let mut found: BTreeMap<(usize, usize, usize), Found> = BTreeMap::new();
    let mut base: BTreeMap<(usize, bool), Option<Scored>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        for (s, suite) in suites.iter().enumerate() {
            for source_only in [false, true] {
                let mine: Vec<usize> =
                    (0..rules.len()).filter(|&r| rules[r].source_only == source_only).collect();
                if mine.is_empty() {
                    continue;
                }
                if study.work.host.stop() {
                    return Err(Error::internal("interrupted; the same command goes on from here"));
                }
                let scored = scores(study, subject, suite, source_only)?;
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
        }
    }
    if found.len() < subjects.len() * suites.len() * rules.len() {
        return Ok(None);
    }
    assemble(study, subjects, &found).map(Some)
}

/// Circuit, noise floor and tests of one checkpoint. `first` is `None` for the base, else its scores; scores are
/// `None` where they are not done.
fn one(
    study: &mut Study<'_>,
    subject: &Subject,
    at: (&SuiteConfig, &CircuitConfig),
    (first, scored): (Option<Option<&Scored>>, Option<&Scored>),
) -> Result<Option<Found>, Error> {
    let name = format!("{}/{}/{}", subject.label, at.0.name, at.1.name);
    let Some(scored) = scored else {
        study.jobs.wait(Stage::Circuits, &name);
        study.jobs.wait(Stage::Heads, &format!("{name}/noise"));
        if first.is_some() {
            study.jobs.wait(Stage::Heads, &format!("{name}/tests"));
        }
        return Ok(None);
    };
    let circuit = circuits::circuit(study, subject, at, scored)?;
    let noise = heads::noise(study, subject, at, scored)?;
    let tests = match first {
        Some(Some(base)) => heads::tests(study, subject, at, (base, scored))?,
        Some(None) => {
            study.jobs.wait(Stage::Heads, &format!("{name}/tests"));
            None
        }
        None => Some(Vec::new()),
    };
    let (Some(circuit), Some(noise), Some(tests)) = (circuit, noise, tests) else { return Ok(None) };
    let ranked = circuits::Ranked::new(&scored.file, at.1)?;
    let shares = ::circuits::head_importance(&ranked.circuit(at.1)?, &ranked.mean);
    let importance = scored.file.wiring.heads().map(|head| (head, f64::from(*shares.get(head)))).collect();
    Ok(Some(Found { facts: circuit.result, noise, tests, importance }))
}

/// One training: a group of checkpoints of one entry of the configuration.
struct Group<'a> {
    name: &'a str,
    /// Places in the list of checkpoints.
    members: Vec<usize>,
    curves: curves::Curves,
}

fn assemble(
    study: &Study<'_>,
    subjects: &[Subject],
    found: &BTreeMap<(usize, usize, usize), Found>,
) -> Result<Results, Error> {
    let config = &study.config;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (at, subject) in subjects.iter().enumerate().skip(1) {
        match groups.last_mut() {
            Some(group) if group.name == subject.group => group.members.push(at),
            _ => groups.push(Group {
                name: &subject.group,
                members: vec![at],
                curves: curves::read(subject.run.as_deref())?,
            }),
        }
    }
    let mut heads = Vec::new();
    let mut trainings = Vec::new();
    for group in &groups {
        for (s, suite) in config.suite.iter().enumerate() {
            for (r, rule) in config.circuit.iter().enumerate() {
                heads.push(head_study(subjects, group, (&suite.name, &rule.name), |at| &found[&(at, s, r)]));
            }
        }
        let main = &heads[heads.len() - config.suite.len() * config.circuit.len()];
        trainings.push(Training {
            name: group.name.to_owned(),
            method: group.curves.method,
            curve: group.curves.points.clone(),
            checkpoints: group.members.iter().map(|&at| facts(&subjects[at], &found[&(at, 0, 0)])).collect(),
            gain: None,
            changes: main.changes.clone(),
            effects: main.effects.clone(),
            dynamics: None,
        });
    }
    let base = &subjects[0];
    let mut results = Results {
        schema: SCHEMA.into(),
        version: VERSION,
        title: config.study.title.clone(),
        notice: None,
        run: RunFacts { command: "sparks study".into(), seed: config.study.seed, ..RunFacts::default() },
        model: model_facts(base)?,
        task: TaskFacts {
            description: config.study.description.clone(),
            suites: config.suite.iter().map(suite_facts).collect(),
            examples: Vec::new(),
        },
        base: facts(base, &found[&(0, 0, 0)]),
        trainings,
        noise: Some(found[&(0, 0, 0)].noise.clone()),
        false_discovery_rate: Some(config.controls.rate),
        heads,
        checkpoints: Vec::new(),
        benchmarks: Vec::new(),
        answers: Vec::new(),
        interventions: Vec::new(),
        think: Vec::new(),
        cases: Vec::new(),
        transfers: Vec::new(),
        hypotheses: Vec::new(),
        controls: None,
        stability: None,
        warnings: Vec::new(),
        settings: settings(config)?,
    };
    results.warnings = caveats(&results);
    Ok(results)
}

fn head_study<'a>(
    subjects: &[Subject],
    group: &Group<'_>,
    (suite, rule): (&str, &str),
    found: impl Fn(usize) -> &'a Found,
) -> HeadStudy {
    let base = found(0);
    let at = |member: usize, from: u64| {
        let (subject, one) = (&subjects[member], found(member));
        let changed = one.tests.iter().filter(|t| t.found).map(|t| t.head).collect();
        dynamics::HeadsAt {
            step: subject.step,
            heads: one.facts.heads.clone(),
            changed: Some(changed),
            reward: group.curves.mean(from..subject.step.max(from + 1)),
        }
    };
    let steps: Vec<u64> = group.members.iter().map(|&m| subjects[m].step).collect();
    let before = |i: usize| if i == 0 { 0 } else { steps[i - 1] };
    let after: Vec<_> = group.members.iter().enumerate().map(|(i, &m)| at(m, before(i))).collect();
    // The base is compared with by the first steps' mean reward: no step was done before them.
    let first = dynamics::HeadsAt { reward: None, ..at(0, 0) };
    let changes = dynamics::changes(&first, &after);
    let noise = |i: usize| found(group.members[i]).noise.turnover.estimate;
    let (turnover, reward): (Vec<f64>, Vec<f64>) = changes
        .iter()
        .enumerate()
        .filter_map(|(i, c)| Some((c.turnover - noise(i), c.reward_change?.abs())))
        .unzip();
    let n = group.members.len() as f64;
    let effects = base.importance.iter().map(|(&head, &before)| {
        let of = |&m: &usize| found(m).importance.get(&head).copied().unwrap_or(0.0);
        let after = group.members.iter().map(of).sum::<f64>() / n;
        let last = group.members.last().and_then(|&m| found(m).tests.iter().find(|t| t.head == head));
        let effect = dynamics::effect(before, after);
        TrainingEffect { head, before, after, effect, interval: last.map(|t| t.effect) }
    });
    let last = |&m: &usize| CheckpointHeads {
        label: subjects[m].label.clone(),
        step: subjects[m].step,
        circuit: found(m).facts.clone(),
        noise: found(m).noise.clone(),
        tests: found(m).tests.clone(),
    };
    HeadStudy {
        training: group.name.to_owned(),
        suite: suite.to_owned(),
        rule: rule.to_owned(),
        base: base.facts.clone(),
        checkpoints: group.members.iter().map(last).collect(),
        cohorts: dynamics::cohorts(&first, &after),
        frequency: dynamics::frequency(&first, &after),
        changes,
        effects: effects.filter(|e| e.before + e.after > 0.0).collect(),
        base_noise: base.noise.clone(),
        dynamics: stats::lagged_spearman(&turnover, &reward, 1),
    }
}

fn facts(subject: &Subject, found: &Found) -> CheckpointFacts {
    CheckpointFacts {
        label: subject.label.clone(),
        step: subject.step,
        accuracy: Vec::new(),
        circuit: Some(found.facts.clone()),
    }
}

fn suite_facts(suite: &SuiteConfig) -> SuiteFacts {
    SuiteFacts { name: suite.name.clone(), description: suite.description.clone(), n: 0, pairs: None }
}

fn model_facts(base: &Subject) -> Result<ModelFacts, Error> {
    let config = Checkpoint::open(&base.dir)?.config;
    let wiring = config.wiring();
    Ok(ModelFacts {
        name: base.dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        family: format!("{:?}", config.family).to_lowercase(),
        parameters: config.n_params(),
        n_layers: config.n_layers,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        d_model: config.d_model,
        key_value: wiring.key_value,
        n_edges: wiring.n_edges(),
    })
}

/// Every setting of the configuration, defaults included, as `section`, `name`, `value`.
fn settings(config: &crate::StudyConfig) -> Result<Vec<Setting>, Error> {
    let table = toml::Table::try_from(config).map_err(Error::internal)?;
    let mut rows = Vec::new();
    for (section, value) in &table {
        let tables: Vec<(String, &toml::Table)> = match value {
            toml::Value::Table(table) => vec![(section.clone(), table)],
            toml::Value::Array(list) => {
                let named = |t: &toml::Table| {
                    format!("{section} {}", t.get("name").and_then(toml::Value::as_str).unwrap_or_default())
                };
                list.iter().filter_map(toml::Value::as_table).map(|t| (named(t), t)).collect()
            }
            _ => Vec::new(),
        };
        for (section, table) in tables {
            for (name, value) in table.iter().filter(|(name, _)| *name != "name") {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                rows.push(Setting { section: section.clone(), name: name.clone(), value });
            }
        }
    }
    Ok(rows)
}
