//! `sparks study`: a study from its configuration file; each job is done once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use common::{Error, read_text};
use serde_json::json;
use study::{Host, Selected, Stage, Study, StudyConfig};

use crate::options::{Common, Result};
use crate::output::{print_json, say};
use crate::shard::Shard;
use crate::signals;

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
    /// Print the jobs and which of them are done; do none.
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

pub(crate) fn run(common: &Common, args: Args) -> Result {
    common.without_model("study")?;
    if common.given_seed().is_some() {
        return Err(Error::input("--seed: no effect on a study, whose seed is `study.seed`"));
    }
    let text = read_text(&args.config)?;
    let config = StudyConfig::parse(&text).map_err(|e| e.within(args.config.display()))?;
    let dir = config.study.dir.clone();
    let shard = Shard::new(common, args.shard.as_deref())?
        .map(|s| study::jobs::Shard { index: s.index, count: s.count });
    let from = args.from.map_or(Vec::new(), |from| Stage::ALL.into_iter().filter(|s| *s >= from).collect());
    let stages = if args.only.is_empty() { from } else { args.only };
    let mut host = Command { common, stop: signals::polled() };
    let mut study = Study::new(config, Selected { stages, shard, dry_run: args.dry_run }, &mut host);
    let results = study.run()?;
    let (jobs, missing) = (study.jobs(), study.missing());
    if args.dry_run {
        if args.json {
            print_json(&json!({ "jobs": jobs }));
        } else {
            for job in jobs {
                say!("{} {}", if job.done { "done" } else { "todo" }, job.name);
            }
        }
        return Ok(());
    }
    let done = json!({
        "jobs": jobs.len(), "missing": missing, "results": results.as_ref().map(|_| dir.join("results.json")),
    });
    match &results {
        Some(results) => {
            study::write_report(results, &dir)?;
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
