//! The README, so that the tests compile and run its program; and what the programs `figure_…` and `table_…` share.
//! The examples are the files beside this one.
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

pub mod figures;
