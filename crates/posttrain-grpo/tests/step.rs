//! Whole steps against TRL's GRPOTrainer: the same completions and rewards, the weights afterwards and the log.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use model_qwen::{Checkpoint, Dtype, Finish, Param};
use posttrain::config::Kind;
use posttrain_grpo::{
    Advantage, Correction, CorrectionKind, Grpo, GrpoConfig, Ratio, Rollout, RolloutConfig, Rollouts,
};
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
        "steps_per_generation" => "minibatches",
        "scale_rewards" => "advantage",
        "mask_truncated_completions" => "mask_truncated",
        "importance_sampling_level" => "ratio",
        "top_entropy_quantile" => "top_entropy",
        "off_policy_mask_threshold" => "off_policy_mask",
        "entropy_target" => "adaptive_entropy.target",
        "entropy_coef_delta" => "adaptive_entropy.delta",
        "entropy_coef_min" => "adaptive_entropy.min",
        "entropy_coef_max" => "adaptive_entropy.max",
        "ref_model_sync_steps" => "sync_reference.every",
        "ref_model_mixup_alpha" => "sync_reference.mix",
        same => panic_or(same),
    }
}

/// The options of TRL under our names; `sampler` is there where another program samples.
fn config(given: &Value, case: &Value) -> GrpoConfig {
    let options = &case["options"];
    let mut table = json!({ "group_size": given["group"], "max_tokens": given["max_tokens"], "prompts": 2 });
    let (sampler, own): (Vec<_>, Vec<_>) =
        options.as_object().unwrap().iter().partition(|(name, _)| name.starts_with("vllm"));
    let switches = ["learning_rate", "weight_decay", "use_adaptive_entropy", "sync_ref_model"];
    for (name, value) in own.into_iter().filter(|(name, _)| !switches.contains(&&***name)) {
        match ours(name).split_once('.') {
            None => table[ours(name)] = value.clone(),
            Some((section, key)) => table[section][key] = value.clone(),
        }
    }
    let mut config: GrpoConfig = serde_json::from_value(table).unwrap();
    let mut correction = Correction::default();
    for (name, value) in sampler {
        match name.strip_prefix("vllm_importance_sampling_").unwrap() {
            "correction" => correction.kind = CorrectionKind::None,
            "mode" => correction.kind = serde_json::from_value(value.clone()).unwrap(),
            "clip_min" => correction.clip_min = value.as_f64().unwrap(),
            "clip_max" => correction.clip_max = value.as_f64().unwrap(),
            other => panic!("TRL's option {other}"),
        }
    }
    config.rollouts = case.get("sampler").is_some().then_some(RolloutConfig { correction, staleness: 0 });
    config.trainer.train.steps = Some(case["steps"].as_u64().unwrap_or(1) as usize);
    (config.trainer.optimizer.lr, config.trainer.schedule.kind) =
        (options["learning_rate"].as_f64().unwrap_or(1e-4), Kind::Constant);
    config.trainer.optimizer.weight_decay = options["weight_decay"].as_f64().unwrap_or(0.0);
    config
}

fn panic_or(name: &str) -> &str {
    let same = ["beta", "temperature", "epsilon", "epsilon_high", "entropy_coef"];
    assert!(same.contains(&name), "TRL's option {name} has no name here");
    name
}

/// The completions, with the log-probabilities of another sampler where a case has them.
fn rollouts(given: &Value, case: &Value, config: &GrpoConfig) -> Rollouts {
    let completions = given["completions"].as_array().unwrap();
    let one = |(at, completion): (usize, &Value)| {
        let (prompt, ids) = (at / config.group_size, ids(completion));
        let eos = ids.last() == Some(&(given["eos"].as_u64().unwrap() as u32));
        Rollout {
            prompt,
            prompt_ids: self::ids(&given["prompts"][prompt]),
            sampling_logprobs: match case["sampler"].get(at) {
                Some(row) => row
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|x| x.as_f64().map_or(f32::NAN, |x| x as f32))
                    .collect(),
                None => vec![0.0; ids.len()],
            },
            ids,
            finish: if eos { Finish::Eos } else { Finish::Length },
            sampled_at: 0,
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
    assert_eq!(compare("step"), 21);
}

#[test]
fn the_correction_of_another_samplers_completions_is_that_of_trl() {
    assert_eq!(compare("correction"), 10);
}

/// Makes the cases of a file of TRL's steps; returns how many there are.
fn compare(stem: &str) -> usize {
    let read = |ending: &str| std::fs::read(file(&format!("testdata/{stem}.{ending}"))).unwrap();
    let given: Value = serde_json::from_slice(&read("json")).unwrap();
    let bytes = read("safetensors");
    let expected = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let checkpoint = Checkpoint::open(&file("../../tests/fixtures/qwen2-tied")).unwrap();
    let every = given["every"].as_u64().unwrap() as usize;
    let rewards: Vec<f32> = serde_json::from_value(given["rewards"].clone()).unwrap();
    for case in given["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let config = config(&given, case);
        for rows in [8, 3] {
            let mut config = config.clone();
            config.trainer.train.batch_size = rows;
            let model = checkpoint.load(Dtype::F32, &Device::flex()).unwrap();
            let mut grpo = Grpo::new(model, vec![], &config, 2).unwrap();
            let log = case["log"].as_array().unwrap();
            assert_eq!(log.len(), config.updates_of_a_step() * grpo.steps());
            for (step, log) in log.chunks(config.updates_of_a_step()).enumerate() {
                let own: Option<Vec<Vec<f32>>> = serde_json::from_value(case["rewards"].clone()).unwrap();
                let rewards = own.map_or_else(|| rewards.clone(), |mut own| own.swap_remove(step));
                let mut at = rewards.iter();
                let scored = rollouts(&given, case, &config).score(|_| *at.next().unwrap()).unwrap();
                let stats = serde_json::to_value(grpo.step(&scored).unwrap()).unwrap();
                let tokens: Vec<usize> = given["completions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|ids| ids.as_array().unwrap().len())
                    .collect();
                // Where completions are not run, the entropy is an estimate.
                let log: Vec<Value> = log.iter().map(|line| without_entropy(line, case)).collect();
                metrics(&stats, (name, &log), &config, &tokens);
            }
            let mut policy = grpo.into_policy();
            for (parameter, value) in policy.params() {
                let found: Vec<f32> = match value {
                    Param::Matrix(w) => w.clone().into_data().iter::<f32>().collect(),
                    Param::Vector(w) => w.clone().into_data().iter::<f32>().collect(),
                };
                let expected = expected.tensor(&format!("{name}/{parameter}")).unwrap();
                let expected = expected.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                for (found, expected) in found.iter().step_by(every).zip(expected) {
                    // An update is at most lr a weight, whatever its gradient: a tenth of one.
                    let bound = 0.1 * config.trainer.optimizer.lr as f32;
                    assert!((found - expected).abs() < bound, "{name} {parameter}: {found} {expected}");
                }
            }
        }
    }
    given["cases"].as_array().unwrap().len()
}

fn without_entropy(line: &Value, case: &Value) -> Value {
    let mut line = line.clone();
    if case.get("rewards").is_some() {
        line.as_object_mut().unwrap().remove("entropy");
    }
    line
}

/// Those of TRL are logged update after update; ours are means over the updates of a step, or over their tokens, of which
/// `lengths` has those of each completion.
fn metrics(stats: &Value, (case, log): (&str, &[Value]), config: &GrpoConfig, lengths: &[usize]) {
    let parts = lengths.chunks(lengths.len() / config.minibatches);
    let tokens: Vec<f64> = parts.map(|part| part.iter().sum::<usize>() as f64).collect();
    for (name, value) in log[0].as_object().unwrap() {
        let ours = match name.as_str() {
            "learning_rate" => "lr",
            "rewards/score/mean" => "rewards/reward/mean",
            "rewards/score/std" => "rewards/reward/std",
            "cispo_clip_ratio" => "clip_ratio/high_mean",
            // Prompts included; the loss without the bonus.
            "num_tokens" | "policy_loss" | "vespo/phi_seq_mean" => continue,
            // After the last update here.
            "entropy_coef" => {
                let expected = log[log.len() - 1][name].as_f64();
                assert_eq!(stats["entropy_coef"].as_f64(), expected, "{case}");
                continue;
            }
            // Of the whole batch there: 0 or 1.
            "frac_reward_zero_std" if config.advantage == Advantage::Batch => continue,
            // Extremes over the updates here.
            "clip_ratio/low_min" | "clip_ratio/high_max" if config.updates_of_a_step() > 1 => continue,
            same => same,
        };
        let of_tokens = ["entropy", "kl"].contains(&ours)
            || ours.starts_with("clip_ratio") && config.ratio == Ratio::Token;
        let weights = tokens.iter().cycle().map(|n| if of_tokens { *n } else { 1.0 });
        let of = |(line, weight): (&Value, f64)| Some((line.get(name)?.as_f64()?, weight));
        let all: Vec<(f64, f64)> = log.iter().zip(weights).filter_map(of).collect();
        let expected = all.iter().map(|(x, w)| x * w).sum::<f64>() / all.iter().map(|(_, w)| w).sum::<f64>();
        let found = stats[ours].as_f64().unwrap_or_else(|| panic!("{ours}: {value}"));
        // Gradients and log-probabilities are f32 sums in another order: some parts in 1e6.
        assert!(
            (found - expected).abs() <= 2e-5 * expected.abs().max(1.0),
            "{case} {name}: {found} {expected}"
        );
    }
}
