//! What every crate of this project shares: the [`Error`] type, and writing whole files.
//!
//! Each crate re-exports [`Error`] as its own, so that `?` works across them. It is no place for anything else.

mod error;
mod write;

pub use error::{Error, Result};
pub use write::{write_whole, write_with};
