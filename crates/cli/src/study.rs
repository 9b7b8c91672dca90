//! `sparks study`: a study from its configuration file; each job is done once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bench_math::PromptSettings;
use burn::tensor::Device;
use common::{Error, read_text};
use model_qwen::Checkpoint;
use serde_json::json;
use study::jobs::JobState;
use study::{Host, Results, Selected, Stage, Study, StudyConfig, Training, TrainingPlan};

use crate::options::{Common, Result};
use crate::output::{print_json, say};
use crate::prompt::Prompter;
use crate::{shard, signals};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Configuration file (TOML): checkpoints, suites, circuits.
    config: PathBuf,
    /// Do the jobs of these stages only; the results of the others are read where they are done.
    #[arg(long, value_delimiter = ',', value_name = "STAGES", value_parser = stage)]
    only: Vec<Stage>,
    /// Do the jobs of this stage and the later ones only.
    #[arg(long, value_name = "STAGE", conflicts_with = "only", value_parser = stage)]
    from: Option<Stage>,
    /// Do every N-th job of each stage, from job I. Default: `SPARKS_SHARD`, else the array of the scheduler.
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Print the jobs of --only, --from and --shard, and which of them are done; do none.
    #[arg(long)]
    dry_run: bool,
    /// Print a summary as one JSON object.
    #[arg(long)]
    json: bool,
}

fn stage(name: &str) -> Result<Stage> {
    let names = Stage::ALL.map(Stage::name);
    let found = Stage::ALL.into_iter().find(|stage| stage.name() == name);
    found.ok_or_else(|| Error::input(format!("`{name}`, expected one of {}", names.join(", "))))
}

/// What a study needs of the command.
struct Command<'a> {
    common: &'a Common,
    stop: Arc<AtomicBool>,
}

impl Host for Command<'_> {
    fn folder(&mut self, model: &str) -> Result<PathBuf> {
        crate::model::folder(self.common, model)
    }

    fn plan(&mut self, training: &Training<'_>) -> Result<TrainingPlan> {
        crate::train::plan(self.common, training)
    }

    fn train(&mut self, training: &Training<'_>) -> Result {
        let trained = crate::train::train(self.common, training);
        // The arithmetic of a training is that of its weights; the study's are f32.
        self.common.compute().set();
        trained
    }

    fn prompts(&mut self, model: &Path, how: &PromptSettings, questions: &[String]) -> Result<Vec<Vec<u32>>> {
        let checkpoint = Checkpoint::open(model)?;
        let prompter = Prompter::new(&checkpoint, how.clone())?;
        questions.iter().map(|question| prompter.question(question)).collect()
    }

    fn device(&mut self) -> Result<Device> {
        self.common.device()
    }

    fn say(&mut self, what: &str) {
        self.common.note(what);
    }

    fn stop(&mut self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// Runs the selected part of a study. Where all of it is done then, writes the report and returns the results.
pub(crate) fn run_study(
    common: &Common,
    config: StudyConfig,
    selected: Selected,
) -> Result<(Vec<JobState>, Option<Results>)> {
    let dir = config.study.dir.clone();
    let mut host = Command { common, stop: signals::polled() };
    let mut study = Study::new(config, selected, &mut host);
    let results = study.run()?;
    let jobs = study.jobs().to_vec();
    if let Some(results) = &results {
        study::write_report(results, &dir)?;
        study::write_tables(results, &dir)?;
    }
    Ok((jobs, results))
}

/// Prints the jobs, and what those that are not done would take.
fn plan(common: &Common, config: StudyConfig, selected: Selected, json: bool) -> Result {
    let mut host = Command { common, stop: signals::polled() };
    let trainings = config.train.clone();
    let mut study = Study::new(config, selected, &mut host);
    let stages = study.plan()?;
    let jobs: Vec<&JobState> = study.jobs().iter().filter(|job| job.mine).collect();
    if json {
        print_json(&json!({ "jobs": jobs, "stages": stages }));
        return Ok(());
    }
    for job in jobs {
        say!("{} {}", if job.done { "done" } else { "todo" }, job.name);
    }
    let of_trainings: Vec<String> = trainings
        .iter()
        .map(|t| {
            format!("`sparks {} {} --set model.path=MODEL --dry-run`", t.method.name(), t.file.display())
        })
        .collect();
    for row in &stages {
        let what = match row.stage {
            Stage::Checkpoints if of_trainings.is_empty() => "nothing to compute".to_owned(),
            Stage::Checkpoints => format!("tokens, memory and time by {}", of_trainings.join(", ")),
            _ => format!(
                "{} tokens read, at most {} written, {:.2} GB, {}",
                row.read_tokens,
                row.written_tokens,
                row.bytes as f64 / 1e9,
                row.seconds.map_or("time unknown".to_owned(), |s| format!("about {s:.0} s"))
            ),
        };
        common.note(format!("{}: {} of {} jobs to do, {what}", row.stage.name(), row.todo, row.jobs));
    }
    let seconds = stages.iter().filter_map(|row| row.seconds).reduce(|a, b| a + b);
    let time = seconds.map_or("time unknown".to_owned(), |s| format!("about {:.0} min", s / 60.0));
    let most = stages.iter().map(|row| row.bytes).max().unwrap_or(0);
    let trained = stages.iter().any(|row| row.stage == Stage::Checkpoints) && !of_trainings.is_empty();
    let beside = if trained { ", trainings aside" } else { "" };
    common.note(format!("in all {time}, at most {:.2} GB{beside}", most as f64 / 1e9));
    Ok(())
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    common.without_model("study")?;
    if common.given_seed().is_some() {
        return Err(Error::input("--seed: no effect on a study, whose seed is `study.seed`"));
    }
    let text = read_text(&args.config)?;
    let config = StudyConfig::parse(&text).map_err(|e| e.within(args.config.display()))?;
    let dir = config.study.dir.clone();
    let shard = shard::of_process(common, args.shard.as_deref())?;
    let from = args.from.map_or(Vec::new(), |from| Stage::ALL.into_iter().filter(|s| *s >= from).collect());
    let stages = if args.only.is_empty() { from } else { args.only };
    let selected = Selected { stages, shard, dry_run: args.dry_run };
    if args.dry_run {
        return plan(common, config, selected, args.json);
    }
    let (jobs, results) = run_study(common, config, selected)?;
    let missing: Vec<&str> = jobs.iter().filter(|job| !job.done).map(|job| job.name.as_str()).collect();
    let done = json!({
        "jobs": jobs.len(), "missing": missing, "results": results.as_ref().map(|_| dir.join("results.json")),
    });
    match &results {
        Some(_) => {
            common.note(format!("{}: {} jobs", dir.join("report.html").display(), jobs.len()));
        }
        None => common.note(format!(
            "{}: {} jobs are left for other shards or stages, the first: {}",
            dir.display(),
            missing.len(),
            missing.first().unwrap_or(&"")
        )),
    }
    if args.json {
        print_json(&done);
    }
    Ok(())
}
