//! The command `sparks`.
fn main() {}
