//! `sparks merge-adapter`: write a checkpoint with a LoRA adapter added to its weights.

use std::path::PathBuf;

use model_qwen::{Adapter, Dtype, save};
use serde_json::json;

use crate::options::{Common, Result};
use crate::output::print_json;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Adapter folder in PEFT's format.
    // Not `adapter`: clap would take it for the global option of that name.
    #[arg(value_name = "ADAPTER")]
    folder: PathBuf,
    /// Output folder, new or empty. The dtype is that of the base, or --dtype.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Subtract the adapter from a merged checkpoint (exact up to rounding).
    #[arg(long)]
    undo: bool,
    /// Print the folder and the dtype of its weights as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    common.without_adapter("merge-adapter")?;
    let checkpoint = common.open(&args.model)?;
    let stored = match checkpoint.config.dtype_name() {
        Some("bfloat16") => Dtype::Bf16,
        Some("float16") => Dtype::F16,
        _ => Dtype::F32,
    };
    let dtype = common.given_dtype().unwrap_or(stored);
    let model = common.load_base(&checkpoint, dtype)?;
    let adapter = Adapter::open(&args.folder, &model)?;
    let merged = if args.undo { adapter.unmerge(&model)? } else { adapter.merge(&model)? };
    save(&merged, &args.out, dtype, Some(checkpoint.dir()))?;
    if args.json {
        print_json(&json!({ "out": args.out, "dtype": dtype.name(), "undo": args.undo }));
    }
    Ok(())
}
