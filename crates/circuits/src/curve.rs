//! Faithfulness over circuit size, with MIB's areas CPR and CMD (Mueller et al. 2025).

use ablation::Baseline;
use hooks::{EdgeMap, Task};
use serde::{Deserialize, Serialize};

use crate::{Circuit, Error, PruneRule, Rank, Selection, faithfulness_of};

/// MIB's circuit sizes, as shares of all edges.
pub const MIB_SHARES: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// The size of a circuit of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// The share of all edges that was selected.
    pub share: f64,
    /// Edges selected, `⌊share · n_edges⌋`.
    pub selected: usize,
    /// Edges left after pruning.
    pub edges: usize,
}

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
    let (sizes, circuits) = along(scores, rank, prune)?;
    let found = faithfulness_of(task, &circuits.iter().collect::<Vec<_>>(), fill)?;
    Ok(Curve::of(&sizes, &found.iter().map(|f| f.faithfulness).collect::<Vec<_>>()))
}

/// The circuits of [`curve`], with their sizes, from the smallest to the largest.
///
/// # Errors
/// As [`Circuit::select`].
pub fn along(
    scores: &EdgeMap<f32>,
    rank: Rank,
    prune: PruneRule,
) -> Result<(Vec<Size>, Vec<Circuit>), Error> {
    let n_edges = scores.wiring().n_edges();
    let (mut sizes, mut circuits) = (Vec::new(), Vec::new());
    for share in MIB_SHARES {
        let selected = (share * n_edges as f64) as usize;
        let circuit = Circuit::select(scores, Selection::Top(selected), rank)?.pruned_by(prune);
        sizes.push(Size { share, selected, edges: circuit.n_edges() });
        circuits.push(circuit);
    }
    Ok((sizes, circuits))
}

impl Curve {
    /// The curve through circuits of these sizes with these faithfulnesses, from the smallest to the largest.
    pub fn of(sizes: &[Size], faithfulness: &[f32]) -> Self {
        let point = |(&Size { share, selected, edges }, &faithfulness)| Point {
            share,
            selected,
            edges,
            faithfulness,
        };
        let points: Vec<Point> = sizes.iter().zip(faithfulness).map(point).collect();
        let (cpr, cmd) = (area(&points, |f| f), area(&points, |f| (1.0 - f).abs()));
        Self { points, cpr, cmd }
    }
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
