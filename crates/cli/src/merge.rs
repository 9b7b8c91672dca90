//! `sparks merge`: join what shards made; the result has the bits of one run over all rows.

use std::path::{Path, PathBuf};

use circuits::ScoreFile;
use common::{Error, read_text, write_whole};

use crate::options::{Common, Result};
use crate::output::ready;
use crate::part::{self, Part};
use crate::result::write_result;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What all shards of one command made: score files of attribute, files of faithfulness, patch or sweep, run folders
    /// of eval.
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
    /// Output file, of eval a new run folder.
    #[arg(long, value_name = "ALL")]
    out: PathBuf,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if args.shards.iter().all(|path| path.is_dir()) {
        return runs(common, &args);
    }
    ready(&args.out)?;
    let texts = args.shards.iter().map(|path| part_text(path)).collect::<Result<Vec<_>>>()?;
    let n_parts = texts.iter().flatten().count();
    if n_parts == 0 {
        return scores(common, &args);
    }
    let first = |is_part| args.shards.iter().zip(&texts).find(|(_, text)| text.is_some() == is_part);
    if let (Some((path, _)), Some((other, _))) = (first(false), first(true)) {
        let message = format!("is of another kind than {}, expected shards of one command", other.display());
        return Err(Error::at(path, message));
    }
    let parts = args.shards.iter().zip(texts.iter().flatten()).map(|(path, text)| Part::parse(path, text));
    write_result(&args.out, &part::join(parts.collect::<Result<_>>()?)?)?;
    common.note(format!("{}: from {n_parts} files", args.out.display()));
    Ok(())
}

/// The text of a file of faithfulness, patch or sweep; `None` where it is of another kind.
fn part_text(path: &Path) -> Result<Option<String>> {
    if path.extension().is_some_and(|e| e == "pt" || e == "safetensors") {
        return Ok(None);
    }
    Ok(Some(read_text(path)?).filter(|text| Part::is(text)))
}

/// Joins run folders.
fn runs(common: &Common, args: &Args) -> Result {
    let merged = bench_math::merge(&args.shards, &args.out)?;
    let measures = bench_math::measure(&merged.records.iter().collect::<Vec<_>>(), 0.95)?;
    let (samples, problems) = (merged.records.len(), merged.problems);
    common.note(format!(
        "{}: {samples} samples of {problems} problems, pass@1 {:.3}; the command of eval without --shard prints all measures",
        args.out.display(),
        measures.pass_at_1.estimate
    ));
    Ok(())
}

fn scores(common: &Common, args: &Args) -> Result {
    ScoreFile::check_path(&args.out)?;
    let read = |path: &PathBuf| Ok((path.display().to_string(), crate::circuit::read_scores(common, path)?));
    let merged = circuits::merge(args.shards.iter().map(read).collect::<Result<_>>()?)?;
    write_whole(&args.out, &merged.to_bytes(&args.out)?)?;
    let pairs = merged.provenance.as_ref().and_then(|of| of.n_pairs).unwrap_or(0);
    common.note(format!("{}: {pairs} pairs from {} files", args.out.display(), args.shards.len()));
    Ok(())
}
