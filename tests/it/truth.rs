//! Every scoring method against circuits that are known because somebody wrote them: AND and OR gates by hand,
//! and programs compiled by Tracr (from the data beside the project). Tables of areas under the ROC curve.

use std::collections::BTreeSet;

use attribution::{Endpoint, Method, Options, attribute};
use burn::tensor::{Device, Tensor};
use circuits::{Circuit, auroc, mib_roc};
use hooks::{
    Batch, Edge, EdgeMap, Heads, HookedModel, Metric, Pair, Pairs, Port, Reader, Recorder, Stream, Target,
    Task, Writer,
};
use serde_json::Value;
use test_models::{Affine, Weights, Written, WrittenBlock, WrittenHead};

use crate::fixtures::{Oracle, shared, values};

/// The methods in the order of every table here.
const METHODS: [Method; 5] = [
    Method::Eap,
    Method::EapIgInputs { steps: 5, endpoint: Endpoint::Left },
    Method::EapIgActivations { steps: 5, endpoint: Endpoint::Right },
    Method::CleanCorrupt,
    Method::Exact,
];

/// The area of each method on `pairs`.
fn areas(model: &Written, pairs: &Pairs, truth: &Circuit) -> [f64; 5] {
    METHODS.map(|method| {
        let scores =
            attribute(&Task::new(model, pairs, Metric::LogitDiff), method, Options::default()).unwrap().mean;
        auroc(&scores, truth).unwrap()
    })
}

fn pair(id: &str, clean: &[u32], corrupt: &[u32], answer: u32, distractor: Option<u32>) -> Pair {
    let target = Target { answers: vec![answer], distractors: distractor.into_iter().collect() };
    Pair { id: id.into(), clean: clean.to_vec(), corrupt: corrupt.to_vec(), target, earlier: vec![] }
}

// ------------------------------------------------------------------------------------------------ gates

/// One block of three heads and one neuron over bits a and b (token a + 2 b). Heads 0 and 1 carry a and b to the
/// neuron, which makes the gate; head 2 writes what nobody reads. Width: a, b, a', b', gate, decoy.
fn gate(and: bool) -> Written {
    let head = |from: usize, to: usize| WrittenHead {
        q: Affine::zeros(6, 1),
        k: Affine::zeros(6, 1),
        v: Affine::zeros(6, 1).with(&[(from, 0, 1.0)]),
        o: Affine::zeros(1, 6).with(&[(0, to, 1.0)]),
    };
    // AND is relu(a' + b' - 1); OR is 1 - relu(1 - a' - b').
    let sign = if and { 1.0 } else { -1.0 };
    let mut up = Affine::zeros(6, 1).with(&[(2, 0, sign), (3, 0, sign)]);
    up.bias[0] = -sign;
    let mut down = Affine::zeros(1, 6).with(&[(0, 4, sign)]);
    down.bias[4] = if and { 0.0 } else { 1.0 };
    let mut tokens = vec![0.0; 4 * 6];
    for id in 0..4 {
        (tokens[id * 6], tokens[id * 6 + 1]) = ((id % 2) as f32, (id / 2) as f32);
    }
    let block = WrittenBlock { heads: vec![head(0, 2), head(1, 3), head(0, 5)], up, down };
    let weights = Weights {
        d_model: 6,
        causal: true,
        tokens,
        positions: vec![0.0; 6],
        blocks: vec![block],
        unembed: Affine::zeros(6, 1).with(&[(4, 0, 1.0)]),
    };
    Written::new(&weights, &Device::flex())
}

#[test]
fn gates_compute_their_truth_tables() {
    for (and, table) in [(true, [0.0, 0.0, 0.0, 1.0]), (false, [0.0, 1.0, 1.0, 1.0])] {
        let batch = Batch::new(&[vec![0], vec![1], vec![2], vec![3]]).unwrap();
        assert_eq!(values(gate(and).run(&batch, &mut ())), table);
    }
}

#[test]
fn which_methods_see_through_gates() {
    // Both bits go from clean to corrupt. A method that looks at one edge (exact) or one gradient (EAP) is blind
    // where the other bit holds the gate: then only m0->logits has a score, four true edges tie with all false
    // ones, and the area is (1 + 4/2) / 5 = 0.6. Methods that look along the way see every edge.
    let edges = ["input->a0.h0<v>", "input->a0.h1<v>", "a0.h0->m0", "a0.h1->m0", "m0->logits"];
    let (seen, blind) = (1.0, 0.6);
    let cases = [
        // gate, clean, corrupt,   eap   ig-in  ig-act  both   exact
        (true, 3, 0, [seen, seen, seen, seen, seen]),
        (true, 0, 3, [blind, seen, seen, seen, blind]),
        (false, 3, 0, [blind, seen, seen, seen, blind]),
        (false, 0, 3, [seen, seen, seen, seen, seen]),
    ];
    for (and, clean, corrupt, expected) in cases {
        let model = gate(and);
        let truth = Circuit::of(model.wiring(), edges.map(|e| e.parse::<Edge>().unwrap())).unwrap();
        let pairs = Pairs::new(vec![pair("bits", &[clean], &[corrupt], 0, None)]).unwrap();
        let found = areas(&model, &pairs, &truth);
        let name = if and { "AND" } else { "OR" };
        eprintln!("{name} {clean} -> {corrupt}: {found:.2?}");
        for (method, (found, expected)) in METHODS.iter().zip(found.iter().zip(expected)) {
            assert!((found - expected).abs() < 1e-9, "{name} {clean}->{corrupt} {method}: {found}");
        }
    }
}

// ------------------------------------------------------------------------------------------------ Tracr

/// A compiled program, its own cases, and the labels of its output.
struct Program {
    model: Written,
    weights: Weights,
    /// Token ids, the decoded last output, and the final residual stream.
    cases: Vec<(Vec<u32>, Value, Vec<f32>)>,
    /// The output's labels after the colon; none where it is one number.
    outputs: Vec<String>,
}

fn tracr(name: &str, output: &str) -> Program {
    let dir = shared("models/tracr");
    let text = std::fs::read_to_string(dir.join(format!("{name}.json"))).unwrap();
    let spec: Value = serde_json::from_str(&text).unwrap();
    let file = Oracle::open(&dir.join(format!("{name}.safetensors")));
    let floats = |key: String| file.floats(&key).0;
    let affine =
        |key: String| Affine { weight: floats(format!("{key}.w")), bias: floats(format!("{key}.b")) };
    let block = |l: u64| {
        let part = |part: &str| affine(format!("layer_{l}.{part}"));
        let (q, k, v) = (part("attn.query"), part("attn.key"), part("attn.value"));
        let head = WrittenHead { q, k, v, o: part("attn.linear") };
        WrittenBlock { heads: vec![head], up: part("mlp.linear_1"), down: part("mlp.linear_2") }
    };
    let d_model = spec["d_model"].as_u64().unwrap() as usize;
    let labels: Vec<&str> =
        spec["residual_labels"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    let read: Vec<usize> = (0..d_model).filter(|&i| labels[i].split(':').next() == Some(output)).collect();
    let mut unembed = Affine::zeros(d_model, read.len());
    read.iter().enumerate().for_each(|(to, &from)| unembed.weight[from * read.len() + to] = 1.0);
    let weights = Weights {
        d_model,
        causal: spec["causal"].as_bool().unwrap(),
        tokens: floats("token_embed.embeddings".into()),
        positions: floats("pos_embed.embeddings".into()),
        blocks: (0..spec["num_layers"].as_u64().unwrap()).map(block).collect(),
        unembed,
    };
    let case = |case: &Value| {
        let list = |key: &str| case[key].as_array().unwrap().clone();
        let ids = list("ids").iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let resid = list("residual_final").iter().flat_map(|row| row.as_array().unwrap().clone()).collect();
        let resid: Vec<Value> = resid;
        let resid = resid.iter().map(|x| x.as_f64().unwrap() as f32).collect();
        (ids, list("decoded").last().unwrap().clone(), resid)
    };
    Program {
        model: Written::new(&weights, &Device::flex()),
        cases: spec["cases"].as_array().unwrap().iter().map(case).collect(),
        outputs: read.iter().filter_map(|&i| Some(labels[i].split_once(':')?.1.to_string())).collect(),
        weights,
    }
}

impl Program {
    /// Cases of one length whose last outputs differ, each against each.
    fn pairs(&self) -> Pairs {
        let logit = |value: &Value| {
            let text = value.as_i64().map_or_else(|| value.to_string(), |n| n.to_string());
            self.outputs.iter().position(|label| *label == text).map(|i| i as u32)
        };
        let mut pairs = Vec::new();
        for (i, (clean, answer, _)) in self.cases.iter().enumerate() {
            for (j, (corrupt, other, _)) in self.cases.iter().enumerate() {
                if clean.len() == corrupt.len() && clean.len() > 2 && answer != other && pairs.len() < 24 {
                    let (right, wrong) = (logit(answer), logit(other));
                    pairs.push(pair(&format!("{i}-{j}"), clean, corrupt, right.unwrap_or(0), wrong));
                }
            }
        }
        Pairs::new(pairs).unwrap()
    }

    /// What each writer puts out on a prompt, `[seq * d_model]`.
    fn outputs(&self, ids: &[u32]) -> Vec<Vec<f32>> {
        let wiring = self.model.wiring();
        let layers = 0..wiring.n_layers;
        let sites = layers.clone().flat_map(|l| [Heads::Write(l).into(), Stream::MlpOut(l).into()]);
        let mut seen = Recorder::new(sites.chain([Stream::Embed.into()]));
        self.model.run(&Batch::new(&[ids.to_vec()]).unwrap(), &mut seen);
        let flat = |x: Tensor<3>| values(x);
        let mut all = vec![flat(seen.stream(Stream::Embed))];
        for l in layers {
            all.push(values(seen.heads(Heads::Write(l))));
            all.push(flat(seen.stream(Stream::MlpOut(l))));
        }
        all
    }

    /// The circuit that the weights themselves say: `u -> v` is in it if some number of the residual stream that
    /// `u` writes differently on a clean and its corrupt prompt is multiplied by a weight of `v` that is not
    /// zero, and what `v` feeds is in it too. No gradient and no patch is used.
    fn truth(&self, pairs: &Pairs) -> Circuit {
        let (wiring, d) = (self.model.wiring(), self.weights.d_model);
        let mut varies = vec![BTreeSet::new(); wiring.n_writers()];
        for pair in pairs {
            let (clean, corrupt) = (self.outputs(&pair.clean), self.outputs(&pair.corrupt));
            for (varies, (a, b)) in varies.iter_mut().zip(clean.iter().zip(&corrupt)) {
                varies.extend((0..a.len()).filter(|&i| (a[i] - b[i]).abs() > 1e-4).map(|i| i % d));
            }
        }
        let rows = |a: &Affine| -> BTreeSet<usize> {
            let n_out = a.bias.len();
            (0..d).filter(|i| a.weight[i * n_out..(i + 1) * n_out].iter().any(|w| w.abs() > 1e-6)).collect()
        };
        let reads = |reader: Reader| match reader {
            Reader::Logits => rows(&self.weights.unembed),
            Reader::Mlp(l) => rows(&self.weights.blocks[l].up),
            Reader::Head(h, port) => {
                let head = &self.weights.blocks[h.layer].heads[h.head];
                rows(match port {
                    Port::Q => &head.q,
                    Port::K => &head.k,
                    Port::V => &head.v,
                })
            }
        };
        let mut live: BTreeSet<Writer> = BTreeSet::new();
        let mut kept = EdgeMap::filled(wiring, false);
        for index in (0..wiring.n_readers()).rev() {
            let reader = wiring.reader(index);
            let owner = match reader {
                Reader::Logits => None,
                Reader::Mlp(l) => Some(Writer::Mlp(l)),
                Reader::Head(h, _) => Some(Writer::Head(h)),
            };
            if owner.is_some_and(|owner| !live.contains(&owner)) {
                continue;
            }
            let reads = reads(reader);
            for (u, varies) in varies.iter().enumerate().take(wiring.n_writers_before(reader)) {
                if !varies.is_disjoint(&reads) {
                    live.insert(wiring.writer(u));
                    *kept.get_mut(Edge { from: wiring.writer(u), to: reader }).unwrap() = true;
                }
            }
        }
        Circuit::new(kept)
    }
}

/// Programs with the name of their output in the residual stream.
const PROGRAMS: [(&str, &str); 4] = [
    ("frac_prevs", "frac_prevs_1"),
    ("hist", "hist_10"),
    ("reverse", "reverse_4"),
    ("sort_unique", "sort_12"),
];

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn compiled_programs_run_as_tracr_runs_them() {
    for (name, output) in PROGRAMS {
        let program = tracr(name, output);
        let last = Stream::ResidPost(program.model.wiring().n_layers - 1);
        for (ids, _, expected) in &program.cases {
            let mut seen = Recorder::new([last.into()]);
            program.model.run(&Batch::new(std::slice::from_ref(ids)).unwrap(), &mut seen);
            for (found, expected) in values(seen.stream(last)).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{name} {ids:?}: {found} {expected}");
            }
        }
    }
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn which_methods_find_compiled_programs() {
    for (name, output) in PROGRAMS {
        let program = tracr(name, output);
        let pairs = program.pairs();
        let truth = program.truth(&pairs);
        let found = areas(&program.model, &pairs, &truth);
        let options = Options::default();
        let exact = attribute(&Task::new(&program.model, &pairs, Metric::LogitDiff), Method::Exact, options)
            .unwrap()
            .mean;
        let edges: Vec<String> = truth.edges().map(|e| e.to_string()).collect();
        let mib = mib_roc(&exact, &truth).unwrap().area;
        eprintln!(
            "{name}: {} pairs, {} of {} edges, areas {found:.3?}, MIB's of exact {mib:.3}: {edges:?}",
            pairs.len(),
            truth.n_edges(),
            truth.wiring().n_edges()
        );
        if name == "frac_prevs" {
            // The circuit that the ACDC paper gives for this program under resampling.
            assert_eq!(edges, ["input->m0", "m0->a1.h0<v>", "a1.h0->logits"]);
        }
        assert_eq!(found[4], 1.0, "{name}: exact patching finds what the weights say");
    }
}
