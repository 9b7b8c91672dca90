//! Edge scores against the EAP-IG package's own numbers, exact patching, and identities that need no oracle.

use attribution::{Endpoint, Method, Options, Scores, attribute, score_pair};
use burn::tensor::{Device, Tensor};
use hooks::{
    Batch, Edge, EdgeMap, Heads, Hook, HookedModel, IdsOnly, KeyValue, Metric, Pairs, PairsReader, Site,
    Stream, Task, Wiring, Writer,
};
use model_qwen::{Projection, Qwen};
use serde_json::Value;

use crate::fixtures::{apart, fixture, load};

const IG5: Method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Left };

/// Agreement of two f32 implementations on a score: relative to the largest score of the file.
const TOLERANCE: f32 = 1e-5;

fn pairs(name: &str) -> Pairs {
    Pairs::read(fixture("eap").join(name), &IdsOnly).unwrap()
}

fn model() -> Qwen {
    load(&fixture("eap/model"))
}

/// Scores in a file of the package, in our sign.
fn recorded(name: &str, metric: &Metric, wiring: Wiring) -> EdgeMap<f32> {
    let file: Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("eap").join(name)).unwrap()).unwrap();
    let edges = if file["edges"].is_object() { &file["edges"] } else { &file };
    let mut map = EdgeMap::filled(wiring, f32::NAN);
    for (edge, value) in edges.as_object().unwrap() {
        let score = value["score"].as_f64().or(value.as_f64()).unwrap() * metric.loss_sign();
        *map.get_mut(edge.parse::<Edge>().unwrap()).unwrap() = score as f32;
    }
    assert!(map.values().iter().all(|v| v.is_finite()), "{name} has every edge");
    map
}

fn scores(metric: Metric, method: Method) -> Scores {
    attribute(&Task::new(&model(), &pairs("pairs.jsonl"), metric), method, Options::default()).unwrap()
}

#[test]
fn scores_are_those_of_the_eap_ig_package() {
    let wiring = model().wiring();
    let cases = [
        ("eap-logit-diff.json", Metric::LogitDiff, Method::Eap),
        ("eap-ig-inputs-5-logit-diff.json", Metric::LogitDiff, IG5),
        ("eap-ig-inputs-5-prob-diff.json", Metric::ProbDiff, IG5),
        ("eap-ig-inputs-5-kl.json", Metric::Kl, IG5),
        ("eap-ig-inputs-5-nll.json", Metric::Nll, IG5),
        ("clean-corrupted-logit-diff.json", Metric::LogitDiff, Method::CleanCorrupt),
        ("clean-corrupted-kl.json", Metric::Kl, Method::CleanCorrupt),
        ("exact-logit-diff.json", Metric::LogitDiff, Method::Exact),
        (
            "formula-eap-ig-activations-3-logit-diff.json",
            Metric::LogitDiff,
            Method::EapIgActivations { steps: 3, endpoint: Endpoint::Right },
        ),
    ];
    for (file, metric, method) in cases {
        let expected = recorded(file, &metric, wiring);
        let error = apart(scores(metric, method).mean.values(), expected.values());
        assert!(error < TOLERANCE, "{file}: {error:e}");
    }
}

#[test]
fn several_answers_are_those_of_the_package() {
    let (model, pairs) = (model(), pairs("pairs-multi.jsonl"));
    for (file, metric) in [
        ("eap-ig-inputs-5-logit-diff-multi.json", Metric::LogitDiff),
        ("eap-ig-inputs-5-prob-diff-multi.json", Metric::ProbDiff),
    ] {
        let found = attribute(&Task::new(&model, &pairs, metric.clone()), IG5, Options::default()).unwrap();
        let error = apart(found.mean.values(), recorded(file, &metric, model.wiring()).values());
        assert!(error < TOLERANCE, "{file}: {error:e}");
    }
}

#[test]
fn per_pair_scores_are_those_of_the_package_and_average_to_the_mean() {
    let (model, pairs) = (model(), pairs("pairs.jsonl"));
    let options = Options { per_pair: true, ..Options::default() };
    let found = attribute(&Task::new(&model, &pairs, Metric::LogitDiff), IG5, options).unwrap();
    let text = std::fs::read_to_string(fixture("eap/eap-ig-inputs-5-logit-diff-per-pair.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    for (summary, scores) in found.pairs.iter().zip(found.per_pair.as_ref().unwrap().outer_iter()) {
        for (edge, &score) in found.mean.wiring().edges().zip(scores) {
            let expected = -file[&summary.id][edge.to_string()].as_f64().unwrap() as f32;
            assert!((score - expected).abs() < 1e-5 * 10.0, "{} {edge}: {score} {expected}", summary.id);
        }
    }
    for pair in &pairs {
        let alone =
            score_pair(&Task::new(&model, &pairs, Metric::LogitDiff), pair, IG5, Options::default()).unwrap();
        let at = found.pairs.iter().position(|p| p.id == pair.id).unwrap();
        assert_eq!(
            alone.scores.values(),
            found.per_pair.as_ref().unwrap().row(at).to_vec(),
            "a pair's scores do not depend on the others"
        );
    }
}

/// The same model without the shortcut: scores then come from the reading sites themselves.
struct Plain(Qwen);

impl HookedModel for Plain {
    fn wiring(&self) -> Wiring {
        self.0.wiring()
    }
    fn device(&self) -> Device {
        self.0.device()
    }
    fn run(&self, batch: &Batch, hook: &mut dyn Hook) -> Tensor<3> {
        self.0.run(batch, hook)
    }
}

#[test]
fn the_cheap_gradients_are_the_direct_ones() {
    for name in ["eap/model", "qwen3", "llama-untied"] {
        let model = load(&fixture(name));
        let pairs = pairs("pairs.jsonl");
        let pair = &pairs.as_slice()[0];
        let score = |m: &dyn HookedModel| {
            score_pair(&Task::new(m, &pairs, Metric::LogitDiff), pair, IG5, Options::default())
                .unwrap()
                .scores
        };
        let (cheap, direct) = (score(&model), score(&Plain(model.clone())));
        let error = apart(cheap.values(), direct.values());
        assert!(error < TOLERANCE, "{name}: {error:e}");
    }
}

/// Recomputed activations are the same numbers in the same order, so only sums over runs may differ.
#[test]
fn recomputed_blocks_give_the_stored_gradients() {
    let activations = Method::EapIgActivations { steps: 2, endpoint: Endpoint::Right };
    for name in ["eap/model", "qwen3"] {
        let model = load(&fixture(name));
        let pairs = pairs("pairs.jsonl");
        let pair = &pairs.as_slice()[0];
        for (method, metric) in
            [(IG5, Metric::LogitDiff), (Method::CleanCorrupt, Metric::Kl), (activations, Metric::ProbDiff)]
        {
            let score = |recompute| {
                let options = Options { recompute, ..Options::default() };
                score_pair(&Task::new(&model, &pairs, metric.clone()), pair, method, options).unwrap().scores
            };
            let error = apart(score(true).values(), score(false).values());
            assert!(error < TOLERANCE, "{name} {method}: {error:e}");
        }
    }
    let plain = Plain(model());
    let options = Options { recompute: true, ..Options::default() };
    let pairs = pairs("pairs.jsonl");
    let message =
        attribute(&Task::new(&plain, &pairs, Metric::LogitDiff), IG5, options).unwrap_err().to_string();
    assert!(message.contains("block by block"), "{message}");
}

#[test]
fn exact_patching_from_the_middle_is_patching_from_the_start() {
    let (model, pairs) = (model(), pairs("pairs.jsonl"));
    let pair = &pairs.as_slice()[0];
    let score = |m: &dyn HookedModel| {
        score_pair(&Task::new(m, &pairs, Metric::LogitDiff), pair, Method::Exact, Options::default())
            .unwrap()
            .scores
    };
    let error = apart(score(&model).values(), score(&Plain(model.clone())).values());
    assert!(error < TOLERANCE, "{error:e}");
}

/// Attention is causal, so what a metric reads at a position depends on the prompt up to there alone: scores
/// over several positions are the sums (for NLL) or means (for KL) of scores of cut prompts.
#[test]
fn scores_over_positions_are_those_of_the_prompts_cut_there() {
    let model = model();
    let text =
        r#"{"clean_ids":[5,9,11,3],"corrupt_ids":[6,9,12,3],"answer_ids":[7,2,13],"distractor_ids":[8,4,1]}"#;
    let at = |positions| PairsReader::new(&IdsOnly).positions(positions).parse(text).unwrap();
    for (positions, metric) in [
        (hooks::Positions::Answer, Metric::Nll),
        (hooks::Positions::Answer, Metric::LogitDiff),
        (hooks::Positions::All, Metric::Kl),
        (hooks::Positions::All, Metric::ProbDiff),
    ] {
        let whole = at(positions);
        let pair = &whole.as_slice()[0];
        let (n, seq) = (pair.n_targets(), pair.clean.len());
        let cut = pair.targets().enumerate().map(|(i, target)| {
            let end = seq - n + i + 1;
            hooks::Pair {
                id: i.to_string(),
                clean: pair.clean[..end].to_vec(),
                corrupt: pair.corrupt[..end].to_vec(),
                target: target.clone(),
                earlier: Vec::new(),
            }
        });
        // Where the next token is the same on both sides a difference is 0, and such a pair alone is refused.
        let of_difference = matches!(metric, Metric::LogitDiff | Metric::ProbDiff);
        let cut: Vec<hooks::Pair> = cut.filter(|p| !of_difference || !p.target.is_void()).collect();
        let n_void = n - cut.len();
        let cut = Pairs::new(cut).unwrap();
        let of = |pairs: &Pairs| {
            attribute(&Task::new(&model, pairs, metric.clone()), IG5, Options::default()).unwrap()
        };
        let (whole, parts) = (of(&whole), of(&cut));
        let times = if metric == Metric::Nll { n as f64 } else { (n - n_void) as f64 / n as f64 };
        let mean = |f: fn(&attribution::PairSummary) -> f64, s: &Scores| {
            s.pairs.iter().map(f).sum::<f64>() / s.pairs.len() as f64
        };
        for side in [|p: &attribution::PairSummary| p.clean, |p: &attribution::PairSummary| p.corrupt] {
            let (whole, parts) = (mean(side, &whole), mean(side, &parts) * times);
            assert!((whole - parts).abs() < 1e-5 * whole.abs().max(1.0), "{metric}: {whole} {parts}");
        }
        let parts: Vec<f32> = parts.mean.values().iter().map(|v| (f64::from(*v) * times) as f32).collect();
        let error = apart(whole.mean.values(), &parts);
        assert!(error < TOLERANCE, "{metric}: {error:e}");
    }
}

#[test]
fn integrated_gradients_become_complete_and_the_midpoint_rule_is_best() {
    let error = |steps, endpoint| {
        scores(Metric::LogitDiff, Method::EapIgInputs { steps, endpoint }).completeness_error()
    };
    let (coarse, fine) = (error(8, Endpoint::Left), error(128, Endpoint::Left));
    // First order in 1/m: sixteen times the steps, near a sixteenth of the error.
    assert!(fine < coarse / 6.0, "left rule: {coarse} at 8 steps, {fine} at 128");
    let midpoint = error(128, Endpoint::Midpoint);
    assert!(midpoint < fine / 4.0 && midpoint < 2e-3, "midpoint rule: {midpoint}, left rule {fine}");
    // Left and right differ by the end points alone: (f'(1) - f'(0)) / m.
    let [left, right, middle] = [Endpoint::Left, Endpoint::Right, Endpoint::Midpoint]
        .map(|e| scores(Metric::LogitDiff, Method::EapIgInputs { steps: 512, endpoint: e }));
    for i in 0..left.mean.values().len() {
        let mean = (left.mean.values()[i] + right.mean.values()[i]) / 2.0;
        assert!((mean - middle.mean.values()[i]).abs() < 2e-3);
    }
}

/// Moves one edge a fraction of the way from clean to corrupt, by hand.
struct Nudge {
    edge: Edge,
    last: usize,
    add: Tensor<3>,
}

impl Hook for Nudge {
    fn wants(&self, site: Site) -> bool {
        use hooks::{Port, Reader};
        match (self.edge.to, site) {
            (Reader::Head(h, Port::Q), Site::Heads(Heads::QueryIn(l))) => l == h.layer,
            (Reader::Head(h, Port::K), Site::Heads(Heads::KeyInUngrouped(l))) => l == h.layer,
            (Reader::Head(h, Port::V), Site::Heads(Heads::ValueInUngrouped(l))) => l == h.layer,
            (Reader::Mlp(m), Site::Stream(Stream::MlpIn(l))) => l == m,
            (Reader::Logits, Site::Stream(Stream::ResidPost(l))) => l == self.last,
            _ => false,
        }
    }
    fn on_stream(&mut self, _: Stream, x: Tensor<3>) -> Tensor<3> {
        x + self.add.clone()
    }
    fn on_heads(&mut self, _: Heads, x: Tensor<4>) -> Tensor<4> {
        let hooks::Reader::Head(head, _) = self.edge.to else { unreachable!() };
        let [b, _, t, d] = x.dims();
        let x = x.clone() + x.zeros_like();
        let span = [0..b, head.head..head.head + 1, 0..t, 0..d];
        let patched = x.clone().slice(span.clone()) + self.add.clone().unsqueeze_dim(1);
        x.slice_assign(span, patched)
    }
}

/// What a writer puts out on a prompt, `[1, seq, d_model]`.
fn output(model: &Qwen, ids: &[u32], writer: Writer) -> Tensor<3> {
    let site: Site = match writer {
        Writer::Input => Stream::Embed.into(),
        Writer::Head(h) => Heads::Write(h.layer).into(),
        Writer::Mlp(l) => Stream::MlpOut(l).into(),
    };
    let mut seen = hooks::Recorder::new([site]);
    model.run(&Batch::new(&[ids.to_vec()]).unwrap(), &mut seen);
    match (writer, site) {
        (Writer::Head(h), Site::Heads(site)) => {
            let [b, _, t, d] = seen.heads(site).dims();
            seen.heads(site).slice([0..b, h.head..h.head + 1, 0..t, 0..d]).reshape([b, t, d])
        }
        (_, Site::Stream(site)) => seen.stream(site),
        _ => unreachable!(),
    }
}

#[test]
fn an_eap_score_is_the_derivative_of_the_metric_along_its_edge() {
    // Identity iv: S(u -> v) = d metric / d mask_uv at mask 0, by central differences on every kind of edge.
    let (model, pairs) = (model(), pairs("pairs.jsonl"));
    let pair = &pairs.as_slice()[0];
    let scores =
        score_pair(&Task::new(&model, &pairs, Metric::LogitDiff), pair, Method::Eap, Options::default())
            .unwrap()
            .scores;
    let largest = scores.values().iter().fold(0f32, |m, v| m.max(v.abs()));
    for name in [
        "input->a0.h1<q>",
        "input->a0.h2<k>",
        "a0.h3->a1.h0<v>",
        "m0->a1.h2<q>",
        "a0.h0->m0",
        "a1.h1->m1",
        "m0->logits",
        "a1.h3->logits",
        "input->logits",
    ] {
        let edge: Edge = name.parse().unwrap();
        let delta = output(&model, &pair.corrupt, edge.from) - output(&model, &pair.clean, edge.from);
        let metric = |mask: f64| {
            let mut nudge = Nudge { edge, last: 1, add: delta.clone() * mask };
            let batch = Batch::new(std::slice::from_ref(&pair.clean)).unwrap().rows(hooks::Rows::Last);
            let logits = model.run(&batch, &mut nudge);
            f64::from(Metric::LogitDiff.values(logits, &[&pair.target], None).into_scalar::<f32>())
        };
        // Step 1e-2: truncation ~1e-4 of the third derivative, rounding 1e-6 / 2e-2 of the metric.
        let slope = (metric(1e-2) - metric(-1e-2)) / 2e-2;
        let score = f64::from(*scores.get(edge).unwrap());
        assert!((slope - score).abs() < 2e-3 * f64::from(largest), "{name}: slope {slope}, score {score}");
    }
}

#[test]
fn grouped_scores_are_sums_over_each_group() {
    let (model, pairs) = (model(), pairs("pairs.jsonl"));
    let ungrouped =
        attribute(&Task::new(&model, &pairs, Metric::LogitDiff), IG5, Options::default()).unwrap().mean;
    let options = Options { key_value: KeyValue::Grouped, ..Options::default() };
    let grouped = attribute(&Task::new(&model, &pairs, Metric::LogitDiff), IG5, options).unwrap().mean;
    assert_eq!(grouped.values().len(), model.wiring().with(KeyValue::Grouped).n_edges());
    for (edge, &sum) in grouped.iter() {
        let members: Vec<f32> = match edge.to {
            hooks::Reader::Head(h, port) if port != hooks::Port::Q => (0..4)
                .filter(|&head| model.wiring().kv_head(head) == h.head)
                .map(|head| {
                    let to = hooks::Reader::Head(hooks::Head { layer: h.layer, head }, port);
                    *ungrouped.get(Edge { from: edge.from, to }).unwrap()
                })
                .collect(),
            _ => vec![*ungrouped.get(edge).unwrap()],
        };
        assert!((members.iter().sum::<f32>() - sum).abs() < 1e-5, "{edge}");
    }
}

#[test]
fn source_only_scores_have_no_edge_into_a_head() {
    let options = Options { source_only: true, ..Options::default() };
    let scores =
        attribute(&Task::new(&model(), &pairs("pairs.jsonl"), Metric::LogitDiff), IG5, options).unwrap().mean;
    let full = self::scores(Metric::LogitDiff, IG5).mean;
    for (edge, &score) in scores.iter() {
        let into_head = matches!(edge.to, hooks::Reader::Head(..));
        assert_eq!(score, if into_head { 0.0 } else { *full.get(edge).unwrap() });
    }
}

#[test]
fn bad_settings_and_pairs_are_errors() {
    let (model, pairs) = (model(), pairs("pairs.jsonl"));
    let zero = Method::EapIgInputs { steps: 0, endpoint: Endpoint::Left };
    assert!(attribute(&Task::new(&model, &pairs, Metric::LogitDiff), zero, Options::default()).is_err());
    let text = r#"{"clean_ids":[1,2],"corrupt_ids":[1,3],"id":"bare"}"#;
    let bare = Pairs::parse(text, &IdsOnly).unwrap();
    let message = attribute(&Task::new(&model, &bare, Metric::LogitDiff), IG5, Options::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("pair bare: missing `answer`"), "{message}");
    assert!(attribute(&Task::new(&model, &bare, Metric::Kl), IG5, Options::default()).is_ok());
}

/// Attention weights add up to 1, so a value bias is a constant of each head's output. Moved behind the output
/// projection as a bias of its own, it leaves the model's function and every score as they are.
#[test]
fn a_bias_of_the_output_projection_belongs_to_no_head() {
    let (mut before, mut behind) = (model(), model());
    let (n_heads, n_kv_heads) = (before.config.n_heads, before.config.n_kv_heads);
    for (a, b) in before.blocks.iter_mut().zip(&mut behind.blocks) {
        let d_kv = a.value.dims()[0];
        let d_head = d_kv / n_kv_heads;
        let shift: Vec<f32> = (0..d_kv).map(|i| 0.5 * (i as f32).sin()).collect();
        let of_head = |h: usize| &shift[h / (n_heads / n_kv_heads) * d_head..][..d_head];
        let heads: Vec<f32> = (0..n_heads).flat_map(|h| of_head(h).to_vec()).collect();
        let device = a.value.device();
        let shift = Tensor::<1>::from_floats(&shift[..], &device);
        let moved = b.output.clone().matmul(Tensor::<1>::from_floats(&heads[..], &device).unsqueeze_dim(1));
        let bias = a.biases[Projection::Value as usize].take();
        a.biases[Projection::Value as usize] = Some(match bias {
            Some(bias) => bias + shift,
            None => shift,
        });
        b.biases[Projection::Output as usize] = Some(moved.squeeze_dim(1));
    }
    let pairs = pairs("pairs.jsonl");
    for method in [IG5, Method::EapIgActivations { steps: 3, endpoint: Endpoint::Right }, Method::Exact] {
        let scores = |model: &Qwen| {
            let task = Task::new(model, &pairs, Metric::LogitDiff);
            attribute(&task, method, Options::default()).unwrap().mean
        };
        let (a, b) = (scores(&before), scores(&behind));
        // Two orders of the same f32 sums, as between the peer and us.
        let off = apart(a.values(), b.values());
        assert!(off < TOLERANCE, "{method}: {off}");
    }
}

/// Pairs, batches and draws that threads share out have the bits, and the order, of one thread.
#[test]
fn threads_change_no_bit() {
    let model = toy::base(&Device::flex()).unwrap();
    let pairs = toy::swap_pairs(toy::Mix::HARD, toy::Place::NextNumber, 3, 11).unwrap();
    let found = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert_eq!(model.at_once(), threads);
            let task = Task::new(&model, &pairs, Metric::LogitDiff).batch_size(3);
            let options = Options { per_pair: true, ..Options::default() };
            let scores = attribute(&task, IG5, options).unwrap();
            let circuit = circuits::Circuit::top(&scores.mean, 100).unwrap().pruned();
            let null = circuit.null(circuits::Null::LayerMatched, 0).pruned();
            let measured =
                circuits::faithfulness_of(&task, &[&circuit, &null], &ablation::Baseline::Corrupt).unwrap();
            let ids: Vec<String> = scores.pairs.iter().map(|pair| pair.id.clone()).collect();
            let rows = scores.per_pair.clone().unwrap().into_iter().collect::<Vec<f32>>();
            let half = rows.len() / 11 * 5;
            let side = |at: std::ops::Range<usize>, ids: &[String]| circuits::PerPair {
                values: rows[at].to_vec(),
                ids: ids.to_vec(),
            };
            let how = circuits::Emergence::new(circuits::Selection::Top(100));
            let (before, after) = (side(0..half, &ids[..5]), side(half..2 * half, &ids[5..10]));
            (scores, measured, how.test(task.wiring(), &before, &after).unwrap())
        })
    };
    let expected = found(1);
    assert!(expected.0.pairs.iter().map(|pair| &pair.id).eq(pairs.iter().map(|pair| &pair.id)));
    for threads in [2, 5] {
        let found = found(threads);
        assert!(found.0 == expected.0, "scores");
        assert_eq!(found.1, expected.1);
        assert_eq!(found.2, expected.2);
    }
}
