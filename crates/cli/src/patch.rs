//! `sparks patch`: activation patching, one layer, head or position at a time.

use std::path::PathBuf;

use ablation::{Direction, Grid, HeadPlace, PatchGrid, StreamPlace, patch_grid};
use clap::ValueEnum;
use common::Error;
use hooks::{Metric, Task};
use ndarray::{Array3, ArrayView2, Axis};
use serde_json::{Value, json};

use crate::choices::{METRICS, name, named};
use crate::input;
use crate::options::{Common, Result};
use crate::output::{print_json, progress, ready, say};
use crate::result::write_result;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Pairs of clean and corrupt prompts, JSONL.
    #[arg(long, value_name = "P.jsonl")]
    pairs: PathBuf,
    /// Activation to patch.
    #[arg(long, value_enum, default_value_t = SiteName::Z)]
    site: SiteName,
    /// What one patch covers: a head at all positions, a position, or a head at one position. Residual streams
    /// and outputs have positions only.
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Patch corrupt activations into the clean run (noising), not clean into corrupt (denoising).
    #[arg(long)]
    noise: bool,
    /// Metric.
    #[arg(long, default_value = "logit-diff", value_parser = named::<Metric>(&METRICS))]
    metric: Metric,
    /// Number of patches in one batch.
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch: usize,
    /// Write the result to a file: JSON, or NumPy's .npz by the extension.
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The activations that can be patched.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum SiteName {
    Z,
    Q,
    K,
    V,
    Pattern,
    ResidPre,
    ResidMid,
    AttnOut,
    MlpOut,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Head,
    Position,
    Both,
}

/// The grid of `--site` and `--by`.
fn grid(site: SiteName, by: Option<By>) -> Result<Grid> {
    let stream = |place| match by {
        None | Some(By::Position) => Ok(Grid::Positions(place)),
        Some(by) => {
            let (by, site) = (name(&by), name(&site));
            Err(Error::input(format!("--by {by}: {site} has no heads, expected position")))
        }
    };
    let head = |place| match by {
        None | Some(By::Head) => Ok(Grid::Heads(place)),
        Some(By::Both) => Ok(Grid::HeadPositions(place)),
        Some(By::Position) => Err(Error::input(format!(
            "--by position: {} has heads, expected head or both (attn_out is all heads of a layer)",
            name(&site)
        ))),
    };
    match site {
        SiteName::ResidPre => stream(StreamPlace::ResidPre),
        SiteName::ResidMid => stream(StreamPlace::ResidMid),
        SiteName::AttnOut => stream(StreamPlace::AttnOut),
        SiteName::MlpOut => stream(StreamPlace::MlpOut),
        SiteName::Z => head(HeadPlace::Z),
        SiteName::Q => head(HeadPlace::Query),
        SiteName::K => head(HeadPlace::Key),
        SiteName::V => head(HeadPlace::Value),
        SiteName::Pattern => head(HeadPlace::Pattern),
    }
}

/// The mean over pairs; `None` where the pairs have different numbers of positions.
fn mean(grids: &[Array3<f32>]) -> Option<Array3<f64>> {
    let first = grids.first()?;
    if grids.iter().any(|grid| grid.dim() != first.dim()) {
        return None;
    }
    let sum = grids.iter().fold(Array3::zeros(first.dim()), |sum, grid| sum + grid.mapv(f64::from));
    Some(sum / grids.len() as f64)
}

/// The grid as nested lists, with only the axes that it has.
fn squeezed<T: serde::Serialize + Clone>(grid: Grid, cells: &Array3<T>) -> Value {
    match grid {
        Grid::Positions(_) => nested(cells.index_axis(Axis(1), 0)),
        Grid::Heads(_) => nested(cells.index_axis(Axis(2), 0)),
        Grid::HeadPositions(_) => cells.outer_iter().map(nested).collect(),
    }
}

fn nested<T: serde::Serialize + Clone>(table: ArrayView2<'_, T>) -> Value {
    table.outer_iter().map(|row| json!(row.to_vec())).collect()
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if let Some(out) = &args.out {
        ready(out, &[&args.pairs])?;
    }
    let grid = grid(args.site, args.by)?;
    let site = name(&args.site);
    let metric = args.metric.clone();
    let direction = if args.noise { Direction::Noise } else { Direction::Denoise };
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs(common, &args.pairs, &checkpoint)?;
    let model = common.load(&checkpoint)?;
    let task = Task::new(&model, &pairs, metric.clone()).batch_size(args.batch);
    let bar = progress(common, pairs.len(), "pairs");
    let mut found: Vec<PatchGrid> = Vec::new();
    for pair in &pairs {
        let one = hooks::Pairs::new(vec![pair.clone()])?;
        found.extend(patch_grid(&task.on(&one), grid, direction)?);
        bar.inc(1);
    }
    bar.finish_and_clear();

    let shares: Vec<_> = found.iter().map(|pair| pair.share(direction)).collect();
    let patched: Vec<_> = found.iter().map(|pair| pair.patched.clone()).collect();
    let (mean_patched, mean_share) = (mean(&patched), mean(&shares));
    if mean_patched.is_none() {
        common.note("the pairs have different lengths: no mean over pairs by position");
    }
    let axes: &[&str] = match grid {
        Grid::Positions(_) => &["layer", "position"],
        Grid::Heads(_) => &["layer", "head"],
        Grid::HeadPositions(_) => &["layer", "head", "position"],
    };
    let side =
        |f: fn(&PatchGrid) -> f32| found.iter().map(|g| f64::from(f(g))).sum::<f64>() / found.len() as f64;
    let out = json!({
        "site": site, "axes": axes, "metric": metric.to_string(),
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
        write_result(path, &out)?;
    }
    if args.json {
        print_json(&out);
    } else if args.out.is_none() {
        say!(
            "{metric}: clean {:.4}, corrupt {:.4}; share of the clean-corrupt difference that {} {} makes, largest first:",
            side(|g| g.clean),
            side(|g| g.corrupt),
            if args.noise { "noising" } else { "denoising" },
            site
        );
        let mut cells: Vec<_> = mean_share.iter().flat_map(|share| share.indexed_iter()).collect();
        cells.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        for ((l, h, p), share) in cells.into_iter().take(20) {
            let place = match grid {
                Grid::Positions(_) => format!("layer {l} position {p}"),
                Grid::Heads(_) => format!("L{l}H{h}"),
                Grid::HeadPositions(_) => format!("L{l}H{h} position {p}"),
            };
            say!("  {place:<24}{share:>+9.3}");
        }
    }
    Ok(())
}
