//! Tests across crates, in one binary: what the peers computed, and what the crates say together.

mod attribution;
mod fixtures;
mod generation;
mod model;
mod real;
mod tidy;
