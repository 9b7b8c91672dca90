//! The difference of two circuits: heads and edges kept, gained (new) and lost, and the effect on each head.
//! Set arithmetic without a test; the test is in `emergence.rs`.

use std::collections::BTreeSet;

use hooks::{Edge, EdgeMap, Head, HeadMap, Writer};
use serde::Serialize;

use crate::{Circuit, Error};

/// One head's importance in each circuit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ImportanceChange {
    /// Which head.
    pub head: Head,
    /// Its importance in the first circuit; importances sum to 1.
    pub base: f32,
    /// Its importance in the second.
    pub other: f32,
    /// [`effect`] of the two, in [−1, 1].
    pub effect: f32,
}

/// Heads and edges kept, gained and lost from a first circuit to a second.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitDiff {
    /// Heads in both.
    pub heads_kept: BTreeSet<Head>,
    /// New heads: in the second only.
    pub heads_gained: BTreeSet<Head>,
    /// Heads in the first only.
    pub heads_lost: BTreeSet<Head>,
    /// Edges in both.
    pub edges_kept: Vec<Edge>,
    /// Edges in the second only.
    pub edges_gained: Vec<Edge>,
    /// Edges in the first only.
    pub edges_lost: Vec<Edge>,
    /// Every head in either circuit, largest absolute effect first.
    pub effects: Vec<ImportanceChange>,
}

/// I(l, h) = Σ |score| over the circuit's edges whose source is the head, divided by the sum over heads
/// (Park et al., A.6). All zero where no head has an edge.
///
/// # Panics
/// If circuit and scores are over graphs with different edges.
pub fn head_importance(circuit: &Circuit, scores: &EdgeMap<f32>) -> HeadMap<f32> {
    let wiring = circuit.wiring();
    assert_eq!(wiring.n_edges(), scores.wiring().n_edges(), "circuit and scores are over one graph");
    let mut sums = HeadMap::filled(wiring, 0.0f64);
    let mut total = 0.0;
    for (place, edge) in circuit.places() {
        if let Writer::Head(head) = edge.from {
            let score = f64::from(scores.values()[place].abs());
            *sums.get_mut(head) += score;
            total += score;
        }
    }
    let mut shares = HeadMap::filled(wiring, 0.0f32);
    if total > 0.0 {
        sums.iter().for_each(|(head, sum)| *shares.get_mut(head) = (sum / total) as f32);
    }
    shares
}

/// E = (post − pre) / (post + pre + 1e-6), in [−1, 1] (Park et al., A.6).
pub fn effect(pre: f32, post: f32) -> f32 {
    (post - pre) / (post + pre + 1e-6)
}

/// The difference from the circuit `base` to `other`, each with the scores that it was selected by.
///
/// # Errors
/// Circuits or scores over different graphs.
pub fn compare(
    (base, base_scores): (&Circuit, &EdgeMap<f32>),
    (other, other_scores): (&Circuit, &EdgeMap<f32>),
) -> Result<CircuitDiff, Error> {
    let other = other.on(base.wiring())?;
    for scores in [base_scores, other_scores] {
        crate::circuit::fit(scores.wiring(), base.wiring())?;
        if scores.wiring().key_value != base.wiring().key_value {
            return Err(Error::input("circuits: key/value inputs are counted in two ways, expected one"));
        }
    }
    if other.wiring().key_value != base.wiring().key_value {
        return Err(Error::input("circuits: key/value inputs are counted in two ways, expected one"));
    }
    let (before, after) = (base.heads(), other.heads());
    let (mut kept, mut gained, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for ((edge, &was), &is) in base.selection().iter().zip(other.selection().values()) {
        match (was, is) {
            (true, true) => kept.push(edge),
            (false, true) => gained.push(edge),
            (true, false) => lost.push(edge),
            (false, false) => {}
        }
    }
    let (pre, post) = (head_importance(base, base_scores), head_importance(&other, other_scores));
    let mut effects: Vec<ImportanceChange> = before
        .union(&after)
        .map(|&head| {
            let (base, other) = (*pre.get(head), *post.get(head));
            ImportanceChange { head, base, other, effect: effect(base, other) }
        })
        .collect();
    effects.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()).then(a.head.cmp(&b.head)));
    Ok(CircuitDiff {
        heads_kept: before.intersection(&after).copied().collect(),
        heads_gained: after.difference(&before).copied().collect(),
        heads_lost: before.difference(&after).copied().collect(),
        edges_kept: kept,
        edges_gained: gained,
        edges_lost: lost,
        effects,
    })
}
