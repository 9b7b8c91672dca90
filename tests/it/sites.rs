//! Every site of the forward pass: read, replaced, and its gradient against central differences.

use burn::tensor::{Device, Tensor};
use hooks::{Batch, Heads, Hook, Probe, Recorder, Site, Stream};
use model_qwen::{Config, Pass, Qwen, random};

use crate::fixtures::values;

/// Two layers, four heads of which two share a key and a value; weights large enough that attention is not flat.
fn tiny(family: &str) -> Qwen {
    let text = format!(
        r#"{{"architectures": ["{family}"], "num_hidden_layers": 2, "hidden_size": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 20,
        "vocab_size": 23, "tie_word_embeddings": false, "initializer_range": 0.3}}"#
    );
    random(Config::parse(&text).unwrap(), 5, &Device::flex())
}

/// The sites of a run with key/value heads as they are, and of one with a copy for each query head.
fn sites(ungrouped: bool) -> Vec<Site> {
    let ends = [Stream::Embed, Stream::Normalized, Stream::FinalNorm, Stream::Logits];
    let mut all: Vec<Site> = ends.map(Site::from).to_vec();
    for l in 0..2 {
        all.extend(
            [
                Stream::ResidPre(l),
                Stream::ResidMid(l),
                Stream::ResidPost(l),
                Stream::AttnOut(l),
                Stream::MlpIn(l),
                Stream::Neurons(l),
                Stream::MlpOut(l),
            ]
            .map(Site::from),
        );
        all.extend(
            [
                Heads::QueryIn(l),
                Heads::Query(l),
                Heads::QueryRotary(l),
                Heads::KeyRotary(l),
                Heads::Scores(l),
                Heads::Pattern(l),
                Heads::Z(l),
                Heads::Write(l),
            ]
            .map(Site::from),
        );
        all.extend(
            if ungrouped {
                [
                    Heads::KeyInUngrouped(l),
                    Heads::ValueInUngrouped(l),
                    Heads::KeyUngrouped(l),
                    Heads::ValueUngrouped(l),
                ]
            } else {
                [Heads::KeyIn(l), Heads::ValueIn(l), Heads::Key(l), Heads::Value(l)]
            }
            .map(Site::from),
        );
    }
    all
}

/// Adds `by` times a fixed direction at one site: +1 and -1 by turns, so that no norm divides it out.
struct Nudge {
    site: Site,
    by: f64,
}

fn direction<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    let n = x.dims().iter().product::<usize>();
    // Signs of a linear congruential sequence: no period that an axis could have.
    let mut state = 12345u32;
    let signs: Vec<f32> = (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 31 == 0 { 1.0 } else { -1.0 }
        })
        .collect();
    Tensor::from_data(burn::tensor::TensorData::new(signs, x.dims()), &Device::flex())
}

impl Hook for Nudge {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }
    fn on_stream(&mut self, _: Stream, x: Tensor<3>) -> Tensor<3> {
        x.clone() + direction(&x) * self.by
    }
    fn on_heads(&mut self, _: Heads, x: Tensor<4>) -> Tensor<4> {
        x.clone() + direction(&x) * self.by
    }
}

/// A scalar of a run's logits that every site has a say in.
fn metric(logits: Tensor<3>) -> Tensor<1> {
    let weights = direction(&logits);
    (logits * weights).sum()
}

#[test]
fn gradients_at_every_site_are_central_differences() {
    let batch = Batch::left_padded(&[vec![1, 2, 3, 4, 5], vec![6, 7, 8]]).unwrap();
    for (family, ungrouped) in [
        ("Qwen2ForCausalLM", false),
        ("Qwen2ForCausalLM", true),
        ("Qwen3ForCausalLM", false),
        ("LlamaForCausalLM", true),
    ] {
        let model = tiny(family);
        for site in sites(ungrouped) {
            let mut probe = Probe::new([site]);
            let mut grads = metric(model.forward(&batch, Pass::new(&mut probe))).backward();
            let (slope, size) = match site {
                Site::Stream(s) => {
                    let (grad, value) = probe.stream(s, &mut grads).unwrap();
                    let grad = grad.inner();
                    (values((grad * direction(&value)).sum())[0], values(value.abs().mean())[0])
                }
                Site::Heads(s) => {
                    let (grad, value) = probe.heads(s, &mut grads).unwrap();
                    let grad = grad.inner();
                    // Hidden scores are -1e30: their size says nothing.
                    let size = values(value.clone().clamp(-10.0, 10.0).abs().mean())[0];
                    (values((grad * direction(&value)).sum())[0], size)
                }
            };
            let run = |by: f64| {
                let mut nudge = Nudge { site, by };
                f64::from(values(metric(model.forward(&batch, Pass::new(&mut nudge))))[0])
            };
            let h = 2e-3 * f64::from(size.max(0.05));
            // The five-point rule: its error is of fourth order, so that what is left is the rounding of f32.
            let difference = (8.0 * (run(h) - run(-h)) - (run(2.0 * h) - run(-2.0 * h))) / (12.0 * h);
            // A metric of some tens is rounded by 1e-5; over h that is the bound beside 0.2 %.
            let tolerance = 2e-3 * difference.abs() + 2e-5 / h;
            let error = (f64::from(slope) - difference).abs();
            assert!(error < tolerance, "{family} {site}: {slope} against {difference}, off by {error:e}");
        }
    }
}

#[test]
fn every_site_is_seen_once_in_its_documented_shape_and_can_be_put_back() {
    let model = tiny("Qwen2ForCausalLM");
    let batch = Batch::new(&[vec![1, 2, 3, 4, 5], vec![6, 7, 8]]).unwrap();
    let plain = values(model.forward(&batch, Pass::new(&mut ())));
    for ungrouped in [false, true] {
        let all = sites(ungrouped);
        let mut seen = Recorder::new(all.iter().copied());
        model.forward(&batch, Pass::new(&mut seen));
        for site in all {
            let (found, last) = match site {
                Site::Stream(s) => (seen.stream(s).dims().to_vec(), seen.stream(s).dims()[2]),
                Site::Heads(s) => (seen.heads(s).dims().to_vec(), seen.heads(s).dims()[3]),
            };
            let (n_heads, n_kv, d_head) = (4, 2, 6);
            let expected = match site {
                Site::Stream(Stream::Logits) => vec![2, 5, 23],
                Site::Stream(Stream::Neurons(_)) => vec![2, 5, 20],
                Site::Stream(_) => vec![2, 5, 16],
                Site::Heads(s) => match s {
                    Heads::KeyIn(_) | Heads::ValueIn(_) => vec![2, n_kv, 5, 16],
                    Heads::Key(_) | Heads::Value(_) => vec![2, n_kv, 5, d_head],
                    Heads::KeyRotary(_) => vec![2, if ungrouped { found[1] } else { n_kv }, 5, d_head],
                    Heads::Scores(_) | Heads::Pattern(_) => vec![2, n_heads, 5, 5],
                    Heads::QueryIn(_)
                    | Heads::KeyInUngrouped(_)
                    | Heads::ValueInUngrouped(_)
                    | Heads::Write(_) => {
                        vec![2, n_heads, 5, 16]
                    }
                    _ => vec![2, n_heads, 5, d_head],
                },
            };
            assert_eq!(found, expected, "{site}: last axis {last}");
            // Replacing by twice the value changes the run; replacing by what was there does not.
            let mut same = Nudge { site, by: 0.0 };
            let again = values(model.forward(&batch, Pass::new(&mut same)));
            let error = crate::fixtures::apart(&again, &plain);
            assert!(error < 1e-5, "{site}: {error:e}");
            let mut other = Nudge { site, by: 0.5 };
            assert_ne!(
                values(model.forward(&batch, Pass::new(&mut other))),
                again,
                "{site} replaced has no effect"
            );
            assert_eq!(site.to_string().parse::<Site>().unwrap(), site);
        }
    }
}
