//! Stage `checkpoints`: the trainings of the study, each in a run folder of its own.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use common::Error;
use model_qwen::{Adapter, Checkpoint, Dtype, model_hash, save};
use posttrain::RunFolder;
use serde_json::json;

use super::Subject;
use crate::config::TrainConfig;
use crate::jobs::Job;
use crate::{Stage, Study, Training};

/// The run folder inside a job's folder.
const RUN: &str = "run";
/// The parent's weights there, where the parent has an adapter.
const PARENT: &str = "parent";

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
        let model = whole(parent, dir, &work.host.device()?)?;
        work.host.train(&Training { config, model: &model, run: &run })?;
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
    let model = if parent.adapter.is_some() { done.dir.join(PARENT) } else { parent.dir.clone() };
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
        (one.dir, one.adapter) = if adapter { (model.clone(), Some(at)) } else { (at, None) };
        one.run = Some(run.clone());
        one.ready = true;
        subjects.push(one);
    }
    Ok(subjects)
}

/// The weights that a training begins from. An adapter of the parent is merged into weights of this job.
fn whole(parent: &Subject, job: &Path, device: &Device) -> Result<PathBuf, Error> {
    let Some(adapter) = &parent.adapter else { return Ok(parent.dir.clone()) };
    let (place, aside) = (job.join(PARENT), job.join("parent.part"));
    if place.exists() {
        // Of an earlier start of this job.
        return Ok(place);
    }
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(|e| Error::io(&aside, e))?;
    }
    let model = Checkpoint::open(&parent.dir)?.load(Dtype::F32, device)?;
    let merged = Adapter::open(adapter, &model)?.merge(&model)?;
    save(&merged, &aside, Dtype::F32, Some(&parent.dir))?;
    std::fs::rename(&aside, &place).map_err(|e| Error::io(&place, e))?;
    Ok(place)
}

fn place(run: &Path, step: u64) -> PathBuf {
    run.join("checkpoints").join(format!("step-{step}"))
}
