//! `sparks merge`: join the score files of shards; the result has the bits of one run over all pairs.

use std::path::PathBuf;

use circuits::ScoreFile;
use common::write_whole;

use crate::options::{Common, Result};
use crate::output::ready;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Score files made with `attribute --shard`.
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
    /// Output file.
    #[arg(long, value_name = "ALL")]
    out: PathBuf,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    ScoreFile::check_path(&args.out)?;
    ready(&args.out, &args.shards.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let read = |path: &PathBuf| Ok((path.display().to_string(), crate::circuit::read_scores(common, path)?));
    let merged = circuits::merge(args.shards.iter().map(read).collect::<Result<_>>()?)?;
    write_whole(&args.out, &merged.to_bytes(&args.out)?)?;
    let pairs = merged.provenance.as_ref().and_then(|of| of.n_pairs).unwrap_or(0);
    common.note(format!("{}: {pairs} pairs from {} files", args.out.display(), args.shards.len()));
    Ok(())
}
