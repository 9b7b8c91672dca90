//! The figures, one file each: results in, drawing out. A figure has a file name, a title and a caption.

mod ablation;
mod accuracy;
mod circuit;
mod cohort;
mod head_map;
mod training;

pub(super) use ablation::ablation;
pub(super) use accuracy::accuracy;
pub(super) use circuit::circuit;
pub use circuit::circuit_svg;
pub(super) use cohort::cohort;
pub(super) use head_map::{cohort_map, effect_map};
pub(super) use training::{tick, training};

use super::svg::Canvas;
use crate::results::{CheckpointFacts, Results, Training};

/// A drawing with its words.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// File name without `.svg`.
    pub(super) name: String,
    /// What it shows, in a few words.
    pub(super) title: String,
    /// How to read it; plain text.
    pub(super) caption: String,
    /// The drawing.
    pub(super) svg: Canvas,
}

/// Every figure of a report, in its order.
pub(super) fn all(results: &Results) -> Vec<Figure> {
    let mut figures: Vec<Figure> = results.task.suites.iter().filter_map(|s| accuracy(results, s)).collect();
    for run in &results.trainings {
        figures.extend(training(run, results));
        figures.extend(cohort(run));
        figures.extend(cohort_map(run, results));
        figures.extend(effect_map(run, results));
    }
    let checkpoints =
        std::iter::once(&results.base).chain(results.trainings.iter().flat_map(|run| &run.checkpoints));
    figures.extend(checkpoints.filter_map(|at| circuit(results, at)));
    figures.extend(results.trainings.iter().filter_map(|run| ablation(results, run)));
    figures
}

/// A name that is safe in a file name and an attribute.
pub(super) fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c.to_ascii_lowercase()),
            _ if !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    out.trim_matches('-').to_owned()
}

/// Heads as a list for a tooltip.
pub(super) fn names(heads: &[hooks::Head]) -> String {
    if heads.is_empty() {
        return "none".into();
    }
    heads.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The last checkpoint of a run.
pub(super) fn last(run: &Training) -> Option<&CheckpointFacts> {
    run.checkpoints.last()
}
