//! The loss against TRL's own code, a second implementation's golden values, and central differences.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use posttrain_grpo::{LossConfig, LossKind, LossStats, Ratio, Whole, loss};
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
    LossConfig {
        kind,
        ratio: Ratio::Token,
        epsilon: 0.2,
        epsilon_high: 0.2,
        delta: None,
        beta: 0.0,
        kl_ratio: true,
        max_tokens: 16,
        whole: None,
    }
}

/// Loss, gradient with respect to the log-probabilities, and what was seen.
fn run(inputs: &Value, advantages: &Tensor<1>, old: bool, how: &LossConfig) -> (f64, Vec<f64>, LossStats) {
    let logp = matrix(&inputs["logp"]).autodiff().require_grad();
    let (old, reference) = (old.then(|| matrix(&inputs["old_logp"])), Some(matrix(&inputs["ref_logp"])));
    let (value, stats) = loss(logp.clone(), old, reference, advantages.clone(), matrix(&inputs["mask"]), how);
    let grads = value.backward();
    (host(value)[0], host(logp.grad(&grads).unwrap()), stats)
}

fn case_config(case: &Value) -> Option<LossConfig> {
    let kind = match case["loss_type"].as_str().unwrap() {
        "grpo" => LossKind::Grpo,
        "bnpo" => LossKind::Bnpo,
        "dr_grpo" => LossKind::DrGrpo,
        "dapo" => LossKind::Dapo,
        "cispo" => LossKind::Cispo,
        _ => return None,
    };
    let number = |name: &str| case[name].as_f64();
    // What this crate has no option for.
    if number("top_entropy") != Some(1.0)
        || number("entropy_coef") != Some(0.0)
        || number("accum") != Some(1.0)
    {
        return None;
    }
    if number("steps_per_generation") != Some(1.0) {
        return None;
    }
    let sequences = matrix_rows(case);
    Some(LossConfig {
        kind,
        ratio: if case["level"] == "sequence" { Ratio::Sequence } else { Ratio::Token },
        epsilon: number("epsilon").unwrap(),
        epsilon_high: number("epsilon_high").or(number("epsilon")).unwrap(),
        delta: number("delta"),
        beta: number("beta").unwrap(),
        kl_ratio: case["bias_kl"].as_bool().unwrap(),
        max_tokens: 16,
        whole: number("items").map(|tokens| Whole { sequences, tokens }),
    })
}

fn matrix_rows(case: &Value) -> f64 {
    case["grad"].as_array().unwrap().len() as f64
}

#[test]
fn every_case_of_trl_that_this_crate_has_an_option_for() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/grpo/cases.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let advantages = vector(&file["inputs"]["advantages"]);
    let mut tried = 0;
    for case in file["cases"].as_array().unwrap() {
        let Some(how) = case_config(case) else { continue };
        tried += 1;
        let (value, grad, stats) = run(&file["inputs"], &advantages, case["old"].as_bool().unwrap(), &how);
        let close = |found: f64, expected: f64, what: &str| {
            assert!(
                (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                "{how:?} {what}: {found} {expected}"
            );
        };
        close(value, case["loss"].as_f64().unwrap(), "loss");
        for (found, expected) in grad.iter().zip(host(matrix(&case["grad"]))) {
            close(*found, expected, "gradient");
        }
        let metrics = &case["metrics"];
        if let Some(kl) = metrics["kl"].as_f64() {
            close(stats.kl / stats.tokens, kl, "kl");
        }
        if let Some(low) = metrics["clip_ratio/low_mean"].as_f64() {
            close(stats.clipped_low / stats.ratios, low, "low");
            close(
                stats.clipped_high / stats.ratios,
                metrics["clip_ratio/high_mean"].as_f64().unwrap(),
                "high",
            );
        }
        if let Some(clipped) = metrics["cispo_clip_ratio"].as_f64() {
            close(stats.clipped_high / stats.ratios, clipped, "cispo");
        }
    }
    assert!(tried >= 34, "{tried}");
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/grpo/cases.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (inputs, advantages) = (&file["inputs"], vector(&file["inputs"]["advantages"]));
    for kind in [LossKind::Grpo, LossKind::Bnpo, LossKind::DrGrpo, LossKind::Dapo] {
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
        let (value, stats) = loss(
            logp.clone(),
            Some(logp.clone()),
            Some(logp.clone()),
            advantages.clone(),
            mask.clone(),
            &how,
        );
        assert_eq!((stats.ratio_min, stats.ratio_max, stats.kl), (1.0, 1.0, 0.0));
        assert_eq!(host(value), [0.0]);
    }
}
