//! Faithfulness and its curve on the toy model; comparison of two checkpoints.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::sync::Arc;

use ablation::{Baseline, WriterMeans};
use burn::tensor::Device;
use circuits::{
    Circuit, Emergence, Null, PerPair, PruneRule, Rank, Selection, compare, curve, effect, faithfulness,
    faithfulness_of, head_importance,
};
use hooks::{Batch, EdgeMap, Head, HookedModel, KeyValue, Metric, Pair, Pairs, Rows, Target, Task, Wiring};
use rand::{Rng, SeedableRng};
use test_models::{Toy, ToyConfig};

fn toy() -> Toy {
    Toy::random(11, ToyConfig::default(), &Device::default())
}

fn pairs(n: usize) -> Pairs {
    let token = |i: usize, j: usize| ((7 * i + 5 * j + i * j) % 13) as u32;
    let pairs = (0..n).map(|i| {
        let len = 4 + i % 3;
        Pair {
            id: format!("p{i}"),
            clean: (0..len).map(|j| token(i, j)).collect(),
            corrupt: (0..len).map(|j| token(i + 3, 2 * j + 1)).collect(),
            target: Target { answers: vec![token(i, 9)], distractors: vec![token(i + 1, 9)] },
            earlier: Vec::new(),
        }
    });
    Pairs::new(pairs.collect()).unwrap()
}

fn some_scores(wiring: Wiring) -> EdgeMap<f32> {
    EdgeMap::from_values(wiring, (0..wiring.n_edges()).map(|i| (i as f32 * 1.7).sin()).collect())
}

fn baselines(model: &Toy, pairs: &Pairs) -> Vec<Baseline> {
    let batches: Vec<Batch> =
        pairs.iter().map(|p| Batch::new(std::slice::from_ref(&p.clean)).unwrap()).collect();
    let means = Arc::new(WriterMeans::measure(model, &batches).unwrap());
    vec![Baseline::Corrupt, Baseline::Zero, Baseline::Mean(means.clone()), Baseline::MeanPositional(means)]
}

#[test]
fn the_full_graph_is_the_model_and_the_empty_one_the_fill() {
    let (model, pairs) = (toy(), pairs(5));
    let wiring = model.wiring();
    let (full, empty) = (Circuit::full(wiring), Circuit::empty(wiring));
    for fill in baselines(&model, &pairs) {
        for metric in [Metric::LogitDiff, Metric::ProbDiff, Metric::Kl, Metric::Nll] {
            let found = faithfulness_of(
                &Task::new(&model, &pairs, metric.clone()).batch_size(2),
                &[&full, &empty],
                &fill,
            )
            .unwrap();
            assert!((found[0].faithfulness - 1.0).abs() < 1e-5, "{fill:?} {metric}");
            assert!(found[1].faithfulness.abs() < 1e-5, "{fill:?} {metric}");
        }
    }
    let pair = &pairs.as_slice()[0];
    let logits =
        model.run(&Batch::new(std::slice::from_ref(&pair.corrupt)).unwrap().rows(Rows::Last), &mut ());
    let corrupt = Metric::LogitDiff.values(logits, &[&pair.target], None).into_scalar::<f32>();
    let found =
        faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(5), &empty, &Baseline::Corrupt)
            .unwrap();
    assert!((found.per_pair[0].corrupt - corrupt).abs() < 1e-5);
    assert_eq!(found.per_pair[4].id, "p4");
}

#[test]
fn batches_change_nothing() {
    let (model, pairs) = (toy(), pairs(7));
    let circuit = Circuit::top(&some_scores(model.wiring()), 40).unwrap().pruned();
    for fill in baselines(&model, &pairs) {
        let run = |n| {
            faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(n), &circuit, &fill)
                .unwrap()
        };
        let (one, all) = (run(1), run(7));
        for (a, b) in one.per_pair.iter().zip(&all.per_pair) {
            assert_eq!(a.id, b.id);
            assert!((a.circuit - b.circuit).abs() < 1e-4 && (a.corrupt - b.corrupt).abs() < 1e-4);
        }
        assert!((one.faithfulness - all.faithfulness).abs() < 1e-3);
    }
    let error =
        faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(0), &circuit, &Baseline::Zero)
            .unwrap_err();
    assert!(error.to_string().contains("batch size"));
    let other = Circuit::empty(Wiring { n_layers: 3, ..model.wiring() });
    let error =
        faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(1), &other, &Baseline::Zero)
            .unwrap_err();
    assert!(error.to_string().contains("over 3 layers of 4 heads"), "{error}");
}

#[test]
fn a_curve_ends_at_one() {
    let (model, pairs) = (toy(), pairs(4));
    let scores = some_scores(model.wiring());
    let found = curve(
        &Task::new(&model, &pairs, Metric::LogitDiff).batch_size(4),
        &scores,
        Rank::Absolute,
        PruneRule::Current,
        &Baseline::Corrupt,
    )
    .unwrap();
    assert_eq!(found.points.len(), 10);
    assert!((found.points[9].faithfulness - 1.0).abs() < 1e-5);
    assert_eq!(found.points[9].edges, model.wiring().n_edges());
    assert!(found.points[0].faithfulness.abs() < 1e-5, "no edge of 122 is selected at a thousandth");
    assert!(found.cmd > 0.0 && found.cpr.is_finite());
}

#[test]
fn files_of_the_package_run_on_grouped_models() {
    // Such a file may not know that there are fewer key/value heads than heads, nor the width.
    let (model, pairs) = (toy(), pairs(2));
    let wiring = model.wiring();
    let known = Circuit::top(&some_scores(wiring), 30).unwrap();
    let of = |wiring: Wiring| Circuit::new(EdgeMap::from_values(wiring, known.selection().values().to_vec()));
    let unknown = of(Wiring { n_kv_heads: wiring.n_heads, d_model: 0, ..wiring });
    let run = |c: &Circuit| {
        faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(2), c, &Baseline::Corrupt)
            .unwrap()
    };
    assert_eq!(run(&known), run(&unknown));
    let refusal = |other: Wiring| of(other).on(wiring).unwrap_err().to_string();
    let wide = refusal(Wiring { n_kv_heads: wiring.n_heads, d_model: 999, ..wiring });
    assert!(wide.contains("`d_model` is 999"), "{wide}");
    let groups = refusal(Wiring { n_kv_heads: 1, ..wiring });
    assert!(groups.contains("(1 key/value)"), "{groups}");
}

#[test]
fn grouped_edges_are_their_ungrouped_copies() {
    let (model, pairs) = (toy(), pairs(3));
    let grouped = model.wiring().with(KeyValue::Grouped);
    let circuit = Circuit::top(&some_scores(grouped), 30).unwrap();
    let ungrouped = Circuit::of(
        model.wiring(),
        model.wiring().edges().filter(|edge| {
            let to = match edge.to {
                hooks::Reader::Head(h, p) if p != hooks::Port::Q => {
                    hooks::Reader::Head(Head { head: grouped.kv_head(h.head), ..h }, p)
                }
                to => to,
            };
            circuit.contains(hooks::Edge { to, ..*edge })
        }),
    )
    .unwrap();
    let run = |c: &Circuit| {
        faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(3), c, &Baseline::Corrupt)
            .unwrap()
    };
    assert!((run(&circuit).circuit - run(&ungrouped).circuit).abs() < 1e-4);
}

#[test]
fn importance_and_effect_by_hand() {
    let w = Wiring { n_layers: 1, n_heads: 3, n_kv_heads: 3, d_model: 4, key_value: KeyValue::Ungrouped };
    let mut scores = EdgeMap::filled(w, 9.0f32);
    let mut edges = Vec::new();
    for (edge, score) in
        [("a0.h0->m0", -1.0), ("a0.h0->logits", 2.0), ("a0.h2->logits", 1.0), ("m0->logits", 5.0)]
    {
        *scores.get_mut(edge.parse().unwrap()).unwrap() = score;
        edges.push(edge.parse().unwrap());
    }
    let circuit = Circuit::of(w, edges).unwrap();
    let importance: Vec<f32> = head_importance(&circuit, &scores).iter().map(|(_, &x)| x).collect();
    assert_eq!(importance, [0.75, 0.0, 0.25]);
    assert!((effect(0.25, 0.75) - 0.5).abs() < 1e-5);
    assert_eq!(effect(0.0, 0.0), 0.0);

    let later = Circuit::of(w, ["a0.h2->logits", "a0.h1->logits"].map(|e| e.parse().unwrap())).unwrap();
    let found = compare((&circuit, &scores), (&later, &scores)).unwrap();
    let names =
        |heads: &std::collections::BTreeSet<Head>| heads.iter().map(Head::to_string).collect::<Vec<_>>();
    assert_eq!(names(&found.heads_kept), ["L0H2"]);
    assert_eq!(names(&found.heads_gained), ["L0H1"]);
    assert_eq!(names(&found.heads_lost), ["L0H0"]);
    assert_eq!((found.edges_kept.len(), found.edges_gained.len(), found.edges_lost.len()), (1, 1, 3));
    let of = |name: &str| found.effects.iter().find(|c| c.head.to_string() == name).unwrap().effect;
    assert!((of("L0H1") - 1.0).abs() < 1e-5 && (of("L0H0") + 1.0).abs() < 1e-5);
}

/// Per-pair scores of a made-up checkpoint: a fixed mean and independent noise.
fn checkpoint(w: Wiring, ids: std::ops::Range<usize>, boost: Option<Head>, seed: u64) -> PerPair {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::new();
    for _ in ids.clone() {
        for (i, edge) in w.edges().enumerate() {
            let mean = ((i * 2_654_435_761) % 1000) as f32 / 1000.0;
            let boosted = boost.is_some_and(|h| {
                edge.from == hooks::Writer::Head(h)
                    || matches!(edge.to, hooks::Reader::Head(to, _) if to == h)
            });
            let noise: f32 = (0..3).map(|_| rng.random_range(-1.0f32..1.0)).sum();
            values.push(mean * mean * mean + if boosted { 0.6 } else { 0.0 } + noise);
        }
    }
    PerPair { ids: ids.map(|i| i.to_string()).collect(), values }
}

#[test]
fn a_head_that_emerged_is_found_and_noise_is_not() {
    let w = Wiring { n_layers: 3, n_heads: 4, n_kv_heads: 4, d_model: 4, key_value: KeyValue::Ungrouped };
    let test = Emergence { draws: 100, ..Emergence::new(Selection::Top(100)) };
    let head = Head { layer: 1, head: 2 };
    let found = test.test(w, &checkpoint(w, 0..24, None, 1), &checkpoint(w, 0..24, Some(head), 2)).unwrap();
    let row = found.iter().find(|r| r.head == head).unwrap();
    assert!(row.significant && row.effect > 0.1, "{row:?}");
    assert!(row.post_frequency > 0.9 && row.effect_interval.high > row.effect as f64, "{row:?}");

    // The same checkpoint, disjoint halves of its pairs: at a rate of 10 %, any head is called in at most
    // about a tenth of 200 splits (three standard errors allowed).
    let test = Emergence { draws: 40, rate: 0.1, ..test };
    let all = checkpoint(w, 0..32, None, 3);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let false_alarms = (0..200u64)
        .filter(|&seed| {
            let order = rand::seq::index::sample(&mut rng, 32, 32).into_vec();
            let half = |rows: &[usize]| PerPair {
                ids: rows.iter().map(|&i| all.ids[i].clone()).collect(),
                values: rows
                    .iter()
                    .flat_map(|&i| all.values[i * w.n_edges()..][..w.n_edges()].to_vec())
                    .collect(),
            };
            let test = Emergence { seed, ..test };
            let found = test.test(w, &half(&order[..16]), &half(&order[16..])).unwrap();
            found.iter().any(|row| row.significant)
        })
        .count();
    println!("false alarms in 200 splits: {false_alarms}");
    assert!(false_alarms as f64 <= 200.0 * 0.1 + 3.0 * (200.0f64 * 0.1 * 0.9).sqrt(), "{false_alarms}");

    let floor = test.noise_floor(w, &all).unwrap();
    assert!(floor.heads_jaccard > 0.0 && floor.edges_jaccard < 1.0 && floor.effect_95 > 0.0, "{floor:?}");
    let frequency = test.selection_frequency(w, &all).unwrap();
    assert!(frequency.values().iter().all(|f| (0.0..=1.0).contains(f)));
    assert!(test.test(w, &PerPair::default(), &all).is_err());
    let chance = Circuit::top(&some_scores(w), 50).unwrap().null(Null::Random, 1);
    assert_eq!(chance.n_edges(), 50);
}
