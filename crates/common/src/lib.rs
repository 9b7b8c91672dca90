//! What every crate of this project shares: the [`Error`] type, reading text files, writing whole
//! files, hashes, shards.
//!
//! Each crate re-exports [`Error`] as its own, so that `?` works across them. Nothing else belongs here.

mod error;
mod hash;
mod shard;
mod text;
mod write;

pub use error::{Error, Result};
pub use hash::{file_hash, folder_hash, hash_of};
pub use shard::Shard;
pub use text::{read_lines, read_text, text_of};
pub use write::{
    Unfinished, check_folder, exit_without_partial_files, is_device, make_folder, write_new, write_whole,
    write_with,
};
