//! `sparks sft` and `sparks grpo`: one loop with logs, checkpoints, circuits of the model in training and a
//! clean stop; what a step does is the library's.

mod config;
mod dry_run;
mod evaluate;
mod for_study;
mod grpo;
mod kept;
mod keys;
mod open;
mod problems;
mod rollouts;
mod sections;
mod sft;
mod steps;
mod watch;

use std::path::PathBuf;

pub(crate) use for_study::{plan, train};
pub(crate) use grpo::grpo;
pub(crate) use sft::sft;

/// Which trainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sft,
    Grpo,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Grpo => "grpo",
        }
    }

    fn command(self) -> String {
        format!("sparks {}", self.name())
    }

    /// That of the run that wrote this `config.toml`: rewards are written out in each of GRPO, and in no other.
    fn of_run(config: &str) -> crate::options::Result<Self> {
        let table = keys::table(config)?;
        let is_grpo = table.contains_key("reward") || table.contains_key("grpo");
        Ok(if is_grpo { Self::Grpo } else { Self::Sft })
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The run file (TOML).
    #[arg(required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Changes to it, such as optimizer.lr=1e-5.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., action = clap::ArgAction::Append)]
    set: Vec<String>,
    /// Go on with the run in this folder, from its last whole checkpoint. CONFIG and --set may then change its
    /// length, checkpoints, logs, evaluation and [watch].
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Read the data, time one step and print sizes, steps, memory, time and one example; write nothing.
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// The last step's metrics as one JSON object on stdout.
    #[arg(long)]
    json: bool,
}
