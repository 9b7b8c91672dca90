//! Tests across crates, in one binary: what the peers computed, and what the crates say together.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod attribution;
mod discovery_rate;
mod downstream;
mod families;
mod fixtures;
mod generation;
mod identities;
mod inside;
mod lora;
mod model;
mod pairs;
mod real;
mod sites;
mod tidy;
mod truth;
mod untrusted;
