//! The command `sparks`. Everything it does is a thin call into a library crate; this crate alone knows
//! flags, the terminal, progress bars and exit codes.
//!
//! Exit status: 0 done, 2 bad usage or bad input (one line on stderr), 1 anything else.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attribute;
mod circuit;
mod compare;
mod demo;
mod device;
mod eval;
mod faithfulness;
mod forward;
mod generate;
mod grade;
mod heads;
mod info;
mod input;
mod interventions;
mod lens;
mod memory;
mod merge;
mod merge_adapter;
mod model;
mod options;
mod output;
mod pairs;
mod patch;
mod sweep;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Post-train a language model and watch, head by head, what that does to it.
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
    /// Family, sizes, parameters, edges and memory of a checkpoint.
    Info(info::Args),
    /// Logits, and activations at sites, of token ids or texts.
    Forward(forward::Args),
    /// Complete a prompt, with heads ablated or scaled where asked.
    Generate(generate::Args),
    /// Score every edge of a model on pairs of prompts.
    Attribute(attribute::Args),
    /// Join the score files of shards.
    Merge(merge::Args),
    /// Write a checkpoint with a LoRA adapter merged into it.
    MergeAdapter(merge_adapter::Args),
    /// Select a circuit from scores.
    Circuit(circuit::Args),
    /// How much of a model's behaviour a circuit keeps.
    Faithfulness(faithfulness::Args),
    /// Heads and edges kept, gained and lost between checkpoints.
    Compare(compare::Args),
    /// Make pairs of prompts, from templates or from two models' answers.
    Pairs(pairs::Args),
    /// What each residual stream would say, and what each head adds to the answer's logit.
    Lens(lens::Args),
    /// Activations of one run put into another, place by place.
    Patch(patch::Args),
    /// What each head or layer is worth: one ablated at a time.
    Sweep(sweep::Args),
    /// Each head's place in a circuit, ranks of its weights, entropy of its attention.
    Heads(heads::Args),
    /// Supervised fine-tuning.
    Sft(train::SftArgs),
    /// Group-relative policy optimisation with checked answers.
    Grpo(train::GrpoArgs),
    /// Solve a benchmark; a stopped run continues where it was.
    Eval(eval::Args),
    /// Grade answers.
    Grade(grade::Args),
    /// The whole study on the embedded model: no download, no GPU, minutes.
    Demo(demo::Args),
}

/// Starts this program over with an allocator that keeps freed memory: activations come and go by the
/// gigabyte, and giving each back to the system doubled the CPU time. mimalloc reads its settings at start only.
fn keep_freed_memory() {
    use std::os::unix::process::CommandExt as _;
    const SETTING: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(SETTING).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        // Returns only where it fails, and then all goes on as it is.
        let _ = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(SETTING, "-1")
            .env("MIMALLOC_ALLOW_LARGE_OS_PAGES", "1")
            .exec();
    }
}

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let common = cli.common;
    // Inside the pool: a thread that is not of it would sleep and wake at every product.
    let done = common.start().and_then(|()| {
        rayon::scope(|_| match cli.command {
            Command::Info(args) => info::run(&common, args),
            Command::Forward(args) => forward::run(&common, args),
            Command::Generate(args) => generate::run(&common, args),
            Command::Attribute(args) => attribute::run(&common, args),
            Command::Merge(args) => merge::run(&common, args),
            Command::MergeAdapter(args) => merge_adapter::run(&common, args),
            Command::Circuit(args) => circuit::run(&common, args),
            Command::Faithfulness(args) => faithfulness::run(&common, args),
            Command::Compare(args) => compare::run(&common, args),
            Command::Pairs(args) => pairs::run(&common, args),
            Command::Lens(args) => lens::run(&common, args),
            Command::Patch(args) => patch::run(&common, args),
            Command::Sweep(args) => sweep::run(&common, args),
            Command::Heads(args) => heads::run(&common, args),
            Command::Sft(args) => train::sft(&common, args),
            Command::Grpo(args) => train::grpo(&common, args),
            Command::Eval(args) => eval::run(&common, args),
            Command::Grade(args) => grade::run(&common, args),
            Command::Demo(args) => demo::run(&common, args),
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sparks: {}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}
