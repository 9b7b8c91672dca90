//! Accuracy before and after the same training with other seeds.

use stats::Interval;

use super::verdict::difference;
use super::words::{percent, points, range};
use crate::results::{Accuracy, Results, Training};

/// Accuracy of the base and at the end of a training with another seed.
pub(super) struct Other {
    pub(super) before: Interval,
    pub(super) after: Interval,
}

impl Other {
    /// Whether it rises beyond the interval of an unpaired difference.
    pub(super) fn rises(&self) -> bool {
        difference(&self.before, &self.after).low > 0.0
    }
}

/// A training on one benchmark with the other seeds. Where a seed's base is not known it is this study's, `before`.
pub(super) fn others(results: &Results, run: &Training, before: &Accuracy) -> Vec<Other> {
    let runs = results.stability.iter().flat_map(|found| &found.runs);
    let on = |all: &[Accuracy]| all.iter().find(|a| a.suite == before.suite).map(|a| a.interval);
    let one = |other: &crate::results::SeedRun| {
        let training = other.trainings.iter().find(|t| t.name == run.name)?;
        Some(Other { before: on(&other.base).unwrap_or(before.interval), after: on(&training.accuracy)? })
    };
    runs.filter(|other| other.seed != results.run.seed).filter_map(one).collect()
}

/// ` Other seeds: 5.0 % before, 6.0 % after (+1.0 points [−2.6 to +4.7]).`
pub(super) fn sentence(all: &[Other]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let one = |s: &Other| {
        let change = difference(&s.before, &s.after);
        format!(
            "{} before, {} after ({} points {})",
            percent(s.before.estimate),
            percent(s.after.estimate),
            points(change.estimate),
            range(&change, points)
        )
    };
    format!(" Other seeds: {}.", all.iter().map(one).collect::<Vec<_>>().join("; "))
}
