//! Trainings that a study asks for: its run file with the study's changes, in the study's folder.

use std::path::Path;
use std::sync::Arc;

use common::{Error, file_hash};
use posttrain::RunFolder;
use posttrain::ranks::Alone;
use posttrain::rows::data_files;
use serde_json::json;
use study::results::TrainingMethod;
use study::{Training, TrainingPlan};
use toml::Value;

use super::config::RunFile;
use super::open::user_file;
use super::{Args, Kind, grpo, keys, sft};
use crate::options::{Common, Result};

/// The keys of the run file that are the study's.
const STUDYS: [&str; 3] = ["model.path", "run.dir", "run.keep"];

/// Reads the run file: what the training depends on, and the steps of its checkpoints.
pub(crate) fn plan(common: &Common, training: &Training<'_>) -> Result<TrainingPlan> {
    let kind = kind(training);
    let file = read(common, training, kind)?;
    let mut table = file.to_table(kind)?;
    STUDYS.iter().for_each(|key| keys::remove(&mut table, key));
    let data = std::iter::once(&file.data.train).chain(&file.data.eval);
    let mut hashes = Vec::new();
    for path in data {
        for file in data_files(path)? {
            hashes.push(file_hash(&file)?);
        }
    }
    let every = file.run.checkpoint_every;
    let steps = file.train.steps.map(|last| {
        let mut steps: Vec<u64> =
            (1..=last).filter(|k| every > 0 && k % every == 0).map(|k| k as u64).collect();
        if steps.last() != Some(&(last as u64)) {
            steps.push(last as u64);
        }
        steps
    });
    Ok(TrainingPlan { inputs: json!({ "method": kind.name(), "file": table, "data": hashes }), steps })
}

/// Trains, or goes on with a run that was interrupted after its first checkpoint.
pub(crate) fn train(common: &Common, training: &Training<'_>) -> Result {
    let kind = kind(training);
    let begun = training.run.join("checkpoints").is_dir() && !RunFolder::steps(training.run)?.is_empty();
    let args = if begun {
        let resume = Some(training.run.to_owned());
        Args { config: None, set: Vec::new(), resume, dry_run: false, json: false }
    } else {
        let config = Some(training.config.file.clone());
        Args { config, set: changes(training)?, resume: None, dry_run: false, json: false }
    };
    match kind {
        Kind::Sft => sft(common, &args, Arc::new(Alone)),
        Kind::Grpo => grpo(common, &args, Arc::new(Alone)),
    }
}

fn kind(training: &Training<'_>) -> Kind {
    match training.config.method {
        TrainingMethod::Sft => Kind::Sft,
        TrainingMethod::Grpo => Kind::Grpo,
    }
}

fn read(common: &Common, training: &Training<'_>, kind: Kind) -> Result<RunFile> {
    user_file(common, kind, &training.config.file, &changes(training)?)
}

/// The changes of the study to the run file, as those of `--set`.
fn changes(training: &Training<'_>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    flatten("", &training.config.overrides, &mut all);
    if let Some(key) = STUDYS.iter().find(|key| all.iter().any(|(name, _)| name == *key)) {
        return Err(Error::input(format!("overrides.{key}: it is the study's, expected no such key")));
    }
    let path = |path: &Path| Value::String(path.display().to_string());
    // A plan is asked for before the run has a folder.
    let run = if training.run.as_os_str().is_empty() { Path::new("run") } else { training.run };
    all.push(("model.path".into(), path(training.model)));
    all.push(("run.dir".into(), path(run)));
    all.push(("run.keep".into(), Value::Integer(0)));
    Ok(all.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// The leaves of a table, as `section.key` with a value.
fn flatten(prefix: &str, table: &toml::Table, into: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten(&name, inner, into),
            value => into.push((name, value.clone())),
        }
    }
}
