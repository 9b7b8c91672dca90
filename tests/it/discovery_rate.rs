//! The false-discovery rate of what `circuits::Emergence` calls emerged: at one checkpoint, between disjoint
//! halves of the same pairs, nothing emerged, so that any call is a false one.

use attribution::{Method, Options, attribute};
use burn::tensor::Device;
use circuits::{Emergence, Fate, PerPair, Selection};
use hooks::{HookedModel, Metric, Pair, Pairs, Target, Task, Wiring, Writer};
use test_models::{Toy, ToyConfig};

/// A fixed stream of numbers below `n`.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        // SplitMix64 (Steele et al. 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// EAP scores of a random toy on random pairs, pair by pair.
fn scored(seed: u64, n: usize) -> (Wiring, PerPair) {
    let config = ToyConfig { n_layers: 3, n_heads: 4, n_kv_heads: 4, ..ToyConfig::default() };
    let model = Toy::random(seed, config, &Device::flex());
    let mut draws = Draws(seed);
    let mut prompt = || -> Vec<u32> { (0..6).map(|_| draws.below(13) as u32).collect() };
    let pair = |i: usize| {
        let (clean, corrupt, ends) = (prompt(), prompt(), prompt());
        let target = Target { answers: vec![ends[0]], distractors: vec![(ends[0] + 1 + ends[1] % 12) % 13] };
        Pair { id: i.to_string(), clean, corrupt, target, earlier: vec![] }
    };
    let pairs = Pairs::new((0..n).map(pair).collect()).unwrap();
    let options = Options { per_pair: true, ..Options::default() };
    let scores = attribute(&Task::new(&model, &pairs, Metric::LogitDiff), Method::Eap, options).unwrap();
    let values = scores.per_pair.unwrap().into_iter().collect();
    (model.wiring(), PerPair { ids: pairs.iter().map(|p| p.id.clone()).collect(), values })
}

/// P(X ≥ k) for X binomial(n, p).
fn tail(n: usize, k: usize, p: f64) -> f64 {
    let mut term = (1.0 - p).powi(n as i32);
    let mut below = 0.0;
    for i in 0..k {
        below += term;
        term *= (n - i) as f64 / (i + 1) as f64 * p / (1.0 - p);
    }
    1.0 - below
}

#[test]
fn nothing_emerges_between_halves_of_the_same_pairs_beyond_the_stated_rate() {
    assert!((tail(10, 3, 0.5) - 0.9453125).abs() < 1e-12, "by hand: 1 - 56/1024");
    const SPLITS: usize = 400;
    const RATE: f64 = 0.1;
    let (mut heads, mut edges, mut emerged) = (0, 0, [0, 0]);
    for checkpoint in 0..4 {
        let (wiring, all) = scored(checkpoint, 32);
        let mut draws = Draws(1000 + checkpoint);
        for split in 0..SPLITS as u64 / 4 {
            let mut order: Vec<usize> = (0..32).collect();
            (1..32).rev().for_each(|i| order.swap(i, draws.below(i + 1)));
            let half = |rows: &[usize]| PerPair {
                ids: rows.iter().map(|&i| all.ids[i].clone()).collect(),
                values: rows
                    .iter()
                    .flat_map(|&i| all.values[i * wiring.n_edges()..][..wiring.n_edges()].to_vec())
                    .collect(),
            };
            let (a, b) = (half(&order[..16]), half(&order[16..]));
            let how = Emergence { draws: 100, rate: RATE, seed: split, ..Emergence::new(Selection::Top(60)) };
            let by_head = how.test(wiring, &a, &b).unwrap();
            let by_edge = how.test_edges(wiring, &a, &b).unwrap();
            heads += usize::from(by_head.iter().any(|row| row.significant));
            edges += usize::from(by_edge.iter().any(|row| row.significant));
            let new = |fate: Fate, significant: bool| fate == Fate::Emergent && significant;
            emerged[0] += usize::from(by_head.iter().any(|row| new(row.fate, row.significant)));
            emerged[1] += usize::from(by_edge.iter().any(|row| new(row.fate, row.significant)));
        }
    }
    eprintln!("of {SPLITS} splits: a head changed in {heads}, emerged in {}", emerged[0]);
    eprintln!("of {SPLITS} splits: an edge changed in {edges}, emerged in {}", emerged[1]);
    // With nothing to find, the false-discovery rate is the probability of any call. A true rate of 10 % gives
    // counts as large as these less than once in a hundred runs only beyond this bound.
    for (what, count) in [("heads", heads), ("edges", edges)] {
        let p = tail(SPLITS, count, RATE);
        assert!(p > 0.01, "{what}: {count} of {SPLITS} splits, p = {p:.4} under a rate of {RATE}");
    }
    assert!(heads + edges > 0, "a test that never calls anything would pass too");
}

#[test]
fn a_change_of_a_heads_edges_is_found() {
    // Power: the same scores, with those of one head's outgoing edges moved by three times the usual size.
    let (wiring, base) = scored(1, 24);
    let head: Writer = "a1.h2".parse().unwrap();
    let size = (base.values.iter().map(|v| v * v).sum::<f32>() / base.values.len() as f32).sqrt();
    let mut other = base.clone();
    for row in other.values.chunks_mut(wiring.n_edges()) {
        for (edge, score) in wiring.edges().zip(row) {
            *score += if edge.from == head { 3.0 * size } else { 0.0 };
        }
    }
    let how = Emergence { draws: 100, rate: 0.1, ..Emergence::new(Selection::Top(60)) };
    let rows = how.test_edges(wiring, &base, &other).unwrap();
    let moved: Vec<_> = rows.iter().filter(|row| row.edge.from == head).collect();
    assert!(moved.iter().all(|row| row.significant && row.post > row.base), "{moved:?}");
    assert!(moved.iter().any(|row| row.fate == Fate::Emergent));
    assert!(how.test_edges(wiring, &base, &PerPair::default()).is_err());
}
