//! The loss against TRL's own code, a second implementation's golden values, and central differences.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use posttrain_grpo::{
    GrpoConfig, LossConfig, LossInputs, LossKind, LossStats, Ratio, Whole, entropy_threshold, loss,
};
use serde_json::Value;

fn matrix(value: &Value) -> Tensor<2> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), &Device::flex())
}

fn vector(value: &Value) -> Tensor<1> {
    let values: Vec<f32> = serde_json::from_value(value.clone()).unwrap();
    Tensor::from_data(TensorData::from(&values[..]), &Device::flex())
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

fn plain(kind: LossKind) -> LossConfig {
    let config = GrpoConfig { loss: kind, max_tokens: 16, ..GrpoConfig::default() };
    LossConfig::from(&config)
}

fn inputs(values: &Value, advantages: &Tensor<1>, old: bool) -> LossInputs {
    LossInputs {
        logp: matrix(&values["logp"]).autodiff().require_grad(),
        old: old.then(|| matrix(&values["old_logp"])),
        reference: Some(matrix(&values["ref_logp"])),
        entropy: values.get("entropy").map(|entropy| matrix(entropy).autodiff().require_grad()),
        advantages: advantages.clone(),
        mask: matrix(&values["mask"]),
        sampler: None,
    }
}

/// Loss, gradient with respect to the log-probabilities, and what was seen.
fn run(values: &Value, advantages: &Tensor<1>, old: bool, how: &LossConfig) -> (f64, Vec<f64>, LossStats) {
    let inputs = inputs(values, advantages, old);
    let (value, stats) = loss(&inputs, how);
    let grads = value.backward();
    (host(value)[0], host(inputs.logp.grad(&grads).unwrap()), stats)
}

/// A case's options. TRL divides by accumulation steps, which here are the [`Whole`].
fn case_config(case: &Value, values: &Value) -> LossConfig {
    let number = |name: &str| case[name].as_f64();
    let (mask, top) = (host(matrix(&values["mask"])), number("top_entropy").unwrap());
    let entropies: Vec<f32> = host(matrix(&values["entropy"])).iter().map(|&x| x as f32).collect();
    let counted =
        |x: &[f32]| -> Vec<f32> { x.iter().zip(&mask).filter(|(_, m)| **m > 0.0).map(|(x, _)| *x).collect() };
    let floor = (top < 1.0).then(|| entropy_threshold(&counted(&entropies), top));
    let kept =
        counted(&entropies).iter().filter(|&&h| floor.is_none_or(|floor| f64::from(h) >= floor)).count();
    let (accum, steps) = (number("accum").unwrap(), number("steps_per_generation").unwrap());
    let all = number("items").unwrap_or(mask.iter().sum());
    let kind = serde_json::from_value(case["loss_type"].clone()).unwrap();
    let tokens = if kind == LossKind::Bnpo { mask.iter().sum::<f64>() * accum } else { all * accum / steps };
    let sequences = matrix(&values["mask"]).dims()[0] as f64 * accum;
    LossConfig {
        kind,
        ratio: serde_json::from_value(case["level"].clone()).unwrap(),
        epsilon: number("epsilon").unwrap(),
        epsilon_high: number("epsilon_high").or(number("epsilon")).unwrap(),
        delta: number("delta"),
        off_policy: number("off_policy"),
        entropy_floor: floor,
        entropy_coef: number("entropy_coef").unwrap(),
        beta: number("beta").unwrap(),
        kl_ratio: case["bias_kl"].as_bool().unwrap(),
        whole: Some(Whole { sequences, tokens, kept: kept as f64 * accum }),
        ..plain(kind)
    }
}

/// Compares loss, gradients and metrics of a case with TRL's.
fn check(case: &Value, values: &Value) {
    let how = case_config(case, values);
    // In f32 either side adds in another order: a few parts in 1e7 of the largest term.
    let close = |found: f64, expected: f64, what: &str| {
        let near = (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
        assert!(near, "{how:?} {what}: {found} {expected}");
    };
    let inputs = inputs(values, &vector(&values["advantages"]), case["old"].as_bool().unwrap());
    let (value, stats) = loss(&inputs, &how);
    let grads = value.backward();
    close(host(value)[0], case["loss"].as_f64().unwrap(), "loss");
    let found = inputs.logp.grad(&grads).map(host).unwrap_or_default();
    let expected = host(matrix(&case["grad"]));
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).for_each(|(a, b)| close(*a, *b, "gradient"));
    if let Some(expected) = case.get("grad_entropy").map(|grad| host(matrix(grad))) {
        let none = vec![0.0; expected.len()];
        let found = inputs.entropy.and_then(|h| h.grad(&grads)).map_or(none, host);
        found.iter().zip(&expected).for_each(|(a, b)| close(*a, *b, "gradient in entropies"));
    }
    for (name, expected) in case["metrics"].as_object().unwrap() {
        let found = match name.as_str() {
            "kl" => stats.kl / stats.tokens,
            "entropy" => stats.entropy / stats.tokens,
            "clip_ratio/low_mean" => stats.clipped_low / stats.ratios,
            "clip_ratio/high_mean" | "cispo_clip_ratio" => stats.clipped_high / stats.ratios,
            "clip_ratio/region_mean" => (stats.clipped_low + stats.clipped_high) / stats.ratios,
            "clip_ratio/low_min" => stats.clipped_low_min,
            "clip_ratio/high_max" => stats.clipped_high_max,
            // The loss before the bonus; the coefficient; the mean weight, which the gradient has.
            "policy_loss" | "entropy_coef" | "vespo/phi_seq_mean" => continue,
            other => panic!("TRL has the metric {other}"),
        };
        close(found, expected.as_f64().unwrap(), name);
    }
}

fn read(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_case_of_trl() {
    let file = read("../../tests/fixtures/grpo/cases.json");
    let cases = file["cases"].as_array().unwrap();
    cases.iter().for_each(|case| check(case, &file["inputs"]));
    assert!(cases.len() >= 34);
    let file = read("testdata/loss.json");
    let cases = file["cases"].as_array().unwrap();
    cases.iter().for_each(|case| check(case, &file["inputs"][case["inputs"].as_u64().unwrap() as usize]));
    for kind in ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"] {
        assert!(cases.iter().filter(|case| case["loss_type"] == kind).count() >= 30, "{kind}");
    }
}

/// verl's dual clip (Ye et al. 2020): where A < 0 the loss is at most `-c A`. With `1 + epsilon_high <= c` that is `delta`.
#[test]
fn delta_is_the_dual_clip() {
    let file = read("testdata/loss.json");
    for values in file["inputs"].as_array().unwrap() {
        let advantages = vector(&values["advantages"]);
        let how = LossConfig { delta: Some(3.0), epsilon_high: 0.28, ..plain(LossKind::Dapo) };
        let (found, _, stats) = run(values, &advantages, true, &how);
        let (logp, old) = (host(matrix(&values["logp"])), host(matrix(&values["old_logp"])));
        let (a, mask) = (host(advantages), host(matrix(&values["mask"])));
        let per_row = logp.len() / a.len();
        let term = |at: usize| {
            let (ratio, a) = ((logp[at] - old[at]).exp(), a[at / per_row]);
            let clipped = (-a * ratio).max(-a * ratio.clamp(0.8, 1.28));
            mask[at] * if a < 0.0 { clipped.min(-a * 3.0) } else { clipped }
        };
        let expected = (0..logp.len()).map(term).sum::<f64>() / stats.tokens;
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn golden_values_of_another_implementation() {
    let shared = std::env::var_os("SPARKS_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), Into::into);
    let text = std::fs::read_to_string(shared.join("data/grpo_golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let (group, none) = (vector(&golden["adv_group"]), vector(&golden["adv_none"]));
    let kl = |kl_ratio| LossConfig { beta: 0.04, kl_ratio, ..plain(LossKind::Grpo) };
    let sequence =
        LossConfig { ratio: Ratio::Sequence, epsilon: 3e-4, epsilon_high: 4e-4, ..plain(LossKind::Grpo) };
    let cases = [
        ("loss grpo", plain(LossKind::Grpo), &group),
        ("loss bnpo", plain(LossKind::Bnpo), &group),
        ("loss dr_grpo(scale none,Lmax16)", plain(LossKind::DrGrpo), &none),
        ("loss dapo eps_high=.28", LossConfig { epsilon_high: 0.28, ..plain(LossKind::Dapo) }, &group),
        ("loss grpo beta=.04 bias_kl=False", kl(false), &group),
        ("loss grpo beta=.04 bias_kl=True", kl(true), &group),
        ("loss grpo GSPO seq eps3e-4/4e-4", sequence, &group),
        ("loss cispo eps_high=5", LossConfig { epsilon_high: 5.0, ..plain(LossKind::Cispo) }, &group),
        ("loss grpo delta=1.3", LossConfig { delta: Some(1.3), ..plain(LossKind::Grpo) }, &group),
    ];
    for (name, how, advantages) in cases {
        let (value, grad, stats) = run(&golden["inputs"], advantages, true, &how);
        let expected = golden[name].as_f64().unwrap();
        assert!((value - expected).abs() < 1e-6 * expected.abs().max(0.1), "{name}: {value} {expected}");
        if name == "loss grpo" {
            let expected: Vec<f64> = serde_json::from_value(golden["grad grpo d/dlp[0,:]"].clone()).unwrap();
            assert!(grad.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{grad:?}");
            let clip: Vec<f64> =
                serde_json::from_value(golden["clip_ratio low/high/region"].clone()).unwrap();
            let found = [stats.clipped_low / stats.ratios, stats.clipped_high / stats.ratios];
            assert!(found.iter().zip(&clip).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    let file = read("../../tests/fixtures/grpo/cases.json");
    let (inputs, advantages) = (&file["inputs"], vector(&file["inputs"]["advantages"]));
    let kinds =
        [LossKind::Grpo, LossKind::Bnpo, LossKind::DrGrpo, LossKind::Dapo, LossKind::Sapo, LossKind::Luspo];
    for kind in kinds {
        for ratio in [Ratio::Token, Ratio::Sequence] {
            let how = LossConfig { ratio, beta: 0.1, ..plain(kind) };
            let (_, grad, _) = run(inputs, &advantages, true, &how);
            for at in 0..grad.len() {
                let nudged = |by: f64| {
                    let mut logp = host(matrix(&inputs["logp"]));
                    logp[at] += by;
                    let rows: Vec<Vec<f64>> = logp.chunks(5).map(<[f64]>::to_vec).collect();
                    let mut inputs = inputs.clone();
                    inputs["logp"] = serde_json::to_value(rows).unwrap();
                    run(&inputs, &advantages, true, &how).0
                };
                let difference = (nudged(4e-3) - nudged(-4e-3)) / 8e-3;
                assert!((difference - grad[at]).abs() < 2e-4, "{how:?} {at}: {difference} {}", grad[at]);
            }
        }
    }
}

#[test]
fn on_policy_the_ratio_is_one_and_the_divergence_from_itself_is_zero() {
    let logp = Tensor::<2>::from_data([[-0.3f32, -7.1, -0.001], [-2.0, -0.5, -1.0]], &Device::flex());
    let mask = Tensor::<2>::ones([2, 3], &Device::flex());
    let advantages = Tensor::<1>::from_data([1.5f32, -1.5], &Device::flex());
    for ratio in [Ratio::Token, Ratio::Sequence] {
        let how = LossConfig { beta: 1.0, ratio, ..plain(LossKind::Grpo) };
        let inputs = LossInputs {
            logp: logp.clone(),
            old: Some(logp.clone()),
            reference: Some(logp.clone()),
            entropy: None,
            advantages: advantages.clone(),
            mask: mask.clone(),
            sampler: None,
        };
        let (value, stats) = loss(&inputs, &how);
        assert_eq!((stats.ratio_min, stats.ratio_max, stats.kl), (1.0, 1.0, 0.0));
        assert_eq!(host(value), [0.0]);
    }
}
