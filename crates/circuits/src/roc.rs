//! Scores against a known circuit: area under the ROC curve, over all thresholds and as MIB computes it.

use hooks::EdgeMap;
use serde::Serialize;

use crate::curve::MIB_SHARES;
use crate::{Circuit, Error, PruneRule, Rank, Selection};

/// The probability that an edge of `truth` has a larger absolute score than an edge outside it, ties
/// counting one half (Mann and Whitney 1947): the area under the ROC curve of all cuts. 1 is perfect, 0.5
/// is chance.
///
/// # Errors
/// Different graphs, a score that is not a number, or a truth that is empty or has every edge.
pub fn auroc(scores: &EdgeMap<f32>, truth: &Circuit) -> Result<f64, Error> {
    let truth = truth.on(scores.wiring())?;
    if let Some((edge, score)) = scores.iter().find(|(_, s)| s.is_nan()) {
        return Err(Error::input(format!("edge {edge}: score is {score}, expected a number")));
    }
    let mut ranked: Vec<(f32, bool)> =
        scores.values().iter().map(|s| s.abs()).zip(truth.selection().values().iter().copied()).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let inside = truth.n_edges();
    let outside = ranked.len() - inside;
    if inside == 0 || outside == 0 {
        return Err(Error::input(format!(
            "truth: {inside} of {} edges, expected some, not all",
            ranked.len()
        )));
    }
    // For each tied score: its edges inside beat every edge outside below it, and half of those beside it.
    let (mut below, mut wins) = (0usize, 0.0);
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let hits = tied.iter().filter(|(_, inside)| *inside).count();
        let misses = tied.len() - hits;
        wins += hits as f64 * (below as f64 + misses as f64 / 2.0);
        below += misses;
    }
    Ok(wins / (inside as f64 * outside as f64))
}

/// One circuit size against the known circuit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RocPoint {
    /// The share of all edges that was asked for.
    pub share: f64,
    /// Edges left after pruning.
    pub edges: usize,
    /// The share of the true edges that were found.
    pub tpr: f64,
    /// The share of the other edges that were taken.
    pub fpr: f64,
}

/// A ROC curve over MIB's ten sizes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RocCurve {
    /// From the smallest circuit to the largest.
    pub points: Vec<RocPoint>,
    /// The trapezoid rule over the points, the false-positive axis divided by its last value. Zero where no
    /// point has a false positive.
    pub area: f64,
}

/// MIB's InterpBench score: greedy circuits of ⌈share · n_edges⌉ edges by absolute score, pruned by the rule
/// it pins, against `truth` (Mueller et al. 2025). The axes begin at the first size and not at the origin,
/// so the area of a perfect ranking can be below 1: use [`auroc`] where the peer's number is not wanted.
///
/// # Errors
/// As [`auroc`] and [`Circuit::select`].
pub fn mib_roc(scores: &EdgeMap<f32>, truth: &Circuit) -> Result<RocCurve, Error> {
    let truth = truth.on(scores.wiring())?;
    let (n_edges, inside) = (scores.wiring().n_edges(), truth.n_edges());
    if inside == 0 || inside == n_edges {
        return Err(Error::input(format!("truth: {inside} of {n_edges} edges, expected some, not all")));
    }
    let point = |share: f64| -> Result<RocPoint, Error> {
        let n = (share * n_edges as f64).ceil() as usize;
        let found = Circuit::select(scores, Selection::Greedy(n), Rank::Absolute)?
            .pruned_by(PruneRule::Before2025July { greedy: true });
        let hits = found.edges().filter(|&edge| truth.contains(edge)).count();
        let misses = found.n_edges() - hits;
        let (tpr, fpr) = (hits as f64 / inside as f64, misses as f64 / (n_edges - inside) as f64);
        Ok(RocPoint { share, edges: found.n_edges(), tpr, fpr })
    };
    let points = MIB_SHARES.into_iter().map(point).collect::<Result<Vec<_>, _>>()?;
    let last = points.last().map_or(0.0, |p| p.fpr);
    let scale = if last > 0.0 { 1.0 / last } else { 0.0 };
    let area = points.windows(2).map(|w| scale * (w[1].fpr - w[0].fpr) * (w[0].tpr + w[1].tpr) / 2.0).sum();
    Ok(RocCurve { points, area })
}

#[cfg(test)]
mod tests {
    use hooks::{KeyValue, Wiring};

    use super::*;

    fn ramp() -> (EdgeMap<f32>, Vec<hooks::Edge>) {
        let w = Wiring { n_layers: 1, n_heads: 2, n_kv_heads: 2, d_model: 4, key_value: KeyValue::Ungrouped };
        let scores = EdgeMap::from_values(w, (0..w.n_edges()).map(|i| -(i as f32)).collect());
        (scores, w.edges().collect())
    }

    #[test]
    fn areas_by_hand() {
        let (scores, edges) = ramp();
        let (w, n) = (scores.wiring(), edges.len());
        let last = Circuit::of(w, edges[n - 3..].to_vec()).unwrap();
        assert_eq!(auroc(&scores, &last).unwrap(), 1.0, "the largest absolute scores");
        let first = Circuit::of(w, edges[..3].to_vec()).unwrap();
        assert_eq!(auroc(&scores, &first).unwrap(), 0.0);
        assert_eq!(auroc(&EdgeMap::filled(w, 7.0), &first).unwrap(), 0.5, "all tie");
        // One true edge second from the top: it beats all others but one.
        let second = Circuit::of(w, [edges[n - 2]]).unwrap();
        assert_eq!(auroc(&scores, &second).unwrap(), (n - 2) as f64 / (n - 1) as f64);
        assert!(auroc(&scores, &Circuit::empty(w)).is_err());
        assert!(mib_roc(&scores, &Circuit::full(w)).is_err());
    }

    #[test]
    fn the_last_point_has_every_edge() {
        let (scores, edges) = ramp();
        let truth = Circuit::of(scores.wiring(), edges[edges.len() - 3..].to_vec()).unwrap();
        let found = mib_roc(&scores, &truth).unwrap();
        let last = found.points[9];
        assert_eq!((last.tpr, last.fpr, last.edges), (1.0, 1.0, edges.len()));
        assert!((0.0..=1.0).contains(&found.area));
    }
}
