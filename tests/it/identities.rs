//! Identities of edge and node scores that need no oracle, and node scores against the EAP-IG package where it
//! is right.

use attribution::{Endpoint, Method, Options, attribute, attribute_nodes, score_nodes, score_pair};
use burn::tensor::{Device, Tensor};
use circuits::ScoreFile;
use hooks::{
    Batch, Edge, Heads, Hook, HookedModel, IdsOnly, Metric, Pair, Pairs, Port, Probe, Reader, Recorder, Rows,
    Site, Stream, Target, Task, Writer,
};
use test_models::{Toy, ToyConfig};

use crate::fixtures::{apart, fixture, load, values};

const GRADIENT_METHODS: [Method; 4] = [
    Method::Eap,
    Method::EapIgInputs { steps: 5, endpoint: Endpoint::Left },
    Method::EapIgActivations { steps: 3, endpoint: Endpoint::Right },
    Method::CleanCorrupt,
];

fn pairs() -> Pairs {
    Pairs::read(fixture("eap/pairs.jsonl"), &IdsOnly).unwrap()
}

fn toy_pairs(n: usize) -> Pairs {
    let token = |i: usize, j: usize| ((7 * i + 5 * j + i * j) % 13) as u32;
    let pair = |i: usize| Pair {
        earlier: vec![],
        id: format!("p{i}"),
        clean: (0..5).map(|j| token(i, j)).collect(),
        corrupt: (0..5).map(|j| token(i + 3, 2 * j + 1)).collect(),
        target: Target { answers: vec![token(i, 9)], distractors: vec![token(i + 1, 9)] },
    };
    Pairs::new((0..n).map(pair).collect()).unwrap()
}

/// The site of a reader, and its place there.
fn site(reader: Reader, last: usize) -> (Site, usize) {
    match reader {
        Reader::Head(h, Port::Q) => (Heads::QueryIn(h.layer).into(), h.head),
        Reader::Head(h, Port::K) => (Heads::KeyInUngrouped(h.layer).into(), h.head),
        Reader::Head(h, Port::V) => (Heads::ValueInUngrouped(h.layer).into(), h.head),
        Reader::Mlp(l) => (Stream::MlpIn(l).into(), 0),
        Reader::Logits => (Stream::ResidPost(last).into(), 0),
    }
}

#[test]
fn a_nodes_score_is_the_sum_of_its_edges() {
    let (model, pairs) = (load(&fixture("eap/model")), pairs());
    for pair in &pairs {
        for method in GRADIENT_METHODS {
            let edges =
                score_pair(&Task::new(&model, &pairs, Metric::LogitDiff), pair, method, Options::default())
                    .unwrap();
            let nodes = score_nodes(&Task::new(&model, &pairs, Metric::LogitDiff), pair, method).unwrap();
            let mut sums = vec![0.0f32; model.wiring().n_writers()];
            for (edge, score) in edges.scores.iter() {
                sums[model.wiring().writer_index(edge.from)] += score;
            }
            let error = apart(nodes.scores.values(), &sums);
            assert!(error < 1e-5, "{} {method}: {error:e}", pair.id);
            assert_eq!((nodes.summary.clean, nodes.summary.corrupt), (edges.clean, edges.corrupt));
        }
    }
}

#[test]
fn a_readers_edges_sum_to_its_inputs_change_times_its_gradient() {
    let (model, pairs) = (load(&fixture("eap/model")), pairs());
    let (wiring, pair) = (model.wiring(), &pairs.as_slice()[1]);
    let edges =
        score_pair(&Task::new(&model, &pairs, Metric::LogitDiff), pair, Method::Eap, Options::default())
            .unwrap()
            .scores;
    let last = wiring.n_layers - 1;
    let sites: Vec<Site> = wiring.readers().map(|reader| site(reader, last).0).collect();
    let batch = |ids: &Vec<u32>| Batch::new(std::slice::from_ref(ids)).unwrap().rows(Rows::Last);
    let mut corrupt = Recorder::new(sites.clone());
    model.run(&batch(&pair.corrupt), &mut corrupt);
    let mut probe = Probe::new(sites);
    let logits = model.run(&batch(&pair.clean), &mut probe);
    let mut grads = Metric::LogitDiff.values(logits, &[&pair.target], None).sum().backward();
    let mut found: std::collections::HashMap<Site, Vec<f32>> = Default::default();
    let (mut sums, mut products) = (Vec::new(), Vec::new());
    for reader in wiring.readers() {
        let (at, head) = site(reader, last);
        // (corrupt - clean) · gradient of each head at the site.
        let each = found.entry(at).or_insert_with(|| {
            let (gap, grad): (Tensor<4>, Tensor<4>) = match at {
                Site::Heads(at) => {
                    let (grad, clean) = probe.heads(at, &mut grads).unwrap();
                    (corrupt.heads(at).inner() - clean, grad)
                }
                Site::Stream(at) => {
                    let (grad, clean) = probe.stream(at, &mut grads).unwrap();
                    ((corrupt.stream(at).inner() - clean).unsqueeze_dim(1), grad.unsqueeze_dim(1))
                }
            };
            values((gap * grad).sum_dim(2).sum_dim(3))
        });
        products.push(each[head]);
        let (start, n) = (wiring.offset(reader), wiring.n_writers_before(reader));
        sums.push(edges.values()[start..start + n].iter().sum::<f32>());
    }
    // Both sides are sums of seq * d_model products in f32.
    let error = apart(&sums, &products);
    assert!(error < 1e-5, "{error:e}");
}

#[test]
fn on_a_linear_model_every_method_is_exact() {
    let device = Device::flex();
    for seed in 0..3 {
        let model = Toy::linear(seed, ToyConfig { bias: true, ..ToyConfig::default() }, &device);
        let pairs = toy_pairs(3);
        let edges = |method| {
            attribute(&Task::new(&model, &pairs, Metric::LogitDiff), method, Options::default()).unwrap().mean
        };
        let nodes =
            |method| attribute_nodes(&Task::new(&model, &pairs, Metric::LogitDiff), method).unwrap().mean;
        let (exact_edges, exact_nodes) = (edges(Method::Exact), nodes(Method::Exact));
        // EAP-IG activations is not among them: a group that is put at a point of its path is a constant, which
        // cuts what reaches the metric through that group.
        for method in GRADIENT_METHODS.into_iter().filter(|m| !matches!(m, Method::EapIgActivations { .. })) {
            // A patched metric is a difference of two metrics near 10, each good to 1e-6.
            let error = apart(edges(method).values(), exact_edges.values());
            assert!(error < 1e-4, "seed {seed}, edges, {method}: {error:e}");
            let error = apart(nodes(method).values(), exact_nodes.values());
            assert!(error < 1e-4, "seed {seed}, nodes, {method}: {error:e}");
        }
    }
}

#[test]
fn neither_order_nor_grouping_of_pairs_changes_scores() {
    let (model, pairs) = (load(&fixture("eap/model")), pairs());
    let options = Options { per_pair: true, ..Options::default() };
    let score = |pairs: &Pairs| {
        attribute(&Task::new(&model, pairs, Metric::LogitDiff), GRADIENT_METHODS[1], options).unwrap()
    };
    let mut order = pairs.as_slice().to_vec();
    order.rotate_left(1);
    order.swap(0, 2);
    let (given, moved) = (score(&pairs), score(&Pairs::new(order.clone()).unwrap()));
    for (i, pair) in pairs.iter().enumerate() {
        let j = order.iter().position(|p| p.id == pair.id).unwrap();
        let of = |scores: &attribution::Scores, i: usize| scores.per_pair.as_ref().unwrap().row(i).to_vec();
        assert_eq!(of(&given, i), of(&moved, j), "{}: bit for bit", pair.id);
    }
    // The mean is summed in f64 and stored in f32.
    assert!(apart(given.mean.values(), moved.mean.values()) < 1e-7);
    let halves = [&order[..2], &order[2..]].map(|half| score(&Pairs::new(half.to_vec()).unwrap()).mean);
    let joined: Vec<f32> =
        halves[0].values().iter().zip(halves[1].values()).map(|(a, b)| (a + b) / 2.0).collect();
    assert!(apart(&joined, given.mean.values()) < 1e-6);
}

#[test]
fn node_scores_are_the_packages_where_it_takes_gradients_at_outputs() {
    let (model, pairs) = (load(&fixture("eap/model")), pairs());
    // At node level the package's points are k = 1..m.
    let ig = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Right };
    for (name, method) in [("eap-logit-diff", Method::Eap), ("eap-ig-inputs-5-logit-diff", ig)] {
        let file = ScoreFile::read(&fixture("eap-nodes").join(format!("{name}.pt"))).unwrap();
        let recorded = file.nodes.unwrap();
        let found = attribute_nodes(&Task::new(&model, &pairs, Metric::LogitDiff), method).unwrap().mean;
        let (mut ours, mut theirs, mut mlps_apart) = (Vec::new(), Vec::new(), 0f32);
        for (node, &score) in recorded.iter() {
            // The package scores its loss: the metric negated.
            match node {
                Writer::Mlp(_) => mlps_apart = mlps_apart.max((found.get(node) + score).abs()),
                _ => {
                    ours.push(*found.get(node));
                    theirs.push(-score);
                }
            }
        }
        let error = apart(&ours, &theirs);
        assert!(error < 1e-5, "{name}: {error:e}");
        assert!(mlps_apart > 1e-2, "{name}: the package takes an MLP's gradient at its input");
    }
}

/// Moves one writer's output a fraction of the way from clean to corrupt.
struct Nudge {
    site: Stream,
    add: Tensor<3>,
}

impl Hook for Nudge {
    fn wants(&self, site: Site) -> bool {
        site == self.site.into()
    }
    fn on_stream(&mut self, _: Stream, x: Tensor<3>) -> Tensor<3> {
        x + self.add.clone()
    }
}

#[test]
fn an_mlps_score_is_the_derivative_at_its_output() {
    let (model, pairs) = (load(&fixture("eap/model")), pairs());
    let pair = &pairs.as_slice()[0];
    let nodes = score_nodes(&Task::new(&model, &pairs, Metric::LogitDiff), pair, Method::Eap).unwrap().scores;
    let exact =
        score_nodes(&Task::new(&model, &pairs, Metric::LogitDiff), pair, Method::Exact).unwrap().scores;
    let largest = nodes.values().iter().fold(0f32, |m, v| m.max(v.abs()));
    for layer in 0..model.wiring().n_layers {
        let output = |ids: &Vec<u32>| {
            let mut seen = Recorder::new([Stream::MlpOut(layer).into()]);
            model.run(&Batch::new(std::slice::from_ref(ids)).unwrap(), &mut seen);
            seen.stream(Stream::MlpOut(layer))
        };
        let gap = output(&pair.corrupt) - output(&pair.clean);
        let metric = |share: f64| {
            let mut nudge = Nudge { site: Stream::MlpOut(layer), add: gap.clone() * share };
            let batch = Batch::new(std::slice::from_ref(&pair.clean)).unwrap().rows(Rows::Last);
            let value = Metric::LogitDiff.values(model.run(&batch, &mut nudge), &[&pair.target], None);
            f64::from(value.into_scalar::<f32>())
        };
        // As for edges: truncation and rounding below 2e-3 of the largest score.
        let slope = (metric(1e-2) - metric(-1e-2)) / 2e-2;
        let score = f64::from(*nodes.get(Writer::Mlp(layer)));
        assert!((slope - score).abs() < 2e-3 * f64::from(largest), "m{layer}: slope {slope}, score {score}");
        let patched = f64::from(*exact.get(Writer::Mlp(layer)));
        assert!((metric(1.0) - metric(0.0) - patched).abs() < 1e-4, "m{layer}: exact {patched}");
    }
}

#[test]
fn every_edge_of_a_writer_patched_at_once_is_the_writer_patched() {
    // The oracle of exact node scores: the full graph without one writer's edges, run as a circuit.
    let (model, pairs) = (Toy::random(5, ToyConfig::default(), &Device::flex()), toy_pairs(2));
    let wiring = model.wiring();
    let exact = attribute_nodes(&Task::new(&model, &pairs, Metric::LogitDiff), Method::Exact).unwrap().mean;
    for writer in wiring.writers() {
        let without = wiring.edges().filter(|edge: &Edge| edge.from != writer);
        let circuit = circuits::Circuit::of(wiring, without).unwrap();
        let fill = ablation::Baseline::Corrupt;
        let found = circuits::faithfulness(
            &Task::new(&model, &pairs, Metric::LogitDiff).batch_size(2),
            &circuit,
            &fill,
        )
        .unwrap();
        let (effect, score) = (found.circuit - found.clean, *exact.get(writer));
        assert!((effect - score).abs() < 1e-4, "{writer}: {effect} {score}");
    }
}
