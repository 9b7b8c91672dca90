//! Properties of selecting and pruning, over random graphs and scores.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeSet;

use circuits::{Circuit, Null, PruneRule, Rank, Selection, dot};
use hooks::{EdgeMap, KeyValue, Port, Reader, Wiring, Writer};
use proptest::prelude::*;

fn graphs() -> impl Strategy<Value = Wiring> {
    (1usize..4, 1usize..3, 1usize..4, any::<bool>()).prop_map(|(n_layers, kv, group, grouped)| Wiring {
        n_layers,
        n_heads: kv * group,
        n_kv_heads: kv,
        d_model: 4,
        key_value: if grouped { KeyValue::Grouped } else { KeyValue::Ungrouped },
    })
}

fn scored() -> impl Strategy<Value = EdgeMap<f32>> {
    // Few distinct values, so that ties are common.
    graphs().prop_flat_map(|w| {
        prop::collection::vec((-6i32..6).prop_map(|x| x as f32 / 2.0), w.n_edges())
            .prop_map(move |values| EdgeMap::from_values(w, values))
    })
}

fn selected() -> impl Strategy<Value = Circuit> {
    graphs().prop_flat_map(|w| {
        prop::collection::vec(prop::bool::weighted(0.25), w.n_edges())
            .prop_map(move |values| Circuit::new(EdgeMap::from_values(w, values)))
    })
}

/// The writers that a reader belongs to.
fn owners(w: Wiring, to: Reader) -> Vec<Writer> {
    match to {
        Reader::Logits => vec![],
        Reader::Mlp(l) => vec![Writer::Mlp(l)],
        Reader::Head(h, p) => w
            .heads()
            .filter(|q| q.layer == h.layer)
            .filter(|q| match (p, w.key_value) {
                (Port::K | Port::V, KeyValue::Grouped) => w.kv_head(q.head) == h.head,
                _ => q.head == h.head,
            })
            .map(Writer::Head)
            .collect(),
    }
}

proptest! {
    #[test]
    fn pruning_leaves_paths_from_the_input_to_the_logits(circuit in selected()) {
        let pruned = circuit.pruned();
        let w = circuit.wiring();
        prop_assert!(pruned.edges().all(|e| circuit.contains(e)), "nothing is added");
        prop_assert_eq!(&pruned.pruned(), &pruned, "a second time changes nothing");
        let edges: Vec<_> = pruned.edges().collect();
        let mut reached = BTreeSet::from([Writer::Input]);
        let mut reaching = BTreeSet::new();
        for _ in 0..w.n_writers() {
            for edge in &edges {
                let ends = owners(w, edge.to);
                if reached.contains(&edge.from) {
                    reached.extend(ends.iter().copied());
                }
                if edge.to == Reader::Logits || ends.iter().any(|end| reaching.contains(end)) {
                    reaching.insert(edge.from);
                }
            }
        }
        for edge in &edges {
            prop_assert!(reached.contains(&edge.from) && reaching.contains(&edge.from), "{} is a dead end", edge);
        }
    }

    #[test]
    fn pruning_is_monotone(circuit in selected(), drop in any::<prop::sample::Index>()) {
        let mut values = circuit.selection().values().to_vec();
        values[drop.index(circuit.wiring().n_edges())] = false;
        let smaller = Circuit::new(EdgeMap::from_values(circuit.wiring(), values)).pruned();
        let larger = circuit.pruned();
        prop_assert!(smaller.edges().all(|e| larger.contains(e)));
        for greedy in [false, true] {
            let older = circuit.pruned_by(PruneRule::Before2025July { greedy });
            prop_assert!(larger.edges().all(|e| older.contains(e)), "the older rule stops earlier");
            prop_assert!(older.edges().all(|e| circuit.contains(e)));
        }
    }

    #[test]
    fn selections_keep_the_best(scores in scored(), share in 0.0f64..=1.0) {
        let n = (share * scores.wiring().n_edges() as f64) as usize;
        for rank in [Rank::Absolute, Rank::Signed] {
            let key = |s: f32| if rank == Rank::Absolute { s.abs() } else { s };
            let top = Circuit::select(&scores, Selection::Top(n), rank).unwrap();
            prop_assert_eq!(top.n_edges(), n);
            let worst_in = top.edges().map(|e| key(scores.values()[scores.wiring().edge_index(e).unwrap()])).fold(f32::MAX, f32::min);
            for ((i, &s), &kept) in scores.values().iter().enumerate().zip(top.selection().values()) {
                prop_assert!(kept || key(s) <= worst_in);
                // Among ties the first edges are kept.
                if kept && i > 0 && key(s) == worst_in {
                    let earlier = scores.values()[..i].iter().zip(top.selection().values()).all(|(&t, &k)| k || key(t) != key(s));
                    prop_assert!(earlier);
                }
            }
            let greedy = Circuit::select(&scores, Selection::Greedy(n), rank).unwrap();
            prop_assert_eq!(greedy.n_edges(), n);
            // Every edge that is selected from the logits up has a reader that leads on.
            let nodes: BTreeSet<Writer> = greedy.edges().map(|e| e.from).collect();
            for edge in greedy.edges() {
                let ends = owners(scores.wiring(), edge.to);
                prop_assert!(ends.is_empty() || ends.iter().any(|w| nodes.contains(w)), "{}", edge);
            }
            let cut = Circuit::select(&scores, Selection::Threshold(1.0), rank).unwrap();
            prop_assert_eq!(cut.n_edges(), scores.values().iter().filter(|&&s| key(s) >= 1.0).count());
            let layers = Circuit::select(&scores, Selection::PerLayer(2), rank).unwrap();
            prop_assert_eq!(layers.n_edges(), 2 * (scores.wiring().n_layers + 1));
        }
    }

    #[test]
    fn null_circuits_keep_what_they_promise(circuit in selected(), seed: u64) {
        let out = |c: &Circuit| { let mut all: Vec<_> = c.edges().map(|e| e.from).collect(); all.sort(); all };
        let into = |c: &Circuit| { let mut all: Vec<_> = c.edges().map(|e| e.to).collect(); all.sort(); all };
        for null in [Null::Random, Null::LayerMatched, Null::DegreeMatched] {
            let drawn = circuit.null(null, seed);
            prop_assert_eq!(drawn.n_edges(), circuit.n_edges());
            prop_assert_eq!(&drawn, &circuit.null(null, seed));
            if null == Null::DegreeMatched {
                prop_assert_eq!(out(&drawn), out(&circuit));
                prop_assert_eq!(into(&drawn), into(&circuit));
            }
            if null == Null::LayerMatched {
                let layer = |w: Writer| match w { Writer::Input => (0, 0), Writer::Head(h) => (1, h.layer), Writer::Mlp(l) => (2, l) };
                let layers = |c: &Circuit| { let mut all: Vec<_> = c.edges().map(|e| layer(e.from)).collect(); all.sort(); all };
                prop_assert_eq!(layers(&drawn), layers(&circuit));
            }
        }
    }
}

#[test]
fn the_older_rule_is_one_pass_after_top_n() {
    // input->m0->m1 is a dead end: m1 feeds nothing. The first pass drops m1, and the edge into it; only a
    // second pass would see that m0 feeds nothing either.
    let w = Wiring { n_layers: 2, n_heads: 1, n_kv_heads: 1, d_model: 4, key_value: KeyValue::Ungrouped };
    let edges = ["input->logits", "input->m0", "m0->m1"].map(|e| e.parse().unwrap());
    let circuit = Circuit::of(w, edges).unwrap();
    assert_eq!(circuit.pruned().n_edges(), 1);
    assert_eq!(circuit.pruned_by(PruneRule::Before2025July { greedy: false }).n_edges(), 2);
    assert!(Circuit::of(w, ["m1->m0".parse().unwrap()]).is_err());
}

#[test]
fn scores_that_are_no_numbers_are_named() {
    let w = Wiring { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_model: 4, key_value: KeyValue::Ungrouped };
    let mut scores = EdgeMap::filled(w, 1.0f32);
    assert!(Circuit::top(&scores, 99).unwrap_err().to_string().contains("the graph has 8 edges"));
    scores.values_mut()[1] = f32::NAN;
    assert!(Circuit::top(&scores, 1).unwrap_err().to_string().contains("edge input->a0.h0<k>"));
}

#[test]
fn dot_has_every_node_and_edge() {
    let w = Wiring { n_layers: 2, n_heads: 2, n_kv_heads: 1, d_model: 4, key_value: KeyValue::Grouped };
    let scores = EdgeMap::from_values(w, (0..w.n_edges()).map(|i| (i as f32 * 0.7).sin()).collect());
    let circuit = Circuit::top(&scores, 12).unwrap().pruned();
    let dot = dot(&circuit, Some(&scores));
    for edge in circuit.edges() {
        assert!(dot.contains(&format!("\"{}\" -> ", edge.from)));
    }
    assert_eq!(dot.matches("[shape=circle]").count(), circuit.heads().len());
}
