//! Pruning: removes nodes without an incoming or an outgoing edge, and their edges, until none is left.

use crate::Circuit;
use crate::circuit::owners;

/// When pruning stops. The two rules differ by a few edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneRule {
    /// When neither nodes nor edges change: EAP-IG since July 2025. Every node that is left lies on a path
    /// from the input to the logits.
    #[default]
    Current,
    /// When the nodes alone do not change: EAP-IG before, and the revision that MIB pins. After top-N and
    /// threshold selection this is one pass.
    Before2025July {
        /// Whether the edges were selected greedily, which starts the comparison from another set of nodes.
        greedy: bool,
    },
}

impl Circuit {
    /// This circuit without its dead ends, under the current rule.
    #[must_use]
    pub fn pruned(&self) -> Self {
        self.pruned_by(PruneRule::Current)
    }

    /// This circuit without its dead ends: repeatedly, a node stays if it has an outgoing edge and (unless it
    /// is the input) an incoming one, and an edge stays if both its ends stay. The logits always stay.
    #[must_use]
    pub fn pruned_by(&self, rule: PruneRule) -> Self {
        let wiring = self.wiring();
        let mut kept = self.edges.values().to_vec();
        let readers: Vec<(usize, usize, Vec<usize>)> = wiring
            .readers()
            .map(|v| {
                let owners = owners(wiring, v).into_iter().map(|w| wiring.writer_index(w)).collect();
                (wiring.offset(v), wiring.n_writers_before(v), owners)
            })
            .collect();
        let mut before = match rule {
            PruneRule::Current => None,
            PruneRule::Before2025July { greedy: false } => {
                Some(alive(&kept, &readers, wiring.n_writers(), true))
            }
            PruneRule::Before2025July { greedy: true } => {
                Some(alive(&kept, &readers, wiring.n_writers(), false))
            }
        };
        loop {
            let nodes = alive(&kept, &readers, wiring.n_writers(), true);
            let mut changed = false;
            for (offset, n_before, owners) in &readers {
                let stays = owners.is_empty() || owners.iter().any(|&w| nodes[w]);
                for (u, edge) in kept[*offset..offset + n_before].iter_mut().enumerate() {
                    changed |= *edge && !(stays && nodes[u]);
                    *edge &= stays && nodes[u];
                }
            }
            let done = match &before {
                None => !changed,
                Some(before) => *before == nodes,
            };
            if done {
                return Self::new(hooks::EdgeMap::from_values(wiring, kept));
            }
            if before.is_some() {
                before = Some(nodes);
            }
        }
    }

    /// Whether pruning would drop nothing.
    pub fn is_pruned(&self) -> bool {
        self.pruned() == *self
    }
}

/// Writers with an outgoing edge and, if `both`, an incoming one (the input needs none).
fn alive(kept: &[bool], readers: &[(usize, usize, Vec<usize>)], n_writers: usize, both: bool) -> Vec<bool> {
    let (mut out, mut into) = (vec![false; n_writers], vec![!both; n_writers]);
    into[0] = true;
    for (offset, n_before, owners) in readers {
        let edges = &kept[*offset..offset + n_before];
        edges.iter().enumerate().for_each(|(u, &edge)| out[u] |= edge);
        if edges.contains(&true) {
            owners.iter().for_each(|&w| into[w] = true);
        }
    }
    out.iter().zip(into).map(|(&out, into)| out && into).collect()
}
