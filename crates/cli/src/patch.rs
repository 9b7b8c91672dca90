//! `sparks patch`: activation patching, one layer, head or position at a time.

use std::path::PathBuf;
use std::sync::Arc;

use ablation::{Direction, Grid, HeadPlace, PatchGrid, StreamPlace, patch_grid};
use clap::ValueEnum;
use common::Error;
use hooks::{Metric, Positions, Task};
use ndarray::{Array3, ArrayView2, Axis};
use posttrain::Ranks;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::choices::{METRICS, name, named};
use crate::input;
use crate::options::{Common, Result};
use crate::output::{progress, say};
use crate::part::{self, Made, Output};
use crate::rows::Rows;

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
    #[command(flatten)]
    pub(crate) output: Output,
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

/// The settings, with which the grids of all pairs become the result.
#[derive(Serialize, Deserialize)]
pub(crate) struct Settings {
    #[serde(flatten)]
    made: Made,
    site: String,
    axes: Vec<String>,
    metric: String,
    noise: bool,
    batch: usize,
}

/// The grid of one pair.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    id: String,
    clean: f32,
    corrupt: f32,
    /// `[layer, head, position]`; an axis that the grid does not have is 1 long.
    shape: (usize, usize, usize),
    patched: Vec<f32>,
}

impl From<PatchGrid> for Row {
    fn from(of: PatchGrid) -> Self {
        let PatchGrid { id, clean, corrupt, patched } = of;
        Self { id, clean, corrupt, shape: patched.dim(), patched: patched.into_iter().collect() }
    }
}

impl Row {
    fn grid(&self) -> Result<PatchGrid> {
        let Self { id, clean, corrupt, .. } = self;
        let patched = Array3::from_shape_vec(self.shape, self.patched.clone())
            .map_err(|e| Error::input(format!("pair {id}: `shape` and `patched`: {e}")))?;
        Ok(PatchGrid { id: id.clone(), clean: *clean, corrupt: *corrupt, patched })
    }
}

impl part::Settings for Settings {
    const COMMAND: part::Name = part::Name::Patch;
    type Row = Row;

    fn result(&self, rows: &[Row]) -> Result<Value> {
        let found = rows.iter().map(Row::grid).collect::<Result<Vec<_>>>()?;
        let shares: Vec<_> = found.iter().map(|pair| pair.share(self.direction())).collect();
        let patched: Vec<_> = found.iter().map(|pair| pair.patched.clone()).collect();
        let side = |f: fn(&PatchGrid) -> f32| {
            found.iter().map(|g| f64::from(f(g))).sum::<f64>() / found.len() as f64
        };
        Ok(json!({
            "site": self.site, "axes": self.axes, "metric": self.metric,
            "direction": if self.noise { "noise" } else { "denoise" },
            "clean": side(|g| g.clean), "corrupt": side(|g| g.corrupt),
            "patched": mean(&patched).as_ref().map(|m| self.squeezed(m)),
            "share": mean(&shares).as_ref().map(|m| self.squeezed(m)),
            "per_pair": found.iter().zip(&shares).map(|(g, share)| json!({
                "id": g.id, "clean": g.clean, "corrupt": g.corrupt,
                "patched": self.squeezed(&g.patched), "share": self.squeezed(share),
            })).collect::<Vec<_>>(),
        }))
    }
}

impl Settings {
    fn direction(&self) -> Direction {
        if self.noise { Direction::Noise } else { Direction::Denoise }
    }

    fn has(&self, axis: &str) -> bool {
        self.axes.iter().any(|a| a == axis)
    }

    /// The grid as nested lists, with only the axes that it has.
    fn squeezed<T: Serialize + Clone>(&self, cells: &Array3<T>) -> Value {
        match (self.has("head"), self.has("position")) {
            (false, _) => nested(cells.index_axis(Axis(1), 0)),
            (true, false) => nested(cells.index_axis(Axis(2), 0)),
            (true, true) => cells.outer_iter().map(nested).collect(),
        }
    }

    /// Prints the largest shares of a result.
    fn say(&self, result: &Value) {
        say!(
            "{}: clean {:.4}, corrupt {:.4}; share of the clean-corrupt difference that {} {} makes, largest first:",
            self.metric,
            result["clean"].as_f64().unwrap_or(f64::NAN),
            result["corrupt"].as_f64().unwrap_or(f64::NAN),
            if self.noise { "noising" } else { "denoising" },
            self.site
        );
        let mut cells = Vec::new();
        flat(&result["share"], &mut Vec::new(), &mut cells);
        cells.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        for (at, share) in cells.into_iter().take(20) {
            let place = match (&*at, self.has("head")) {
                ([l, p], false) => format!("layer {l} position {p}"),
                ([l, h], true) => format!("L{l}H{h}"),
                ([l, h, p], _) => format!("L{l}H{h} position {p}"),
                _ => continue,
            };
            say!("  {place:<24}{share:>+9.3}");
        }
    }
}

/// The numbers of nested lists with their places; what is not finite is NaN.
fn flat(value: &Value, at: &mut Vec<usize>, into: &mut Vec<(Vec<usize>, f64)>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                at.push(i);
                flat(item, at, into);
                at.pop();
            }
        }
        other if !at.is_empty() => into.push((at.clone(), other.as_f64().unwrap_or(f64::NAN))),
        _ => {}
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

fn nested<T: Serialize + Clone>(table: ArrayView2<'_, T>) -> Value {
    table.outer_iter().map(|row| json!(row.to_vec())).collect()
}

pub(crate) fn run(common: &Common, args: Args, ranks: &Arc<dyn Ranks>) -> Result {
    let shard = args.output.shard(common, ranks)?;
    let grid = grid(args.site, args.by)?;
    let axes: &[&str] = match grid {
        Grid::Positions(_) => &["layer", "position"],
        Grid::Heads(_) => &["layer", "head"],
        Grid::HeadPositions(_) => &["layer", "head", "position"],
    };
    let checkpoint = common.open(&args.model)?;
    let pairs = input::pairs(common, &args.pairs, &checkpoint, Some((&args.metric, Positions::Last)))?;
    let rows = Rows::new(shard, ranks, (pairs.len(), "pair"))?;
    let settings = Settings {
        made: part::made(common, shard, &checkpoint, &[("pairs_file", Some(&args.pairs))])?,
        site: name(&args.site),
        axes: axes.iter().map(|axis| (*axis).to_owned()).collect(),
        metric: args.metric.to_string(),
        noise: args.noise,
        batch: args.batch,
    };
    let model = common.load(&checkpoint)?;
    let task = Task::new(&model, &pairs, args.metric.clone()).batch_size(args.batch);
    let bar = progress(common, rows.mine().len(), "pairs");
    let found = rows.work(|i| {
        let one = hooks::Pairs::new(vec![pairs.as_slice()[i].clone()])?;
        bar.inc(1);
        Ok(patch_grid(&task.on(&one), grid, settings.direction())?.into_iter().map(Row::from))
    })?;
    bar.finish_and_clear();
    let length = |i: usize| pairs.as_slice()[i].clean.len();
    if settings.has("position") && rows.all().any(|i| length(i) != length(0)) {
        common.note("the pairs have different lengths: no mean over pairs by position");
    }
    if let Some(result) = args.output.give(common, &settings, rows, found.into_iter().flatten().collect())? {
        settings.say(&result);
    }
    Ok(())
}
