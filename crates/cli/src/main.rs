//! The command `sparks`: one subcommand in each file, as thin calls into the library crates.
//!
//! Only this crate knows flags, the terminal, progress bars and exit codes. Exit status: 0 done, 2 bad usage or
//! bad input (one line on stderr), 1 anything else.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attribute;
mod bench;
mod choices;
mod circuit;
mod compare;
mod demo;
mod device;
mod eval;
mod faithfulness;
mod files;
mod forward;
mod generate;
mod grade;
mod heads;
mod info;
mod input;
mod interventions;
mod job;
mod lens;
mod memory;
mod merge;
mod merge_adapter;
mod model;
mod near;
mod options;
mod output;
mod pairs;
mod part;
mod patch;
mod prompt;
mod result;
mod rows;
mod served;
mod shard;
mod signals;
mod study;
mod sweep;
mod train;
mod usage;
mod watch;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use common::Error;
use ranks::Job;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Post-train a language model and measure, head by head, what changes in it.
#[derive(Parser)]
#[command(name = "sparks", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: options::Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the sizes of a checkpoint and the memory that it needs.
    Info(info::Args),
    /// Time this machine at each kind of work on a model, beside what its memory and its arithmetic allow.
    Bench(bench::Args),
    /// Run a model and write logits and activations.
    Forward(forward::Args),
    /// Complete a prompt.
    Generate(generate::Args),
    /// Score every edge or node of a model on pairs of prompts (EAP, EAP-IG, exact patching).
    Attribute(attribute::Args),
    /// Join what shards of one command made.
    Merge(merge::Args),
    /// Write a checkpoint with a LoRA adapter merged into its weights.
    MergeAdapter(merge_adapter::Args),
    /// Select a circuit from scores and prune it.
    Circuit(circuit::Args),
    /// Measure how faithful a circuit is.
    Faithfulness(faithfulness::Args),
    /// Compare circuits of checkpoints: heads and edges kept, new and lost, and which new heads are emergent.
    Compare(compare::Args),
    /// Build pairs of prompts, from text templates or from the answers of two models.
    Pairs(pairs::Args),
    /// Logit lens and direct logit attribution.
    Lens(lens::Args),
    /// Activation patching, one layer, head or position at a time.
    Patch(patch::Args),
    /// Ablate each head or layer in turn and measure the effect.
    Sweep(sweep::Args),
    /// List the heads: place in a circuit, ranks of the weights, attention entropy.
    Heads(heads::Args),
    /// Supervised fine-tuning.
    Sft(train::Args),
    /// Group-relative policy optimisation with checked answers.
    Grpo(train::Args),
    /// Evaluate a model on a benchmark; an interrupted run resumes.
    Eval(eval::Args),
    /// Compare predicted answers with reference answers.
    Grade(grade::Args),
    /// Run the whole study on the embedded model: no download, no GPU, minutes.
    Demo(demo::Args),
    /// Compare the circuits and heads of checkpoints, from a configuration file.
    Study(study::Args),
    /// Show a training run while it goes on: curve, heads, turnover.
    Watch(watch::Args),
}

impl Command {
    /// Whether processes that a launcher started together share this command's work.
    fn is_shared_out(&self) -> bool {
        let shard = match self {
            Self::Sft(_) | Self::Grpo(_) => &None,
            Self::Eval(args) => &args.shard,
            Self::Attribute(args) => &args.shard,
            Self::Faithfulness(args) => &args.output.shard,
            Self::Patch(args) => &args.output.shard,
            Self::Sweep(args) => &args.output.shard,
            _ => return false,
        };
        // Without MPI a launcher can start processes that have been told their shards.
        cfg!(feature = "mpi") || shard.is_none()
    }
}

/// Restarts this program with an allocator that keeps freed memory: returning gigabytes of activations to the
/// system after each use doubled the CPU time. mimalloc reads its settings only when a program starts.
fn keep_freed_memory() {
    use std::os::unix::process::CommandExt as _;
    const SETTING: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(SETTING).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        // Returns only where it fails; the program then runs with the default settings.
        let _ = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(SETTING, "-1")
            .env("MIMALLOC_ALLOW_LARGE_OS_PAGES", "1")
            .exec();
    }
}

fn main() -> ExitCode {
    keep_freed_memory();
    let mut command = Cli::command();
    let parsed = command.try_get_matches_from_mut(std::env::args_os()).and_then(|matches| {
        let mut cli = Cli::from_arg_matches(&matches).map_err(|e| e.format(&mut command))?;
        cli.common.files = files::Files::of(&command, &matches);
        Ok(cli)
    });
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && e.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprintln!("sparks: {}", usage::message(&e));
            return ExitCode::from(2);
        }
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let mut common = cli.common;
    let started = signals::install()
        .and_then(|()| if cli.command.is_shared_out() { job::start(&mut common) } else { Ok(Job::alone()) });
    let job = match started {
        Ok(job) => job,
        Err(error) => return failed(&error),
    };
    // Inside the pool: another thread would sleep and wake at every matrix product.
    let done = common.start().and_then(|()| {
        match &cli.command {
            Command::Merge(_) => common.without_model("merge")?,
            Command::Circuit(_) => common.without_model("circuit")?,
            Command::Compare(_) => common.without_model("compare")?,
            Command::Grade(_) => common.without_model("grade")?,
            Command::Demo(_) => common.without_model("demo")?,
            Command::Watch(_) => common.without_model("watch")?,
            _ => {}
        }
        let ranks = match cli.command {
            Command::Sft(_) | Command::Grpo(_) => job.ranks_on(common.gpu())?,
            _ => job.ranks(),
        };
        let common = &common;
        rayon::scope(move |_| match cli.command {
            Command::Info(args) => info::run(common, args),
            Command::Bench(args) => bench::run(common, args),
            Command::Forward(args) => forward::run(common, args),
            Command::Generate(args) => generate::run(common, args),
            Command::Attribute(args) => attribute::run(common, args, &ranks),
            Command::Merge(args) => merge::run(common, args),
            Command::MergeAdapter(args) => merge_adapter::run(common, args),
            Command::Circuit(args) => circuit::run(common, args),
            Command::Faithfulness(args) => faithfulness::run(common, args, &ranks),
            Command::Compare(args) => compare::run(common, args),
            Command::Pairs(args) => pairs::run(common, args),
            Command::Lens(args) => lens::run(common, args),
            Command::Patch(args) => patch::run(common, args, &ranks),
            Command::Sweep(args) => sweep::run(common, args, &ranks),
            Command::Heads(args) => heads::run(common, args),
            Command::Sft(args) => train::sft(common, &args, ranks),
            Command::Grpo(args) => train::grpo(common, &args, ranks),
            Command::Eval(args) => eval::run(common, args, &ranks),
            Command::Grade(args) => grade::run(common, args),
            Command::Demo(args) => demo::run(common, args),
            Command::Study(args) => study::run(common, args),
            Command::Watch(args) => watch::run(common, args),
        })
    });
    match done {
        Ok(()) => {
            job.end();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut status = ExitCode::FAILURE;
            job.fail(code(&error).into(), || status = failed(&error));
            status
        }
    }
}

/// Says why the command failed; its exit status.
fn failed(error: &Error) -> ExitCode {
    eprintln!("sparks: {error}");
    ExitCode::from(code(error))
}

fn code(error: &Error) -> u8 {
    if error.is_input() { 2 } else { 1 }
}
