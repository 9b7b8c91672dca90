//! `sparks circuit`: a selection of edges from scores.

use std::path::PathBuf;

use circuits::{Circuit, PruneRule, Rank, ScoreFile, Selection, dot, svg};
use serde_json::json;

use crate::common::{Common, Failure, Result};
use crate::output::{print_json, write_whole};

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("how").required(true).args(["top", "greedy", "threshold", "per_layer"]))]
pub(crate) struct Args {
    /// Scores: .json, .pt or .safetensors.
    scores: PathBuf,
    /// The N best edges.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// N edges from the logits up, always the best one whose reader is in.
    #[arg(long, value_name = "N")]
    greedy: Option<usize>,
    /// Every edge of at least this score.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// The N best edges into each layer.
    #[arg(long, value_name = "N")]
    per_layer: Option<usize>,
    /// Select by the loss convention (positive: corrupting the edge hurts), not by absolute score.
    #[arg(long)]
    signed: bool,
    /// Keep edges that lead nowhere or come from nowhere.
    #[arg(long)]
    no_prune: bool,
    /// Prune as EAP-IG did before July 2025 (MIB pins that rule).
    #[arg(long, conflicts_with = "no_prune")]
    old_prune: bool,
    /// Where the circuit goes: the scores' file with the selection in it.
    #[arg(long, value_name = "CIRCUIT.json")]
    out: PathBuf,
    /// The circuit in Graphviz' language.
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    /// A drawing of the circuit.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    ScoreFile::check_path(&args.out)?;
    let file = ScoreFile::read(&args.scores)?;
    let how = match (args.top, args.greedy, args.threshold, args.per_layer) {
        (Some(n), ..) => Selection::Top(n),
        (_, Some(n), ..) => Selection::Greedy(n),
        (_, _, Some(t), _) => Selection::Threshold(t),
        (_, _, _, Some(n)) => Selection::PerLayer(n),
        _ => return Err(Failure::input("one of --top, --greedy, --threshold, --per-layer is needed")),
    };
    let selected = if args.signed {
        Circuit::select(&file.loss_scores(), how, Rank::Signed)?
    } else {
        Circuit::select(&file.scores, how, Rank::Absolute)?
    };
    let circuit = match (args.no_prune, args.old_prune) {
        (true, _) => selected.clone(),
        (_, true) => selected.pruned_by(PruneRule::Before2025July { greedy: args.greedy.is_some() }),
        _ => selected.pruned(),
    };
    let pruned = selected.n_edges() - circuit.n_edges();
    let mut out = file.with_circuit(&circuit)?;
    if !out.meta.is_object() {
        out.meta = json!({});
    }
    out.meta["selection"] = json!({ "how": format!("{how:?}"), "signed": args.signed, "pruned": !args.no_prune, "removed": pruned });
    write_whole(&args.out, &out.to_bytes(&args.out)?)?;
    if let Some(path) = &args.dot {
        write_whole(path, dot(&circuit, Some(&out.scores)).as_bytes())?;
    }
    if let Some(path) = &args.svg {
        write_whole(path, svg(&circuit, Some(&out.scores)).as_bytes())?;
    }
    let heads: Vec<String> = circuit.heads().iter().map(ToString::to_string).collect();
    let n_nodes = circuit.nodes().len();
    if args.json {
        print_json(
            &json!({ "edges": circuit.n_edges(), "nodes": n_nodes, "heads": heads, "pruned": pruned }),
        );
    } else {
        common.note(format!(
            "{}: {} edges ({pruned} pruned), {n_nodes} writers, {} heads",
            args.out.display(),
            circuit.n_edges(),
            heads.len()
        ));
    }
    Ok(())
}
