//! Stage `checkpoints`: the trainings of the study, each in a run folder of its own.

use std::path::{Path, PathBuf};

use common::Error;
use model_qwen::model_hash;
use posttrain::RunFolder;
use serde_json::json;

use super::Subject;
use crate::config::TrainConfig;
use crate::jobs::Job;
use crate::{Stage, Study, Training};

/// The run folder inside a job's folder.
const RUN: &str = "run";

/// The checkpoints of a training, oldest first: those that the run wrote, or, where it is not done, those that it will
/// write as far as that is known, not ready.
pub(crate) fn trained(
    study: &mut Study<'_>,
    config: &TrainConfig,
    before: &[Subject],
) -> Result<Vec<Subject>, Error> {
    let parent = match &config.parent {
        Some(name) => before.iter().rev().find(|s| s.group == *name),
        None => before.first(),
    };
    let parent = parent.ok_or_else(|| Error::internal("the parent of a training is checked"))?;
    if parent.adapter.is_some() {
        return Err(Error::input(format!(
            "parent {}: has an adapter, expected whole weights (`sparks merge-adapter` makes them)",
            parent.label
        )));
    }
    let plan = study.work.host.plan(&Training { config, model: &parent.dir, run: Path::new("") })?;
    let inputs = json!({ "parent": parent.hash, "run": plan.inputs });
    let job = Job {
        stage: Stage::Checkpoints,
        name: &config.name,
        inputs,
        files: &["run/config.toml"],
        ready: parent.ready,
    };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |dir| {
        work.say(format!("checkpoints: training {} from {}", config.name, parent.label));
        let run = dir.join(RUN);
        work.unload();
        work.host.train(&Training { config, model: &parent.dir, run: &run })?;
        let hash = |step: usize| Ok((step as u64, model_hash(&place(&run, step as u64))?));
        RunFolder::steps(&run)?.into_iter().map(hash).collect::<Result<Vec<(u64, String)>, Error>>()
    })?;
    let subject = |step: u64, label: String| Subject {
        label,
        group: config.name.clone(),
        parent: Some(parent.label.clone()),
        step,
        ready: false,
        ..parent.clone()
    };
    let Some(done) = done else {
        let steps = config.steps.clone().or(plan.steps);
        return Ok(match steps {
            Some(steps) => steps.iter().map(|&k| subject(k, format!("{}-{k}", config.name))).collect(),
            None => vec![subject(0, format!("{}-last", config.name))],
        });
    };
    let run = done.dir.join(RUN);
    let kept = done.result;
    let wanted = match &config.steps {
        Some(steps) => steps.clone(),
        None => kept.iter().map(|(step, _)| *step).collect(),
    };
    let mut subjects = Vec::new();
    for step in wanted {
        let Some((_, hash)) = kept.iter().find(|(k, _)| *k == step) else {
            let kept: Vec<String> = kept.iter().map(|(k, _)| k.to_string()).collect();
            return Err(Error::input(format!("no checkpoint of step {step}; there are {}", kept.join(", "))));
        };
        let at = place(&run, step);
        let adapter = at.join("adapter_config.json").exists();
        let mut one = subject(step, format!("{}-{step}", config.name));
        one.hash = if adapter { format!("{}+{hash}", parent.hash) } else { hash.clone() };
        (one.dir, one.adapter) = if adapter { (parent.dir.clone(), Some(at)) } else { (at, None) };
        one.run = Some(run.clone());
        one.ready = true;
        subjects.push(one);
    }
    Ok(subjects)
}

fn place(run: &Path, step: u64) -> PathBuf {
    run.join("checkpoints").join(format!("step-{step}"))
}
