//! The stages of a study, in order. Each asks for the results of its jobs; a job is done once (see [`crate::jobs`]).

mod answers;
mod attribution;
mod cases;
mod checkpoints;
mod circuits;
mod controls;
pub(crate) mod curves;
mod evidence;
mod found;
mod heads;
mod interventions;
mod later;
mod pairs;
mod plan;
mod random;
mod results;
mod roles;
mod subjects;
mod think;
mod transfers;

pub(crate) use answers::Benchmark;
pub(crate) use heads::DrawnHeads;
pub(crate) use pairs::suites;
pub use plan::StagePlan;
pub(crate) use plan::plan;
pub(crate) use results::results;
pub(crate) use subjects::{Subject, subjects};
