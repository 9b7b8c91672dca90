//! The README, so that the tests compile and run its program. The examples are the files beside this one.
#![cfg_attr(doctest, doc = include_str!("../README.md"))]
