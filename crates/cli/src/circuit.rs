//! `sparks circuit`: select a circuit from scores, prune it, draw it.

use std::path::{Path, PathBuf};

use circuits::{
    Circuit, PruneRule, Rank, ScoreFile, Selection, SelectionRecord, check_mib_name, dot, mib_circuits,
    mib_importances,
};
use clap::ValueEnum;
use common::{Error, write_whole};
use serde_json::json;

use crate::options::{Common, Result};
use crate::output::{print_json, ready};

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("how").required(true).args(["top", "greedy", "threshold", "per_layer", "mib"]))]
pub(crate) struct Args {
    /// Scores file: .json, .pt or .safetensors.
    scores: PathBuf,
    /// Take the N edges of largest absolute score (--signed: of largest signed score); from node scores, the N nodes with all their edges.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Take N edges greedily from the logits: each time the best edge whose destination is in the circuit.
    #[arg(long, value_name = "N")]
    greedy: Option<usize>,
    /// Take every edge with at least this score.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Take the N edges of largest absolute score (--signed: signed) into each layer.
    #[arg(long, value_name = "N")]
    per_layer: Option<usize>,
    /// Write a MIB submission folder instead of a circuit; its name is TASK_MODEL, such as ioi_qwen2.5.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dot", "svg", "no_prune", "old_prune"])]
    mib: Option<PathBuf>,
    /// Content of the submission: edge scores, or nine circuits.
    #[arg(long, value_enum, default_value_t = MibAs::Importances, requires = "mib")]
    mib_as: MibAs,
    /// Rank by signed score in the loss convention (positive: corrupting the edge hurts), not by absolute score.
    #[arg(long)]
    signed: bool,
    /// Keep edges that are on no path from the input to the logits.
    #[arg(long)]
    no_prune: bool,
    /// Prune by the rule of EAP-IG before July 2025, which MIB uses.
    #[arg(long, conflicts_with = "no_prune")]
    old_prune: bool,
    /// Output file: the scores with the selection, .json, .pt or .safetensors.
    #[arg(long, value_name = "CIRCUIT.json", required_unless_present = "mib", conflicts_with = "mib")]
    out: Option<PathBuf>,
    /// Also write the circuit in the DOT language of Graphviz.
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    /// Also write a drawing of the circuit as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a MIB submission holds.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MibAs {
    Importances,
    Circuits,
}

/// Notes how signs are read where the file does not say: EAP-IG's package drops the object `sparks`.
pub(crate) fn note_convention(common: &Common, path: &Path, file: &ScoreFile) {
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
    let file = read_scores(common, &args.scores)?;
    let files = match args.mib_as {
        MibAs::Importances => mib_importances(&file)?,
        MibAs::Circuits if file.nodes.is_some() => {
            return Err(Error::at(&args.scores, "scores of nodes; --mib-as circuits needs scores of edges"));
        }
        MibAs::Circuits => mib_circuits(&file, if args.signed { Rank::Signed } else { Rank::Absolute })?,
    };
    let at = |e| Error::io(folder, e);
    common::make_folder(folder)?;
    if std::fs::read_dir(folder).map_err(at)?.next().is_some() {
        return Err(Error::at(folder, "not empty, expected a new folder"));
    }
    for (name, bytes) in &files {
        write_whole(folder.join(name), bytes)?;
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
            None => Err(Error::input("--out: missing, expected the output file")),
        };
    };
    ScoreFile::check_path(out_path)?;
    for path in [args.out.as_deref(), args.dot.as_deref(), args.svg.as_deref()].into_iter().flatten() {
        ready(path)?;
    }
    let file = read_scores(common, &args.scores)?;
    let how = match (args.top, args.greedy, args.threshold, args.per_layer) {
        (Some(n), ..) => Selection::Top(n),
        (_, Some(n), ..) => Selection::Greedy(n),
        (_, _, Some(t), _) if !t.is_finite() => {
            return Err(Error::input(format!("--threshold {t}: expected a number")));
        }
        (_, _, Some(t), _) => Selection::Threshold(t),
        (_, _, _, Some(n)) => Selection::PerLayer(n),
        _ => return Err(Error::input("expected one of --top, --greedy, --threshold, --per-layer")),
    };
    if file.scores.values().iter().all(|&v| v == 0.0)
        && file.nodes.as_ref().is_none_or(|n| n.values().iter().all(|&v| v == 0.0))
    {
        common.warn(format!(
            "{}: every score is 0, so the selection follows the order of the edges alone",
            args.scores.display()
        ))?;
    }
    let rank = if args.signed { Rank::Signed } else { Rank::Absolute };
    if args.signed {
        note_convention(common, &args.scores, &file);
    }
    let selected = if let Some(nodes) = &file.nodes {
        let Selection::Top(n) = how else {
            return Err(Error::at(&args.scores, "scores of nodes: only --top selects among them"));
        };
        let sign = if args.signed { file.loss_sign()? } else { 1.0 };
        Circuit::top_nodes(&nodes.map(|s| sign * s), n, rank)?
    } else if args.signed {
        Circuit::select(&file.loss_scores()?, how, rank)?
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
    out.provenance.get_or_insert_default().selection = Some(SelectionRecord {
        how: format!("{how:?}"),
        signed: args.signed,
        pruned: !args.no_prune,
        removed: pruned,
    });
    if circuit.n_edges() == 0 {
        common.note(format!("{}: the circuit is empty: pruning left no edge", out_path.display()));
    }
    write_whole(out_path, &out.to_bytes(out_path)?)?;
    if let Some(path) = &args.dot {
        write_whole(path, dot(&circuit, Some(&out.scores)).as_bytes())?;
    }
    if let Some(path) = &args.svg {
        let svg = study::report::circuit_svg(&circuit, Some(&out.scores), out.metric())?;
        write_whole(path, svg.as_bytes())?;
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

/// Reads a file of scores or of a circuit, and says what is not in it.
/// Notes that a file selects no edge. Its circuit is the empty one.
pub(crate) fn note_empty(common: &Common, path: &Path, file: &ScoreFile) {
    if file.circuit().n_edges() == 0 {
        common.note(format!(
            "{}: no edge is selected: the empty circuit (`sparks circuit` selects edges)",
            path.display()
        ));
    }
}

pub(crate) fn read_scores(common: &Common, path: &Path) -> Result<ScoreFile> {
    let file = ScoreFile::read(path)?;
    for note in &file.notes {
        common.note(format!("{}: {note}", path.display()));
    }
    common.warn_unread(path, &file.unread)?;
    Ok(file)
}
