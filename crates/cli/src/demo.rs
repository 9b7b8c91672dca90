//! `sparks demo`: the study of the embedded model.

use std::path::PathBuf;
use std::time::Instant;

use study::Selected;
use study::demo::Demo;

use crate::options::{Common, Result};
use crate::output::{print_json, say, to_json};
use crate::study::run_study;

/// Controls over many seeds, and the demo with other seeds: made by `tools/demo_evidence.sh`.
const EVIDENCE: &str = include_str!("../assets/demo-evidence.json");

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Output folder: runs, results.json, report.html. A demo that was interrupted goes on.
    #[arg(long, default_value = "runs/demo", value_name = "DIR")]
    out: PathBuf,
    /// Print the results as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    common.without_model("demo")?;
    let started = Instant::now();
    let evidence = args.out.join("world").join("evidence.json");
    common::make_folder(args.out.join("world"))?;
    common::write_whole(&evidence, EVIDENCE.as_bytes())?;
    let demo = Demo { evidence: Some(evidence), ..Demo::new(&args.out, common.seed()) };
    let (jobs, results) = run_study(common, demo.prepare()?, Selected::default())?;
    let Some(results) = results else {
        return Err(common::Error::internal(format!("{} jobs are left", jobs.len())));
    };
    if args.json {
        print_json(&to_json(&results)?);
        return Ok(());
    }
    say!("pass@1 on unseen sums of each benchmark (95 % interval):");
    let checkpoints =
        std::iter::once(&results.base).chain(results.trainings.iter().filter_map(|t| t.checkpoints.last()));
    for checkpoint in checkpoints {
        for a in &checkpoint.accuracy {
            say!(
                "  {:<10} {:<5} {:5.1} %  [{:.1}, {:.1}]",
                checkpoint.label,
                a.suite,
                100.0 * a.interval.estimate,
                100.0 * a.interval.low,
                100.0 * a.interval.high
            );
        }
    }
    for training in &results.trainings {
        if let Some(change) = training.changes.last() {
            let names: Vec<String> = change.gained.iter().map(ToString::to_string).collect();
            say!(
                "{}: {} heads kept, {} lost, {} new{}, {}",
                training.name,
                change.kept.len(),
                change.lost.len(),
                names.len(),
                names.iter().map(|name| format!(" {name}")).collect::<String>(),
                change
                    .emergent
                    .as_ref()
                    .map_or("not tested".to_owned(), |heads| format!("{} emergent", heads.len()))
            );
        }
    }
    for hypothesis in &results.hypotheses {
        say!("{}: {}", verdict(hypothesis.verdict), hypothesis.claim);
    }
    for warning in &results.warnings {
        say!("in doubt: {} {}", warning.claim, warning.finding);
    }
    say!("{} after {:.0} s", args.out.join("report.html").display(), started.elapsed().as_secs_f64());
    Ok(())
}

fn verdict(verdict: study::results::Verdict) -> &'static str {
    use study::results::Verdict;
    match verdict {
        Verdict::Supported => "supported",
        Verdict::NotSupported => "not supported",
        Verdict::CannotTell => "cannot tell",
    }
}
