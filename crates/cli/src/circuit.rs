//! `sparks circuit`: a selection of edges from scores.

use std::path::{Path, PathBuf};

use circuits::{
    Circuit, PruneRule, Rank, ScoreFile, Selection, check_mib_name, dot, mib_circuits, mib_importances, svg,
};
use serde_json::json;

use crate::options::{Common, Failure, Result};
use crate::output::{print_json, ready, write_whole};

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("how").required(true).args(["top", "greedy", "threshold", "per_layer", "mib"]))]
pub(crate) struct Args {
    /// Scores: .json, .pt or .safetensors.
    scores: PathBuf,
    /// The N best edges; of node scores, the N best nodes with all their edges.
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
    /// A submission to MIB in place of one circuit: DIR is named TASK_MODEL, such as ioi_qwen2.5.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dot", "svg", "no_prune", "old_prune"])]
    mib: Option<PathBuf>,
    /// What the submission holds.
    #[arg(long, default_value = "importances", value_name = "importances|circuits", requires = "mib")]
    mib_as: String,
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
    #[arg(long, value_name = "CIRCUIT.json", required_unless_present = "mib", conflicts_with = "mib")]
    out: Option<PathBuf>,
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

/// Says how signs are read where a file does not: EAP-IG's package drops the object `sparks`.
pub(crate) fn say_convention(common: &Common, path: &Path, file: &ScoreFile) {
    if file.metric().is_none() {
        common.note(format!(
            "{}: no `sparks.metric`: signs are taken to be those of EAP-IG's loss (positive: corrupting hurts)",
            path.display()
        ));
    }
}

/// Writes a submission folder, which must not be there or be empty: MIB counts the files in it.
fn submit(common: &Common, args: &Args, folder: &Path) -> Result {
    check_mib_name(folder.file_name().and_then(|n| n.to_str()).unwrap_or_default())?;
    let file = ScoreFile::read(&args.scores)?;
    let files = match args.mib_as.as_str() {
        "importances" => mib_importances(&file)?,
        "circuits" if file.nodes.is_some() => {
            return Err(Failure::input("--mib-as circuits: scores of nodes, expected of edges"));
        }
        "circuits" => mib_circuits(&file, if args.signed { Rank::Signed } else { Rank::Absolute })?,
        other => {
            return Err(Failure::input(format!("--mib-as {other}: expected importances or circuits")));
        }
    };
    let at = |e: std::io::Error| Failure::input(format!("{}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(at)?;
    if std::fs::read_dir(folder).map_err(at)?.next().is_some() {
        return Err(Failure::input(format!("{}: not empty, expected a new folder", folder.display())));
    }
    for (name, bytes) in &files {
        write_whole(&folder.join(name), bytes)?;
    }
    if args.json {
        print_json(&json!({ "folder": folder, "files": files.iter().map(|f| &f.0).collect::<Vec<_>>() }));
    } else {
        common.note(format!("{}: {} files", folder.display(), files.len()));
    }
    Ok(())
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    let Some(out_path) = &args.out else {
        return match &args.mib {
            Some(folder) => submit(common, &args, folder),
            None => Err(Failure::input("--out: missing, expected where the circuit goes")),
        };
    };
    ScoreFile::check_path(out_path)?;
    for path in [args.out.as_deref(), args.dot.as_deref(), args.svg.as_deref()].into_iter().flatten() {
        ready(path, &[&args.scores])?;
    }
    let file = ScoreFile::read(&args.scores)?;
    let how = match (args.top, args.greedy, args.threshold, args.per_layer) {
        (Some(n), ..) => Selection::Top(n),
        (_, Some(n), ..) => Selection::Greedy(n),
        (_, _, Some(t), _) if !t.is_finite() => {
            return Err(Failure::input(format!("--threshold {t}: expected a number")));
        }
        (_, _, Some(t), _) => Selection::Threshold(t),
        (_, _, _, Some(n)) => Selection::PerLayer(n),
        _ => return Err(Failure::input("one of --top, --greedy, --threshold, --per-layer is needed")),
    };
    let rank = if args.signed { Rank::Signed } else { Rank::Absolute };
    if args.signed {
        say_convention(common, &args.scores, &file);
    }
    let selected = if let Some(nodes) = &file.nodes {
        let Selection::Top(n) = how else {
            return Err(Failure::input("scores of nodes: only --top selects among them"));
        };
        let sign = file.metric().filter(|_| args.signed).map_or(1.0, |m| m.loss_sign() as f32);
        Circuit::top_nodes(&nodes.map(|s| sign * s), n, rank)?
    } else if args.signed {
        Circuit::select(&file.loss_scores(), how, rank)?
    } else {
        Circuit::select(&file.scores, how, rank)?
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
    write_whole(out_path, &out.to_bytes(out_path)?)?;
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
            out_path.display(),
            circuit.n_edges(),
            heads.len()
        ));
    }
    Ok(())
}
