//! The stages of a study, in order. Each asks for the results of its jobs; a job is done once (see [`crate::jobs`]).

mod attribution;
mod circuits;
pub(crate) mod curves;
mod heads;
mod results;
mod subjects;

pub(crate) use results::results;
pub(crate) use subjects::{Subject, subjects};
