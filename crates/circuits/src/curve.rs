//! Faithfulness over circuit size, with MIB's areas CPR and CMD (Mueller et al. 2025).

use ablation::Baseline;
use hooks::{EdgeMap, Task};
use serde::Serialize;

use crate::{Circuit, Error, PruneRule, Rank, Selection, faithfulness_of};

/// MIB's circuit sizes, as shares of all edges.
pub const MIB_SHARES: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// Faithfulness at one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The share of all edges that was selected.
    pub share: f64,
    /// Edges selected, `⌊share · n_edges⌋`.
    pub selected: usize,
    /// Edges left after pruning.
    pub edges: usize,
    /// Normalised faithfulness.
    pub faithfulness: f32,
}

/// Faithfulness over circuit size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// From the smallest circuit to the largest.
    pub points: Vec<Point>,
    /// Integrated circuit performance ratio: the area under f by the trapezoid rule over the share of edges
    /// (linear axis). Larger is better.
    pub cpr: f64,
    /// Integrated circuit-model distance: the area under |1 − f|. Smaller is better; at best 0.
    pub cmd: f64,
}

/// Evaluates top-N circuits of `scores` at MIB's ten sizes, each pruned by `prune`. MIB takes absolute scores
/// for CMD and signed ones (in the loss convention: [`crate::loss_scores`]) for CPR, and the rule before
/// July 2025.
///
/// # Errors
/// As [`crate::faithfulness`] and [`Circuit::select`].
pub fn curve(
    task: &Task<'_>,
    scores: &EdgeMap<f32>,
    rank: Rank,
    prune: PruneRule,
    fill: &Baseline,
) -> Result<Curve, Error> {
    let n_edges = scores.wiring().n_edges();
    let sizes = MIB_SHARES.map(|share| (share * n_edges as f64) as usize);
    let circuits = sizes
        .iter()
        .map(|&n| Ok(Circuit::select(scores, Selection::Top(n), rank)?.pruned_by(prune)))
        .collect::<Result<Vec<_>, Error>>()?;
    let found = faithfulness_of(task, &circuits.iter().collect::<Vec<_>>(), fill)?;
    let points: Vec<Point> = (0..MIB_SHARES.len())
        .map(|i| Point {
            share: MIB_SHARES[i],
            selected: sizes[i],
            edges: circuits[i].n_edges(),
            faithfulness: found[i].faithfulness,
        })
        .collect();
    let (cpr, cmd) = (area(&points, |f| f), area(&points, |f| (1.0 - f).abs()));
    Ok(Curve { points, cpr, cmd })
}

/// The trapezoid rule over the share of edges.
pub(crate) fn area(points: &[Point], f: impl Fn(f64) -> f64) -> f64 {
    let at = |p: &Point| f(f64::from(p.faithfulness));
    points.windows(2).map(|w| (w[1].share - w[0].share) * (at(&w[0]) + at(&w[1])) / 2.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_a_perfect_curve() {
        let points = MIB_SHARES.map(|share| Point { share, selected: 0, edges: 0, faithfulness: 1.0 });
        assert!((area(&points, |f| f) - 0.999).abs() < 1e-12);
        assert_eq!(area(&points, |f| (1.0 - f).abs()), 0.0);
    }
}
