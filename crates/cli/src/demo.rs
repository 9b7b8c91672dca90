//! `sparks demo`: the study on the embedded model, with its progress and the time left.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use study::demo::{Demo, DemoProgress, run as run_demo};

use crate::options::{Common, Result};
use crate::output::{print_json, say, to_json};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Output folder: runs, figures, results.json, report.html.
    #[arg(long, default_value = "runs/demo", value_name = "DIR")]
    out: PathBuf,
    /// Print the results as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    let demo = Demo::new(&args.out, common.seed());
    let started = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let mut shown = String::new();
    let mut say = |p: DemoProgress<'_>| {
        if common.quiet {
            return;
        }
        let spent = started.elapsed().as_secs_f64();
        let left = if p.done > 0.02 {
            format!("about {:.0} s left", spent / p.done - spent)
        } else {
            "a few minutes".into()
        };
        let mut err = std::io::stderr();
        if terminal {
            let _ = write!(err, "\r\x1b[2K{:3.0} %  {}  ({left})", 100.0 * p.done, p.doing);
        } else if shown != p.doing {
            let _ = writeln!(err, "{:3.0} %  {}  ({left})", 100.0 * p.done, p.doing);
        }
        p.doing.clone_into(&mut shown);
    };
    let results = run_demo(&demo, &mut say)?;
    if terminal && !common.quiet {
        eprintln!();
    }
    if args.json {
        print_json(&to_json(&results)?);
        return Ok(());
    }
    say!("accuracy on {} unseen sums of each suite (95 % interval):", demo.problems);
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
    for warning in &results.warnings {
        say!("note: {}: {}", warning.claim, warning.finding);
    }
    say!("{} after {:.0} s", args.out.join("report.html").display(), started.elapsed().as_secs_f64());
    Ok(())
}
