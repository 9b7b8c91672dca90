//! The tables of a study as CSV and its arrays as `.npz`, from a results file alone.

mod csv;
mod npz;

use std::path::Path;

use common::{Error, write_whole};

use crate::Results;

/// Writes `tables/*.csv` and `arrays.npz` into `dir`.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_tables(results: &Results, dir: &Path) -> Result<(), Error> {
    let tables = dir.join("tables");
    common::make_folder(&tables)?;
    for table in csv::tables(results)? {
        write_whole(tables.join(format!("{}.csv", table.name)), table.text().as_bytes())?;
    }
    write_whole(dir.join("arrays.npz"), &npz::archive(&npz::arrays(results))?)
}
