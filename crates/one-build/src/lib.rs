//! No code. This crate names the features of burn, and of the crates below it, for the whole workspace.
//!
//! Cargo chooses features for the packages that one command builds. Without this crate `-p sparks`, `-p benches` and
//! `--workspace` each chose another set, and each compiled burn's CPU backend again: minutes of waiting. `hooks` and
//! `kernels` depend on it, and through them every crate that uses burn.
