//! The flags that ablate or scale heads, for every command that runs a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ablation::{Ablation, Fill, HeadMeans, Resampled};
use clap::{Args, ValueEnum};
use common::{Error, file_hash};
use hooks::{Head, Hook, HookedModel as _};
use model_qwen::{Checkpoint, Qwen};

use crate::choices::name;
use crate::input::checked_batch;
use crate::options::{Common, Result};

/// Interventions on a head's mixed values z, before the output projection, at every position.
#[derive(Args, Debug)]
pub(crate) struct Heads {
    /// Heads to ablate, such as L5H1,L7H3.
    #[arg(long, value_delimiter = ',', value_name = "HEADS")]
    ablate: Vec<Head>,
    /// Value that replaces z of an ablated head; mean, mean-positional and resample need --fill-from.
    #[arg(long, value_enum, default_value_t = FillName::Zero, requires = "ablate")]
    fill: FillName,
    /// File of token ids or texts for means and resampling.
    #[arg(long, requires = "ablate", value_name = "IN")]
    fill_from: Option<PathBuf>,
    /// Factor by which z of the heads in --heads is multiplied.
    #[arg(long, requires = "heads", value_name = "FACTOR", allow_negative_numbers = true)]
    scale: Option<f64>,
    /// Heads to scale, such as L5H1,L7H3.
    #[arg(long, value_delimiter = ',', requires = "scale", value_name = "HEADS")]
    heads: Vec<Head>,
}

/// The fills of ablated heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FillName {
    Zero,
    Mean,
    MeanPositional,
    Resample,
}

/// `L5H1,L7H3`.
fn list(heads: &[Head]) -> String {
    heads.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl Heads {
    /// Refuses flags that would change nothing.
    ///
    /// # Errors
    /// A file for means with a fill that needs none; a factor for heads that are zero already.
    pub(crate) fn check(&self) -> Result {
        if !self.ablate.is_empty() {
            check_source(self.fill, self.fill_from.as_deref())?;
        }
        if let Some(factor) = self.scale
            && self.fill == FillName::Zero
            && self.heads.iter().all(|head| self.ablate.contains(head))
        {
            let heads = list(&self.heads);
            return Err(Error::input(format!(
                "--scale {factor}: no effect, since {heads} is ablated by zero"
            )));
        }
        Ok(())
    }

    /// The interventions in words, with the hash of the file of `--fill-from`; empty where there are none.
    pub(crate) fn described(&self) -> Result<String> {
        let mut out = String::new();
        if !self.ablate.is_empty() {
            out += &format!("{} ablated by {}", list(&self.ablate), name(&self.fill));
            if let Some(path) = &self.fill_from {
                out += &format!(" from {}", file_hash(path)?);
            }
        }
        if let Some(factor) = self.scale {
            let and = if out.is_empty() { "" } else { ", " };
            out += &format!("{and}{} scaled by {factor}", list(&self.heads));
        }
        Ok(out)
    }

    /// The hook of these flags; the empty hook where there are no interventions.
    pub(crate) fn hook(
        &self,
        common: &Common,
        model: &Qwen,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn Hook>> {
        let wiring = model.wiring();
        let scaled = match self.scale {
            Some(factor) => Some(Ablation::scale(wiring, self.heads.clone(), factor)?),
            None => None,
        };
        let ablated = if self.ablate.is_empty() {
            None
        } else {
            Some(Ablation::heads(wiring, self.ablate.clone(), self.fill(common, model, checkpoint)?)?)
        };
        Ok(match (ablated, scaled) {
            (Some(a), Some(s)) => Box::new((a, s)),
            (Some(a), None) => Box::new(a),
            (None, Some(s)) => Box::new(s),
            (None, None) => Box::new(()),
        })
    }

    fn fill(&self, common: &Common, model: &Qwen, checkpoint: &Checkpoint) -> Result<Fill> {
        fill(self.fill, model, || {
            let path = self.fill_from.as_ref().ok_or_else(|| {
                Error::input(format!(
                    "--fill {}: missing --fill-from, a file of token ids or texts",
                    name(&self.fill)
                ))
            })?;
            checked_batch(common, path, checkpoint, model)
        })
    }
}

/// Refuses a file for means and resampling with the fill that needs none.
pub(crate) fn check_source(fill: FillName, source: Option<&Path>) -> Result {
    match source {
        Some(source) if fill == FillName::Zero => {
            let what = "no effect with --fill zero, which reads no file";
            Err(Error::input(format!("--fill-from {}: {what}", source.display())))
        }
        _ => Ok(()),
    }
}

/// The fill of that name, measured on `source` where it needs data.
pub(crate) fn fill(
    name: FillName,
    model: &Qwen,
    source: impl FnOnce() -> Result<hooks::Batch>,
) -> Result<Fill> {
    Ok(match name {
        FillName::Zero => Fill::Zero,
        FillName::Mean => Fill::Mean(Arc::new(HeadMeans::measure(model, &[source()?])?)),
        FillName::MeanPositional => Fill::MeanPositional(Arc::new(HeadMeans::measure(model, &[source()?])?)),
        FillName::Resample => Fill::Resample(Arc::new(Resampled::record(model, &source()?))),
    })
}
