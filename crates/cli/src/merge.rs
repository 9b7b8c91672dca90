//! `sparks merge`: join what shards made; the result has the bits of one run over all rows.

use std::path::{Path, PathBuf};

use circuits::ScoreFile;
use common::{Error, read_text, write_whole};
use serde_json::{Value, json};

use crate::options::{Common, Result};
use crate::output::{print_json, ready};
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
    /// Print the file and what it is made of as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Says what was joined.
fn say(common: &Common, args: &Args, what: &str, rest: Value) {
    if args.json {
        let mut out = json!({ "out": args.out, "parts": args.shards.len() });
        if let (Value::Object(out), Value::Object(rest)) = (&mut out, rest) {
            out.extend(rest);
        }
        print_json(&out);
    } else {
        common.note(format!("{}: {what}", args.out.display()));
    }
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
    say(common, &args, &format!("from {n_parts} files"), Value::Null);
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
    let pass = measures.pass_at_1.estimate;
    let what = format!(
        "{samples} samples of {problems} problems, pass@1 {pass:.3}; the command of eval without --shard prints all \
         measures"
    );
    say(common, args, &what, json!({ "samples": samples, "problems": problems, "pass_at_1": pass }));
    Ok(())
}

fn scores(common: &Common, args: &Args) -> Result {
    ScoreFile::check_path(&args.out)?;
    let read = |path: &PathBuf| Ok((path.display().to_string(), crate::circuit::read_scores(common, path)?));
    let merged = circuits::merge(args.shards.iter().map(read).collect::<Result<_>>()?)?;
    write_whole(&args.out, &merged.to_bytes(&args.out)?)?;
    let pairs = merged.provenance.as_ref().and_then(|of| of.n_pairs).unwrap_or(0);
    let what = format!("{pairs} pairs from {} files", args.shards.len());
    say(common, args, &what, json!({ "pairs": pairs }));
    Ok(())
}
