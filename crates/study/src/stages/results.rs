//! The results of a study from those of its jobs.

use common::Error;
use model_qwen::Checkpoint;

use super::answers::{self, Benchmark};
use super::evidence::{evidence, joined};
use super::found::{self, Circuits, Found};
use super::later::{At, Group, Later, later};
use super::pairs::Suite;
use super::{Subject, curves};
use crate::hypotheses::{Drawn, hypotheses};
use crate::results::{
    Accuracy, Answers, Cases, CheckpointFacts, CheckpointHeads, CheckpointSource, HeadStudy, ModelFacts,
    Results, RunFacts, SCHEMA, Said, Setting, SuiteFacts, TaskExample, TaskFacts, ThinkStudy, Training,
    TrainingEffect, VERSION, Version,
};
use crate::{Study, StudyConfig, caveats, dynamics};

/// Asks for the results of every job and puts them together; `None` where some are not done here.
pub(crate) fn results(
    study: &mut Study<'_>,
    subjects: &[Subject],
    suites: &[Suite],
) -> Result<Option<Results>, Error> {
    let circuits = found::find(study, subjects, suites)?;
    let groups = groups(subjects)?;
    let heads = if circuits.whole { head_studies(study, subjects, &groups, &circuits) } else { Vec::new() };
    let benchmarks = Benchmark::all(study)?;
    let at = (subjects, suites, groups.as_slice());
    let Some(later) = later(study, at, (&circuits, &heads), &benchmarks)? else { return Ok(None) };
    if !circuits.whole {
        return Ok(None);
    }
    let run_files = run_files(study, &subjects[0])?;
    let mut results = assemble(study, at, (&circuits, heads), (&benchmarks, later))?;
    results.settings.extend(run_files);
    Ok(Some(results))
}

fn groups(subjects: &[Subject]) -> Result<Vec<Group>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, subject) in subjects.iter().enumerate().skip(1) {
        match groups.last_mut() {
            Some(group) if group.name == subject.group => group.members.push(at),
            _ => groups.push(Group {
                name: subject.group.clone(),
                members: vec![at],
                curves: curves::read(subject.run.as_deref())?,
            }),
        }
    }
    Ok(groups)
}

/// The circuits and heads of each training, suite and rule.
fn head_studies(
    study: &Study<'_>,
    subjects: &[Subject],
    groups: &[Group],
    circuits: &Circuits,
) -> Vec<HeadStudy> {
    let config = &study.config;
    let mut heads = Vec::new();
    for group in groups {
        for (s, suite) in config.suite.iter().enumerate() {
            for (r, rule) in config.circuit.iter().enumerate() {
                let found = |at| &circuits.found[&(at, s, r)];
                heads.push(head_study(subjects, group, (&suite.name, &rule.name), found));
            }
        }
    }
    heads
}

fn assemble(
    study: &Study<'_>,
    (subjects, suites, groups): At<'_>,
    (circuits, heads): (&Circuits, Vec<HeadStudy>),
    (benchmarks, later): (&[Benchmark], Later),
) -> Result<Results, Error> {
    let config = &study.config;
    let seed = config.study.seed;
    let answers = answers::rows(subjects, benchmarks, &later.answers, seed);
    let per_group = config.suite.len() * config.circuit.len();
    let trainings = groups.iter().enumerate().map(|(g, group)| {
        let main = &heads[g * per_group];
        let last = &subjects[group.last()].label;
        let gain = benchmarks.first().and_then(|b| row(&answers, last, &b.config.name)?.gain);
        Training {
            name: group.name.clone(),
            method: group.curves.method,
            curve: group.curves.points.clone(),
            checkpoints: group
                .members
                .iter()
                .map(|&at| facts(&subjects[at], circuits, at, &answers))
                .collect(),
            gain,
            changes: main.changes.clone(),
            effects: main.effects.clone(),
        }
    });
    let (think, differences): (Vec<ThinkStudy>, Vec<Vec<f64>>) = later.think.into_iter().unzip();
    let evidence = evidence(config.study.evidence.as_deref())?;
    let base = &subjects[0];
    let mut results = Results {
        schema: SCHEMA.into(),
        version: VERSION,
        title: config.study.title.clone(),
        notice: None,
        run: RunFacts {
            command: "sparks study".into(),
            seed,
            versions: vec![Version {
                name: "thinking-sparks".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            }],
            ..RunFacts::default()
        },
        model: model_facts(base)?,
        task: TaskFacts {
            description: config.study.description.clone(),
            suites: suite_facts(suites, benchmarks),
            examples: examples(&later.cases),
        },
        base: facts(base, circuits, 0, &answers),
        trainings: trainings.collect(),
        noise: Some(circuits.found[&(0, 0, 0)].noise.clone()),
        false_discovery_rate: Some(config.controls.rate),
        heads,
        checkpoints: subjects.iter().map(source).collect(),
        benchmarks: benchmarks.iter().map(Benchmark::facts).collect(),
        answers,
        interventions: later.interventions,
        think,
        cases: later.cases,
        transfers: later.transfers,
        roles: circuits.roles.clone(),
        hypotheses: Vec::new(),
        controls: joined(later.controls, evidence.controls),
        stability: evidence.stability,
        warnings: Vec::new(),
        settings: settings(config)?,
    };
    let drawn = |at: usize| circuits.found[&(at, 0, 0)].draws.as_slice();
    let of = |group: &'_ Group| group.members.iter().map(|&m| drawn(m)).collect();
    let trained = groups.iter().map(|g| (g.name.as_str(), of(g))).collect();
    results.hypotheses =
        hypotheses(&results, &Drawn { base: drawn(0), trainings: trained, think: differences });
    results.warnings = caveats(&results);
    Ok(results)
}

fn source(subject: &Subject) -> CheckpointSource {
    CheckpointSource {
        label: subject.label.clone(),
        training: subject.group.clone(),
        parent: subject.parent.clone(),
        step: subject.step,
        hash: subject.hash.clone(),
    }
}

/// The first newly solved problems of each training, with what the base and it say.
fn examples(cases: &[Cases]) -> Vec<TaskExample> {
    let all = cases.iter().flat_map(|of| {
        of.examples.iter().take(2).map(|case| {
            let said = |checkpoint: &str, sample: &crate::results::CaseSample| Said {
                checkpoint: checkpoint.into(),
                text: sample.text.clone(),
                correct: sample.correct,
            };
            TaskExample {
                prompt: case.problem.clone(),
                answer: case.answer.clone(),
                completions: vec![said(&of.against, &case.before), said(&of.checkpoint, &case.after)],
            }
        })
    });
    all.collect()
}

fn row<'a>(answers: &'a [Answers], checkpoint: &str, benchmark: &str) -> Option<&'a Answers> {
    answers.iter().find(|a| a.checkpoint == checkpoint && a.benchmark == benchmark)
}

fn head_study<'a>(
    subjects: &[Subject],
    group: &Group,
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
        training: group.name.clone(),
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

fn facts(subject: &Subject, circuits: &Circuits, at: usize, answers: &[Answers]) -> CheckpointFacts {
    let accuracy = answers.iter().filter(|a| a.checkpoint == subject.label).map(|a| Accuracy {
        suite: a.benchmark.clone(),
        n: a.measures.problems,
        interval: a.measures.pass_at_1,
        worked: None,
    });
    CheckpointFacts {
        label: subject.label.clone(),
        step: subject.step,
        accuracy: accuracy.collect(),
        circuit: Some(circuits.found[&(at, 0, 0)].facts.clone()),
    }
}

/// Suites of pairs and benchmarks; those of one name are one.
fn suite_facts(suites: &[Suite], benchmarks: &[Benchmark]) -> Vec<SuiteFacts> {
    let mut all: Vec<SuiteFacts> = suites
        .iter()
        .map(|suite| SuiteFacts {
            name: suite.name.clone(),
            description: suite.description.clone(),
            n: 0,
            pairs: suite.facts(),
        })
        .collect();
    for benchmark in benchmarks {
        let (name, n) = (&benchmark.config.name, benchmark.problems.len());
        match all.iter_mut().find(|s| s.name == *name) {
            Some(suite) => suite.n = n,
            None => all.push(SuiteFacts {
                name: name.clone(),
                description: benchmark.config.description.clone(),
                n,
                pairs: None,
            }),
        }
    }
    all
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
/// The settings of the trainings' run files, defaults included.
fn run_files(study: &mut Study<'_>, base: &Subject) -> Result<Vec<Setting>, Error> {
    let inside = inside(&study.config);
    let mut rows = Vec::new();
    for config in study.config.train.clone() {
        let training = crate::Training { config: &config, model: &base.dir, run: std::path::Path::new("") };
        let plan = study.work.host.plan(&training)?;
        flatten(&plan.inputs["file"], "", &mut |name, value| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let value = value.strip_prefix(&inside).unwrap_or(&value).to_owned();
            rows.push(Setting { section: format!("run file of {}", config.name), name, value });
        });
    }
    Ok(rows)
}

/// Every leaf of nested tables, by its dotted name.
fn flatten(value: &serde_json::Value, name: &str, each: &mut impl FnMut(String, &serde_json::Value)) {
    match value {
        serde_json::Value::Object(table) => {
            for (key, value) in table {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(value, &name, each);
            }
        }
        serde_json::Value::Null => {}
        value => each(name.to_owned(), value),
    }
}

/// How a path inside the study's folder begins; it is told from there.
fn inside(config: &StudyConfig) -> String {
    config.study.dir.to_string_lossy().into_owned() + "/"
}

fn settings(config: &StudyConfig) -> Result<Vec<Setting>, Error> {
    let table = toml::Table::try_from(config).map_err(Error::internal)?;
    let inside = inside(config);
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
                let value = match value {
                    toml::Value::String(text) => text.strip_prefix(&inside).unwrap_or(text).to_owned(),
                    // One that is an f32 is written as one.
                    toml::Value::Float(x) if f64::from(*x as f32) == *x => format!("{:?}", *x as f32),
                    other => other.to_string(),
                };
                rows.push(Setting { section: section.clone(), name: name.clone(), value });
            }
        }
    }
    Ok(rows)
}
