//! The flags that ablate or scale heads, wherever a model runs.

use std::path::PathBuf;
use std::sync::Arc;

use ablation::{Ablation, Fill, HeadMeans, Resampled};
use clap::Args;
use hooks::{Head, Hook, HookedModel as _};
use model_qwen::{Checkpoint, Qwen};

use crate::input::checked_batch;
use crate::options::{Failure, Result};

/// Interventions on heads: on the mixed values before the output projection, at every position.
#[derive(Args, Debug)]
pub(crate) struct Heads {
    /// Heads to ablate, such as L5H1,L7H3.
    #[arg(long, value_delimiter = ',', value_name = "HEADS")]
    ablate: Vec<String>,
    /// What an ablated head's values become.
    #[arg(
        long,
        default_value = "zero",
        requires = "ablate",
        value_name = "zero|mean|mean-positional|resample"
    )]
    fill: String,
    /// Token ids or texts that means and resampled values are taken from.
    #[arg(long, requires = "ablate", value_name = "IN")]
    fill_from: Option<PathBuf>,
    /// Factor for the heads of --heads.
    #[arg(long, requires = "heads", value_name = "FACTOR", allow_negative_numbers = true)]
    scale: Option<f64>,
    /// Heads to scale, such as L5H1,L7H3.
    #[arg(long, value_delimiter = ',', requires = "scale", value_name = "HEADS")]
    heads: Vec<String>,
}

/// Heads by their names.
pub(crate) fn parse(names: &[String]) -> Result<Vec<Head>> {
    names.iter().map(|n| Ok(n.parse::<Head>()?)).collect()
}

impl Heads {
    /// What the flags ask for, in words; empty where they ask for nothing.
    pub(crate) fn described(&self) -> String {
        let mut out = String::new();
        if !self.ablate.is_empty() {
            let from = self.fill_from.as_ref().map(|p| format!(" from {}", p.display())).unwrap_or_default();
            out += &format!(", {} ablated by {}{from}", self.ablate.join(","), self.fill);
        }
        if let Some(factor) = self.scale {
            out += &format!(", {} scaled by {factor}", self.heads.join(","));
        }
        out
    }

    /// The hook that these flags ask for; the empty one where they ask for nothing.
    pub(crate) fn hook(&self, model: &Qwen, checkpoint: &Checkpoint) -> Result<Box<dyn Hook>> {
        let wiring = model.wiring();
        let ablate = parse(&self.ablate)?;
        let scaled = match self.scale {
            Some(factor) => Some(Ablation::scale(wiring, parse(&self.heads)?, factor)?),
            None => None,
        };
        let ablated = if ablate.is_empty() {
            None
        } else {
            Some(Ablation::heads(wiring, ablate, self.fill(model, checkpoint)?)?)
        };
        Ok(match (ablated, scaled) {
            (Some(a), Some(s)) => Box::new((a, s)),
            (Some(a), None) => Box::new(a),
            (None, Some(s)) => Box::new(s),
            (None, None) => Box::new(()),
        })
    }

    fn fill(&self, model: &Qwen, checkpoint: &Checkpoint) -> Result<Fill> {
        fill(&self.fill, model, || {
            let path = self.fill_from.as_ref().ok_or_else(|| {
                Failure::input(format!(
                    "--fill {}: missing --fill-from, a file of token ids or texts",
                    self.fill
                ))
            })?;
            checked_batch(path, checkpoint, model)
        })
    }
}

/// What `--fill` names, measured on `source` where it needs one.
pub(crate) fn fill(name: &str, model: &Qwen, source: impl FnOnce() -> Result<hooks::Batch>) -> Result<Fill> {
    Ok(match name {
        "zero" => Fill::Zero,
        "mean" => Fill::Mean(Arc::new(HeadMeans::measure(model, &[source()?])?)),
        "mean-positional" => Fill::MeanPositional(Arc::new(HeadMeans::measure(model, &[source()?])?)),
        "resample" => Fill::Resample(Arc::new(Resampled::record(model, &source()?))),
        other => {
            return Err(Failure::input(format!(
                "--fill {other}: expected zero, mean, mean-positional or resample"
            )));
        }
    })
}
