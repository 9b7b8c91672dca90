//! Shapes that the benches share.
