//! Whole steps against TRL's GRPOTrainer: the same completions and rewards, the weights afterwards and the log.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use model_qwen::{Checkpoint, Dtype, Finish, Param};
use posttrain::config::Kind;
use posttrain_grpo::{Advantage, Grpo, GrpoConfig, Rollout, Rollouts};
use serde_json::{Value, json};

fn file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Our name of an option of TRL.
fn ours(name: &str) -> &str {
    match name {
        "loss_type" => "loss",
        "use_bias_correction_kl" => "kl_ratio",
        "num_iterations" => "updates",
        "scale_rewards" => "advantage",
        "mask_truncated_completions" => "mask_truncated",
        "importance_sampling_level" => "ratio",
        "top_entropy_quantile" => "top_entropy",
        "off_policy_mask_threshold" => "off_policy_mask",
        same => panic_or(same),
    }
}

/// The options of TRL under our names.
fn config(given: &Value, options: &Value) -> GrpoConfig {
    let mut table = json!({ "group_size": given["group"], "max_tokens": given["max_tokens"], "prompts": 2 });
    for (name, value) in options.as_object().unwrap() {
        table[ours(name)] = value.clone();
    }
    let mut config: GrpoConfig = serde_json::from_value(table).unwrap();
    config.trainer.train.steps = Some(1);
    (config.trainer.optimizer.lr, config.trainer.schedule.kind) =
        (given["lr"].as_f64().unwrap(), Kind::Constant);
    config
}

fn panic_or(name: &str) -> &str {
    let same = ["beta", "temperature", "epsilon", "epsilon_high", "entropy_coef"];
    assert!(same.contains(&name), "TRL's option {name} has no name here");
    name
}

fn rollouts(given: &Value, config: &GrpoConfig) -> Rollouts {
    let completions = given["completions"].as_array().unwrap();
    let one = |(at, completion): (usize, &Value)| {
        let (prompt, ids) = (at / config.group_size, ids(completion));
        let eos = ids.last() == Some(&(given["eos"].as_u64().unwrap() as u32));
        Rollout {
            prompt,
            prompt_ids: self::ids(&given["prompts"][prompt]),
            sampling_logprobs: vec![0.0; ids.len()],
            ids,
            finish: if eos { Finish::Eos } else { Finish::Length },
            prompt_text: String::new(),
            text: String::new(),
        }
    };
    Rollouts::new(completions.iter().enumerate().map(one).collect(), config).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn weights_and_metrics_after_a_step_are_those_of_trl() {
    let given: Value =
        serde_json::from_str(&std::fs::read_to_string(file("testdata/step.json")).unwrap()).unwrap();
    let bytes = std::fs::read(file("testdata/step.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let checkpoint = Checkpoint::open(&file("../../tests/fixtures/qwen2-tied")).unwrap();
    let every = given["every"].as_u64().unwrap() as usize;
    let rewards: Vec<f32> = serde_json::from_value(given["rewards"].clone()).unwrap();
    for case in given["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let config = config(&given, &case["options"]);
        for rows in [8, 3] {
            let mut config = config.clone();
            config.trainer.train.batch_size = rows;
            let model = checkpoint.load(Dtype::F32, &Device::flex()).unwrap();
            let mut grpo = Grpo::new(model, vec![], &config, 2).unwrap();
            let mut at = rewards.iter();
            let scored = rollouts(&given, &config).score(|_| *at.next().unwrap()).unwrap();
            let stats = serde_json::to_value(grpo.step(&scored).unwrap()).unwrap();
            metrics(&stats, case, &config);
            let mut policy = grpo.into_policy();
            for (parameter, value) in policy.params() {
                let found: Vec<f32> = match value {
                    Param::Matrix(w) => w.clone().into_data().iter::<f32>().collect(),
                    Param::Vector(w) => w.clone().into_data().iter::<f32>().collect(),
                };
                let expected = expected.tensor(&format!("{name}/{parameter}")).unwrap();
                let expected = expected.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                for (found, expected) in found.iter().step_by(every).zip(expected) {
                    // An update is at most lr = 1e-4 a weight, whatever its gradient.
                    assert!((found - expected).abs() < 1e-5, "{name} {parameter}: {found} {expected}");
                }
            }
        }
    }
}

/// Those of TRL are logged update after update; ours are means over the updates of a step.
fn metrics(stats: &Value, case: &Value, config: &GrpoConfig) {
    let log = case["log"].as_array().unwrap();
    assert_eq!(log.len(), config.updates);
    for (name, value) in log[0].as_object().unwrap() {
        let ours = match name.as_str() {
            "learning_rate" => "lr",
            "rewards/score/mean" => "rewards/reward/mean",
            "rewards/score/std" => "rewards/reward/std",
            "cispo_clip_ratio" => "clip_ratio/high_mean",
            // Prompts included; the loss without the bonus; a setting.
            "num_tokens" | "policy_loss" | "entropy_coef" => continue,
            // Of the whole batch there: 0 or 1.
            "frac_reward_zero_std" if config.advantage == Advantage::Batch => continue,
            // Extremes over the updates here.
            "clip_ratio/low_min" | "clip_ratio/high_max" if config.updates > 1 => continue,
            same => same,
        };
        let of = |line: &Value| line.get(name).and_then(Value::as_f64);
        let all: Vec<f64> = log.iter().filter_map(of).collect();
        let expected = all.iter().sum::<f64>() / all.len() as f64;
        let found = stats[ours].as_f64().unwrap_or_else(|| panic!("{ours}: {value}"));
        // Gradients and log-probabilities are f32 sums in another order: some parts in 1e6.
        assert!(
            (found - expected).abs() <= 2e-5 * expected.abs().max(1.0),
            "{} {name}: {found} {expected}",
            case["name"]
        );
    }
}
