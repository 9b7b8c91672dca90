//! Complexity measures of heads against closed forms.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor};
use circuits::{Circuit, Spectrum, attention_entropy, head_spectra, paths};
use hooks::{EdgeMap, HeadWeights, HookedModel, KeyValue, Pair, Pairs, Target, Wiring};
use test_models::{Toy, ToyConfig};

fn tensor<const R: usize, const C: usize>(f: impl Fn(usize, usize) -> f32) -> Tensor<2> {
    let rows: [[f32; C]; R] = std::array::from_fn(|i| std::array::from_fn(|j| f(i, j)));
    Tensor::from_data(rows, &Device::default())
}

fn one(prompt: Vec<u32>) -> Pairs {
    let pair = Pair {
        id: "p".into(),
        corrupt: prompt.clone(),
        clean: prompt,
        target: Target::default(),
        earlier: vec![],
    };
    Pairs::new(vec![pair]).unwrap()
}

#[test]
fn ranks_of_known_matrices() {
    // Column j of an orthonormal [8, 4] is basis vector j; the scale of one of them is 3.
    let basis = || tensor::<8, 4>(|i, j| f32::from(i == j));
    let rank_one = || tensor::<8, 4>(|i, j| (1 + i) as f32 * (2.0 - j as f32));
    let stretched = tensor::<4, 8>(|i, j| if i == j { [3.0, 1.0, 1.0, 1.0][i] } else { 0.0 });
    let s = Spectrum::of(&HeadWeights { query: rank_one(), key: basis(), value: basis(), output: stretched });
    assert!((s.qk_effective_rank - 1.0).abs() < 1e-6 && (s.qk_stable_rank - 1.0).abs() < 1e-12);
    // Singular values 3, 1, 1, 1: p = 1/2, 1/6, 1/6, 1/6, entropy ln 2 / 2 + ln 6 / 2.
    assert!((s.ov_effective_rank - 12f64.sqrt()).abs() < 1e-9, "{s:?}");
    assert!((s.ov_stable_rank - 12.0 / 9.0).abs() < 1e-9 && (s.ov_norm - 3.0).abs() < 1e-9);
    let all = Spectrum::of(&HeadWeights {
        query: basis(),
        key: basis(),
        value: rank_one(),
        output: tensor::<4, 8>(|_, _| 0.0),
    });
    assert!((all.qk_effective_rank - 4.0).abs() < 1e-9 && (all.qk_stable_rank - 4.0).abs() < 1e-9);
    assert_eq!((all.ov_effective_rank, all.ov_stable_rank, all.ov_norm), (0.0, 0.0, 0.0));
}

#[test]
fn every_head_of_a_group_reads_the_same_key() {
    let model = Toy::random(2, ToyConfig::default(), &Device::default());
    let key = |name: &str| model.head_weights(name.parse().unwrap()).unwrap().key;
    let gap = |a: Tensor<2>, b: Tensor<2>| (a - b).abs().max().into_scalar::<f32>();
    assert_eq!(gap(key("L1H2"), key("L1H3")), 0.0);
    assert!(gap(key("L1H1"), key("L1H2")) > 0.1);
    for (head, s) in head_spectra(&model).unwrap().iter() {
        // d_head is 5: a random head uses most of its directions, and none uses more than it has.
        assert!(s.ov_effective_rank > 3.0 && s.ov_effective_rank <= 5.0, "{head} {s:?}");
        assert!(s.ov_stable_rank <= s.ov_effective_rank * 1.5, "{head} {s:?}");
    }
}

#[test]
fn uniform_attention_has_the_entropy_of_its_keys() {
    let model = Toy::linear(2, ToyConfig::default(), &Device::default());
    let found = attention_entropy(&model, &one(vec![1, 2, 3, 4])).unwrap();
    let expected = (2f64.ln() + 3f64.ln() + 4f64.ln()) / 3.0;
    for (head, e) in found.iter() {
        assert!((e.entropy - expected).abs() < 1e-6 && (e.normalised - 1.0).abs() < 1e-6, "{head} {e:?}");
    }
    let peaked =
        attention_entropy(&Toy::random(2, ToyConfig::default(), &Device::default()), &one(vec![1, 2, 3, 4]));
    assert!(peaked.unwrap().iter().all(|(_, e)| e.normalised < 0.999));
    let error = attention_entropy(&model, &one(vec![1])).unwrap_err().to_string();
    assert!(error.contains("expected at least two"), "{error}");
}

#[test]
fn the_full_graph_has_the_paths_of_its_recurrence() {
    // T writers' worth of paths so far: every head adds 3T, the MLP as much as all before it.
    for key_value in [KeyValue::Ungrouped, KeyValue::Grouped] {
        let wiring = Wiring { n_layers: 28, n_heads: 28, n_kv_heads: 4, d_model: 8, key_value };
        let full = Circuit::full(wiring);
        let found = paths(&full, &EdgeMap::filled(wiring, -0.5)).unwrap();
        let expected = (2.0 * (1.0 + 3.0 * 28.0f64)).powi(28);
        assert!((found.paths / expected - 1.0).abs() < 1e-9, "{:e} {expected:e}", found.paths);
        assert!(found.weight > 0.0 && found.weight < found.paths);
        let first = found.heads.get("L0H0".parse().unwrap());
        // From the input by its three edges, then on as from any writer of layer 0's attention.
        let on = (2.0 * 85.0f64).powi(27) * 2.0;
        assert!((first.paths / (3.0 * on) - 1.0).abs() < 1e-9);
        assert_eq!((first.into_query, first.into_key, first.into_value), (1, 1, 1));
    }
    let wiring =
        Wiring { n_layers: 1, n_heads: 2, n_kv_heads: 2, d_model: 8, key_value: KeyValue::Ungrouped };
    let other = Wiring { n_layers: 2, ..wiring };
    assert!(paths(&Circuit::full(wiring), &EdgeMap::filled(other, 1.0)).is_err());
    let none = paths(&Circuit::empty(wiring), &EdgeMap::filled(wiring, 1.0)).unwrap();
    assert_eq!((none.paths, none.weight), (0.0, 0.0));
}
