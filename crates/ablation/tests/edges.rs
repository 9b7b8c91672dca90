//! Running a circuit, against identities and against a plain loop over writers.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::sync::Arc;

use ablation::{Baseline, EdgeFill, EdgePatch, EdgePlan, WriterMeans};
use burn::tensor::Tensor;
use common::{batches, largest_gap, pairs, read, run, toy};
use hooks::{Batch, EdgeMap, Heads, Hook, HookedModel, KeyValue, Recorder, Site, Stream, Wiring, Writer};

const BOTH: [KeyValue; 2] = [KeyValue::Ungrouped, KeyValue::Grouped];

fn patched(
    model: &dyn HookedModel,
    clean: &Batch,
    corrupt: &Batch,
    circuit: &EdgeMap<bool>,
    baseline: &Baseline,
) -> Vec<f32> {
    let plan = EdgePlan::new(&[circuit]).unwrap();
    let fill = EdgeFill::new(model, baseline, corrupt, &[&plan]).unwrap();
    run(model, clean, &mut EdgePatch::new(&plan, &fill))
}

/// Keeps about `share` of the edges, by a fixed rule.
fn some(wiring: Wiring, share: usize, seed: usize) -> EdgeMap<bool> {
    let kept = (0..wiring.n_edges()).map(|i| (i * 7919 + seed * 104_729 + i * i * 31) % 100 < share);
    EdgeMap::from_values(wiring, kept.collect())
}

#[test]
fn full_circuit_is_clean_and_empty_is_corrupt() {
    for key_value in BOTH {
        let model = toy(1, key_value);
        let (clean, corrupt) = batches(&pairs(5));
        let all = EdgeMap::filled(model.wiring(), true);
        let none = EdgeMap::filled(model.wiring(), false);
        let baseline = &Baseline::Corrupt;
        assert_eq!(patched(&model, &clean, &corrupt, &all, baseline), run(&model, &clean, &mut ()));
        assert_eq!(patched(&model, &clean, &corrupt, &none, baseline), run(&model, &corrupt, &mut ()));
        // The same through the sums: one edge into the last MLP's side of the graph changes which form is used.
        let nearly: EdgeMap<f32> = all.map(|_| 0.999_999);
        let plan = EdgePlan::weighted(&[&nearly]).unwrap();
        let fill = EdgeFill::new(&model, baseline, &corrupt, &[&plan]).unwrap();
        let gap = largest_gap(
            &run(&model, &clean, &mut EdgePatch::new(&plan, &fill)),
            &run(&model, &clean, &mut ()),
        );
        assert!(gap > 0.0 && gap < 1e-3, "{gap}");
    }
}

/// The oracle: EAP-IG's own form. Every site of every layer, every reader a plain sum over all writers.
struct Plain<'a> {
    circuit: &'a EdgeMap<bool>,
    fills: Vec<Tensor<3>>,
    current: Vec<Tensor<3>>,
}

impl Plain<'_> {
    fn input(&self, reader: hooks::Reader, x: Tensor<3>) -> Tensor<3> {
        let w = self.circuit.wiring();
        (0..w.n_writers_before(reader)).fold(x, |x, u| {
            let kept = self.circuit.values()[w.offset(reader) + u];
            if kept { x } else { x + self.fills[u].clone() - self.current[u].clone() }
        })
    }
    fn ports(&self, layer: usize, port: hooks::Port, x: Tensor<4>) -> Tensor<4> {
        let heads = x.clone().split(1, 1).into_iter().enumerate().map(|(head, x)| {
            let reader = hooks::Reader::Head(hooks::Head { layer, head }, port);
            self.input(reader, x.squeeze_dim(1)).unsqueeze_dim(1)
        });
        Tensor::cat(heads.collect(), 1)
    }
}

impl Hook for Plain<'_> {
    fn wants(&self, site: Site) -> bool {
        let ungrouped = self.circuit.wiring().key_value == KeyValue::Ungrouped;
        match site {
            Site::Stream(Stream::Embed | Stream::MlpIn(_) | Stream::MlpOut(_)) => true,
            Site::Stream(Stream::ResidPost(l)) => l + 1 == self.circuit.wiring().n_layers,
            Site::Heads(Heads::QueryIn(_) | Heads::Write(_)) => true,
            Site::Heads(Heads::KeyIn(_) | Heads::ValueIn(_)) => !ungrouped,
            Site::Heads(Heads::KeyInUngrouped(_) | Heads::ValueInUngrouped(_)) => ungrouped,
            _ => false,
        }
    }
    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        match site {
            Stream::MlpIn(l) => self.input(hooks::Reader::Mlp(l), x),
            Stream::ResidPost(_) => self.input(hooks::Reader::Logits, x),
            _ => {
                self.current.push(x.clone());
                x
            }
        }
    }
    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        match site {
            Heads::QueryIn(l) => self.ports(l, hooks::Port::Q, x),
            Heads::KeyIn(l) | Heads::KeyInUngrouped(l) => self.ports(l, hooks::Port::K, x),
            Heads::ValueIn(l) | Heads::ValueInUngrouped(l) => self.ports(l, hooks::Port::V, x),
            _ => {
                self.current.extend(x.clone().split(1, 1).into_iter().map(|x| x.squeeze_dim(1)));
                x
            }
        }
    }
}

/// What every writer writes on `batch`.
fn writers(model: &dyn HookedModel, batch: &Batch) -> Vec<Tensor<3>> {
    let w = model.wiring();
    let sites = (0..w.n_layers).flat_map(|l| [Site::from(Heads::Write(l)), Stream::MlpOut(l).into()]);
    let mut seen = Recorder::new(sites.chain([Stream::Embed.into()]));
    model.run(batch, &mut seen);
    w.writers()
        .map(|writer| match writer {
            Writer::Input => seen.stream(Stream::Embed),
            Writer::Mlp(l) => seen.stream(Stream::MlpOut(l)),
            Writer::Head(h) => seen.heads(Heads::Write(h.layer)).narrow(1, h.head, 1).squeeze_dim(1),
        })
        .collect()
}

#[test]
fn every_fill_agrees_with_a_plain_loop_at_every_size() {
    for key_value in BOTH {
        let model = toy(2, key_value);
        let (w, pairs) = (model.wiring(), pairs(4));
        let (clean, corrupt) = batches(&pairs);
        let means = Arc::new(WriterMeans::measure(&model, std::slice::from_ref(&clean)).unwrap());
        let recorded = writers(&model, &corrupt);
        let shape = recorded[0].dims();
        let of = |f: &dyn Fn(Writer) -> Tensor<2>| {
            w.writers().map(|u| f(u).unsqueeze::<3>().expand(shape)).collect()
        };
        let fills: [(Baseline, Vec<Tensor<3>>); 4] = [
            (Baseline::Corrupt, recorded.clone()),
            (Baseline::Zero, recorded.iter().map(Tensor::zeros_like).collect()),
            (Baseline::Mean(means.clone()), of(&|u| means.overall(u))),
            (Baseline::MeanPositional(means.clone()), of(&|u| means.positional(u))),
        ];
        for (baseline, fills) in fills {
            for share in [0, 5, 20, 60, 95, 100] {
                // Dead ends are pruned by nobody here: a head without inputs reads its base.
                let circuit = some(w, share, 3);
                let mut oracle = Plain { circuit: &circuit, fills: fills.clone(), current: Vec::new() };
                let expected = run(&model, &clean, &mut oracle);
                let got = patched(&model, &clean, &corrupt, &circuit, &baseline);
                let gap = largest_gap(&got, &expected);
                assert!(gap < 2e-4, "{key_value:?} {baseline:?} {share}%: {gap}");
            }
        }
    }
}

#[test]
fn rows_may_have_circuits_of_their_own() {
    for key_value in BOTH {
        let model = toy(3, key_value);
        let w = model.wiring();
        let (clean, corrupt) = batches(&pairs(1));
        for shares in [[5, 10, 20], [80, 95, 99]] {
            let circuits: Vec<_> = shares.iter().enumerate().map(|(i, &s)| some(w, s, i)).collect();
            let prompt = clean.ids().to_vec();
            let rows = Batch::new(&vec![prompt; circuits.len()]).unwrap().rows(hooks::Rows::Last);
            let plan = EdgePlan::new(&circuits.iter().collect::<Vec<_>>()).unwrap();
            let fill = EdgeFill::new(&model, &Baseline::Corrupt, &corrupt, &[&plan]).unwrap();
            let together = run(&model, &rows, &mut EdgePatch::new(&plan, &fill));
            let apart: Vec<f32> = circuits
                .iter()
                .flat_map(|c| patched(&model, &clean, &corrupt, c, &Baseline::Corrupt))
                .collect();
            assert!(largest_gap(&together, &apart) < 1e-4);
        }
    }
}

#[test]
fn a_small_circuit_touches_few_sites() {
    let w = toy(1, KeyValue::Ungrouped).wiring();
    let mut circuit = EdgeMap::filled(w, false);
    for edge in ["input->a1.h2<v>", "a1.h2->logits", "input->a0.h0<q>"] {
        *circuit.get_mut(edge.parse().unwrap()).unwrap() = true;
    }
    let model = toy(1, KeyValue::Ungrouped);
    let (_, corrupt) = batches(&pairs(1));
    let plan = EdgePlan::new(&[&circuit]).unwrap();
    let fill = EdgeFill::new(&model, &Baseline::Corrupt, &corrupt, &[&plan]).unwrap();
    let hook = EdgePatch::new(&plan, &fill);
    assert!(hook.wants(Heads::ValueInUngrouped(1).into()) && hook.wants(Heads::Write(1).into()));
    for site in [Heads::QueryIn(0), Heads::QueryIn(1), Heads::KeyInUngrouped(1), Heads::Write(0)] {
        assert!(!hook.wants(site.into()), "{site:?}");
    }
    // The full graph without one edge touches one writer and one reader.
    let mut circuit = EdgeMap::filled(w, true);
    *circuit.get_mut("a0.h1->m1".parse().unwrap()).unwrap() = false;
    let plan = EdgePlan::new(&[&circuit]).unwrap();
    let fill = EdgeFill::new(&model, &Baseline::Corrupt, &corrupt, &[&plan]).unwrap();
    let hook = EdgePatch::new(&plan, &fill);
    assert!(hook.wants(Heads::Write(0).into()) && hook.wants(Stream::MlpIn(1).into()));
    assert!(!hook.wants(Stream::ResidPost(1).into()) && !hook.wants(Stream::Embed.into()));
}

#[test]
fn bad_input_is_an_error() {
    let model = toy(1, KeyValue::Ungrouped);
    assert!(EdgePlan::new(&[]).is_err());
    let short = Batch::new(&[vec![1, 2]]).unwrap();
    let means = Arc::new(WriterMeans::measure(&model, &[short]).unwrap());
    let (_, corrupt) = batches(&pairs(1));
    let error = EdgeFill::new(&model, &Baseline::MeanPositional(means), &corrupt, &[]).unwrap_err();
    assert!(error.to_string().contains("measured over 2 positions"), "{error}");
    let _ = read(Tensor::<1>::zeros([1], &model.device()));
}
