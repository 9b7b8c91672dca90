//! `sparks merge-adapter`: a checkpoint folder with a LoRA adapter in its weights.

use std::path::PathBuf;

use model_qwen::{Adapter, save};

use crate::common::{Common, Failure, Result};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder.
    model: String,
    /// Adapter folder, as PEFT writes it.
    // Not `adapter`: clap would take it for the global option of that name.
    #[arg(value_name = "ADAPTER")]
    folder: PathBuf,
    /// Where the merged checkpoint goes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Take the adapter out of a checkpoint that has it, up to rounding.
    #[arg(long)]
    undo: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    common.without_adapter("merge-adapter")?;
    let checkpoint = common.open(&args.model)?;
    let same = |a: &std::path::Path, b: &std::path::Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(&args.out, checkpoint.dir()) || same(&args.out, &args.folder) {
        return Err(Failure::input(format!("--out {}: would replace its own input", args.out.display())));
    }
    let model = common.load_base(&checkpoint, common.dtype()?)?;
    let adapter = Adapter::open(&args.folder, &model)?;
    let merged = if args.undo { adapter.unmerge(&model)? } else { adapter.merge(&model)? };
    save(&merged, &args.out, common.dtype()?, Some(checkpoint.dir()))?;
    Ok(())
}
