//! The model of the crate outside the workspace, run here: the sites are where the analyses expect them.

use ablation::Baseline;
use attribution::{Endpoint, Method, Options, attribute};
use burn::tensor::Device;
use circuits::{Circuit, auroc, faithfulness};
use hooks::{HookedModel, Metric, Pair, Pairs, Target, Task};

#[path = "../../downstream/src/model.rs"]
#[allow(missing_docs, missing_debug_implementations, unreachable_pub)]
mod model;

#[test]
fn a_model_of_ones_own_has_circuits() {
    let model = model::Gpt2::random(24, &Device::flex());
    let pair = |i: u32| Pair {
        earlier: vec![],
        id: i.to_string(),
        clean: vec![i, 7, 3, 11, 2],
        corrupt: vec![i, 7, 19, 11, 2],
        target: Target { answers: vec![5], distractors: vec![9] },
    };
    let pairs = Pairs::new((0..4).map(pair).collect()).unwrap();
    let wiring = model.wiring();
    let judge = |circuit: &Circuit| {
        faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(4), circuit, &Baseline::Corrupt)
            .unwrap()
            .faithfulness
    };
    assert!((judge(&Circuit::full(wiring)) - 1.0).abs() < 1e-4);
    assert!(judge(&Circuit::empty(wiring)).abs() < 1e-4);

    let score = |method| {
        attribute(&Task::new(&model, &pairs, Metric::LogitDiff), method, Options::default()).unwrap()
    };
    let integral = score(Method::EapIgInputs { steps: 64, endpoint: Endpoint::Midpoint });
    assert!(integral.completeness_error() < 0.02, "{}", integral.completeness_error());
    // The best fifth by exact patching is found by integrated gradients far better than by chance.
    let exact = Circuit::top(&score(Method::Exact).mean, wiring.n_edges() / 5).unwrap();
    let area = auroc(&integral.mean, &exact).unwrap();
    assert!(area > 0.8, "{area}");
}
