//! `sparks patch`: one activation of the clean run into the corrupt one, or the other way, place by place.

use std::path::PathBuf;

use ablation::{Direction, Grid, HeadPlace, PatchGrid, StreamPlace, patch_grid};
use hooks::Metric;
use serde_json::{Value, json};

use crate::input;
use crate::options::{Common, Failure, Result};
use crate::output::{print_json, progress, ready, say, write_whole};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder.
    model: String,
    /// Pairs of prompts, JSONL.
    #[arg(long, value_name = "P.jsonl")]
    pairs: PathBuf,
    /// The activation.
    #[arg(long, default_value = "z", value_name = "z|q|k|v|pattern|resid_pre|resid_mid|attn_out|mlp_out")]
    site: String,
    /// The cells: a head at all positions, a position, or a head at a position. Streams have positions only.
    #[arg(long, value_name = "head|position|both")]
    by: Option<String>,
    /// Put corrupt activations into the clean run, instead of clean ones into the corrupt run.
    #[arg(long)]
    noise: bool,
    /// What is measured.
    #[arg(long, default_value = "logit-diff", value_name = "logit-diff|prob-diff|kl|nll")]
    metric: String,
    /// Patches in one run.
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch: usize,
    /// The JSON object as a file.
    #[arg(long, value_name = "OUT.json")]
    out: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// The grid that --site and --by ask for.
fn grid(site: &str, by: Option<&str>) -> Result<Grid> {
    let stream = |place| match by {
        None | Some("position") => Ok(Grid::Positions(place)),
        Some(other) => Err(Failure::input(format!("--by {other}: {site} has no heads, expected position"))),
    };
    let head = |place| match by {
        None | Some("head") => Ok(Grid::Heads(place)),
        Some("both") => Ok(Grid::HeadPositions(place)),
        Some("position") => Err(Failure::input(format!(
            "--by position: {site} has heads, expected head or both (attn_out is all heads of a layer)"
        ))),
        Some(other) => Err(Failure::input(format!("--by {other}: expected head, position or both"))),
    };
    match site {
        "resid_pre" => stream(StreamPlace::ResidPre),
        "resid_mid" => stream(StreamPlace::ResidMid),
        "attn_out" => stream(StreamPlace::AttnOut),
        "mlp_out" => stream(StreamPlace::MlpOut),
        "z" => head(HeadPlace::Z),
        "q" => head(HeadPlace::Query),
        "k" => head(HeadPlace::Key),
        "v" => head(HeadPlace::Value),
        "pattern" => head(HeadPlace::Pattern),
        other => Err(Failure::input(format!(
            "--site {other}: expected z, q, k, v, pattern, resid_pre, resid_mid, attn_out or mlp_out"
        ))),
    }
}

/// A cell of every pair, meaned; positions only where all pairs have as many.
fn mean(grids: &[Vec<Vec<Vec<f32>>>]) -> Option<Vec<Vec<Vec<f64>>>> {
    let first = grids.first()?;
    let alike = |g: &Vec<Vec<Vec<f32>>>| g[0][0].len() == first[0][0].len();
    if !grids.iter().all(alike) {
        return None;
    }
    let cell = |l: usize, h: usize, p: usize| {
        grids.iter().map(|g| f64::from(g[l][h][p])).sum::<f64>() / grids.len() as f64
    };
    let layer = |l: usize| {
        let head = |h: usize| (0..first[l][h].len()).map(|p| cell(l, h, p)).collect();
        (0..first[l].len()).map(head).collect()
    };
    Some((0..first.len()).map(layer).collect())
}

/// The grid without the axis that it does not have.
fn squeezed<T: serde::Serialize>(grid: Grid, cells: &[Vec<Vec<T>>]) -> Value {
    match grid {
        Grid::Positions(_) => cells.iter().map(|layer| json!(layer[0])).collect(),
        Grid::Heads(_) => {
            cells.iter().map(|layer| layer.iter().map(|head| json!(head[0])).collect::<Value>()).collect()
        }
        Grid::HeadPositions(_) => json!(cells),
    }
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if let Some(out) = &args.out {
        ready(out, &[&args.pairs])?;
    }
    let grid = grid(&args.site, args.by.as_deref())?;
    let metric: Metric = args.metric.parse().map_err(|e| Failure::input(format!("--{e}")))?;
    let direction = if args.noise { Direction::Noise } else { Direction::Denoise };
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs(common, &args.pairs, &checkpoint)?;
    let model = common.load(&checkpoint)?;
    let bar = progress(common, pairs.len(), "pairs");
    let mut found: Vec<PatchGrid> = Vec::new();
    for pair in &pairs {
        let one = hooks::Pairs::new(vec![pair.clone()])?;
        found.extend(patch_grid(&model, &one, metric, grid, direction, args.batch)?);
        bar.inc(1);
    }
    bar.finish_and_clear();

    let shares: Vec<_> = found.iter().map(|pair| pair.share(direction)).collect();
    let patched: Vec<_> = found.iter().map(|pair| pair.patched.clone()).collect();
    let (mean_patched, mean_share) = (mean(&patched), mean(&shares));
    if mean_patched.is_none() {
        common.note("pairs of unequal length: no mean over pairs by position");
    }
    let axes: &[&str] = match grid {
        Grid::Positions(_) => &["layer", "position"],
        Grid::Heads(_) => &["layer", "head"],
        Grid::HeadPositions(_) => &["layer", "head", "position"],
    };
    let side =
        |f: fn(&PatchGrid) -> f32| found.iter().map(|g| f64::from(f(g))).sum::<f64>() / found.len() as f64;
    let out = json!({
        "site": args.site, "axes": axes, "metric": metric.to_string(),
        "direction": if args.noise { "noise" } else { "denoise" },
        "clean": side(|g| g.clean), "corrupt": side(|g| g.corrupt),
        "patched": mean_patched.as_ref().map(|m| squeezed(grid, m)),
        "share": mean_share.as_ref().map(|m| squeezed(grid, m)),
        "per_pair": found.iter().zip(&shares).map(|(g, share)| json!({
            "id": g.id, "clean": g.clean, "corrupt": g.corrupt,
            "patched": squeezed(grid, &g.patched), "share": squeezed(grid, share),
        })).collect::<Vec<_>>(),
    });
    if let Some(path) = &args.out {
        write_whole(path, format!("{out}\n").as_bytes())?;
    }
    if args.json {
        print_json(&out);
    } else if args.out.is_none() {
        say!(
            "{metric}: clean {:.4}, corrupt {:.4}; {} moves the metric most where {} is patched",
            side(|g| g.clean),
            side(|g| g.corrupt),
            if args.noise { "noising" } else { "denoising" },
            args.site
        );
        let share = mean_share.unwrap_or_default();
        let mut cells = Vec::new();
        for (l, layer) in share.iter().enumerate() {
            for (h, head) in layer.iter().enumerate() {
                cells.extend(head.iter().enumerate().map(|(p, &share)| (share, l, h, p)));
            }
        }
        cells.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        for (share, l, h, p) in cells.into_iter().take(20) {
            let place = match grid {
                Grid::Positions(_) => format!("layer {l} position {p}"),
                Grid::Heads(_) => format!("L{l}H{h}"),
                Grid::HeadPositions(_) => format!("L{l}H{h} position {p}"),
            };
            say!("  {place:<24}{share:>+9.3} of the way");
        }
    }
    Ok(())
}
