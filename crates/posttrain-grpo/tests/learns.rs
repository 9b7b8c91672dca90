//! The loop on tiny random models: it learns, it repeats itself to the last bit, and it says what is wrong.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use model_qwen::{Config as ModelConfig, Param, Qwen};
use posttrain::RunFolder;
use posttrain::config::Kind;
use posttrain_grpo::{Grpo, GrpoConfig, GrpoStats, LossKind, Ratio, Rollout, RolloutConfig, Rollouts};

fn policy(seed: u64) -> Qwen {
    let text = r#"{"architectures":["Qwen2ForCausalLM"],"num_hidden_layers":2,"hidden_size":16,
        "num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":24,"vocab_size":7,
        "tie_word_embeddings":true,"initializer_range":0.3}"#;
    model_qwen::random(ModelConfig::parse(text).unwrap(), seed, &Device::flex())
}

fn config(change: impl FnOnce(&mut GrpoConfig)) -> GrpoConfig {
    let mut config = GrpoConfig { prompts: 2, group_size: 16, max_tokens: 1, ..GrpoConfig::default() };
    let trainer = &mut config.trainer;
    (trainer.train.steps, trainer.train.batch_size, trainer.seed) = (Some(40), 64, 5);
    (trainer.optimizer.lr, trainer.schedule.kind) = (1e-2, Kind::Constant);
    change(&mut config);
    config
}

fn start(change: impl FnOnce(&mut GrpoConfig)) -> Grpo {
    Grpo::new(policy(1), vec![6], &config(change), 2).unwrap()
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![0, 1, 2], vec![3]]
}

/// Three is good.
fn three(rollout: &Rollout) -> f32 {
    rollout.ids.iter().filter(|&&id| id == 3).count() as f32 / rollout.ids.len() as f32
}

fn steps(grpo: &mut Grpo, n: usize) -> Vec<GrpoStats> {
    let mut one = || {
        let rollouts = grpo.sample(&prompts()).unwrap();
        grpo.step(&rollouts.score(three).unwrap()).unwrap()
    };
    (0..n).map(|_| one()).collect()
}

fn weights(model: &Qwen) -> Vec<f32> {
    let mut model = model.clone();
    let read = |(_, param): (String, Param<'_>)| match param {
        Param::Matrix(w) => w.clone().into_data().iter::<f32>().collect::<Vec<_>>(),
        Param::Vector(w) => w.clone().into_data().iter::<f32>().collect(),
    };
    model.params().into_iter().flat_map(read).collect()
}

#[test]
fn a_bandit_of_one_token_is_solved_by_every_loss() {
    use LossKind::{Bnpo, Cispo, Dapo, DrGrpo, Grpo, Luspo, Sapo, Vespo};
    for loss in [Grpo, Bnpo, DrGrpo, Dapo, Cispo, Sapo, Luspo, Vespo] {
        let high = match loss {
            Cispo => Some(5.0),
            Sapo | Vespo => None,
            _ => Some(0.28),
        };
        let mut grpo = start(|c| (c.loss, c.epsilon_high) = (loss, high));
        let stats = steps(&mut grpo, 40);
        let (first, last) = (stats[0].reward, stats[39].reward);
        assert!(last > 0.9 && last > first, "{loss:?}: {first} {last}");
    }
}

#[test]
fn longer_completions_several_updates_and_a_reference_learn_too() {
    let mut grpo = start(|c| {
        (c.max_tokens, c.updates, c.beta, c.ratio) = (6, 3, 0.01, Ratio::Sequence);
        c.trainer.optimizer.lr = 5e-3;
    });
    let stats = steps(&mut grpo, 25);
    assert!(
        stats[24].reward > 0.8 && stats[0].reward < 0.6,
        "{:?}",
        stats.iter().map(|s| s.reward).collect::<Vec<_>>()
    );
    assert!(stats[24].kl > 0.0 && stats[0].length > 1.0);
    assert!(stats.iter().all(|s| s.sampler_gap < 1e-4), "{stats:?}");
}

#[test]
fn rewards_in_disorder_teach_nothing_in_particular() {
    let mut grpo = start(|_| ());
    let mut state = 1u32;
    for _ in 0..20 {
        let rollouts = grpo.sample(&prompts()).unwrap();
        let coin = |_: &Rollout| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 31) as f32
        };
        grpo.step(&rollouts.score(coin).unwrap()).unwrap();
    }
    let rollouts = grpo.sample(&prompts()).unwrap();
    let reward = rollouts.iter().map(three).sum::<f32>() / rollouts.len() as f32;
    assert!(reward < 0.9, "{reward}");
}

#[test]
fn fresh_completions_have_ratio_one_for_any_split() {
    for (rows, in_work, tokens) in [(64, 256, None), (5, 256, None), (3, 2, None), (1, 256, Some(40))] {
        let mut grpo = start(|c| {
            (c.trainer.train.batch_size, c.max_tokens, c.beta) = (rows, 5, 0.1);
            (c.rollout_batch, c.max_batch_tokens) = (in_work, tokens);
        });
        let stats = &steps(&mut grpo, 1)[0];
        assert_eq!((stats.ratio_min, stats.ratio_max), (1.0, 1.0));
        assert_eq!((stats.clip.low_mean, stats.clip.high_max), (0.0, 0.0));
        assert!(stats.kl == 0.0 && stats.sampler_gap < 1e-5, "{stats:?}");
    }
}

/// The sampler's log-probabilities are those that are trained, at any temperature. Filters are not part of the trained
/// distribution, as in TRL, and show.
#[test]
fn the_sampler_and_the_trainer_agree_at_every_temperature() {
    let gap = |temperature, top_k| {
        let mut grpo =
            start(|c| (c.max_tokens, c.temperature, c.top_k, c.beta) = (5, temperature, top_k, 0.1));
        let stats = &steps(&mut grpo, 1)[0];
        assert_eq!((stats.ratio_min, stats.ratio_max, stats.kl), (1.0, 1.0, 0.0));
        stats.sampler_gap
    };
    for temperature in [0.3, 1.0, 2.5] {
        assert!(gap(temperature, 0) < 1e-5, "{temperature}");
    }
    assert!(gap(1.0, 2) > 0.1);
}

#[test]
fn the_split_into_passes_changes_rounding_only() {
    for loss in [LossKind::Grpo, LossKind::DrGrpo, LossKind::Dapo] {
        let mut one = start(|c| (c.max_tokens, c.loss) = (5, loss));
        let mut many = start(|c| (c.max_tokens, c.loss, c.trainer.train.batch_size) = (5, loss, 3));
        let (a, b) = (&steps(&mut one, 1)[0], &steps(&mut many, 1)[0]);
        assert!((a.grad_norm - b.grad_norm).abs() < 1e-5 * a.grad_norm, "{a:?} {b:?}");
        assert!((a.loss - b.loss).abs() < 1e-6);
    }
}

#[test]
fn the_batch_changes_no_draw_and_a_resumed_run_has_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let more = |c: &mut GrpoConfig| (c.max_tokens, c.updates, c.beta) = (4, 2, 0.05);
    let mut whole = start(more);
    let expected = steps(&mut whole, 8);

    let at_once = start(more).sample(&prompts()).unwrap();
    for (in_work, tokens) in [(1, None), (5, None), (100, Some(60))] {
        let mut split = start(|c| (c.max_tokens, c.rollout_batch, c.max_batch_tokens) = (4, in_work, tokens));
        assert_eq!(split.sample(&prompts()).unwrap(), at_once);
    }

    let mut first = start(more);
    steps(&mut first, 3);
    let mut run = RunFolder::create(&dir.path().join("run"), "").unwrap();
    run.checkpoint(first.policy(), first.optimizer(), first.progress()).unwrap();
    drop(run);
    let (_, resumed) = RunFolder::resume(&dir.path().join("run"), |_, _| Ok(())).unwrap();
    let at = model_qwen::Checkpoint::open(&resumed.dir).unwrap();
    let model = at.load(model_qwen::Dtype::F32, &Device::flex()).unwrap();
    let second = Grpo::new(model, vec![6], &config(more), 2).unwrap();
    let mut second = second.resume(Some(policy(1)), &resumed).unwrap();
    assert_eq!(steps(&mut second, 5), expected[3..]);
    assert_eq!(weights(second.policy()), weights(whole.policy()));
}

#[test]
fn rewards_that_make_no_sense() {
    let mut grpo = start(|_| ());
    let rollouts = grpo.sample(&prompts()).unwrap();
    let message = rollouts.clone().score(|r| if r.prompt == 1 { f32::INFINITY } else { 0.0 }).unwrap_err();
    assert!(message.to_string().contains("prompt 1"), "{message}");
    let before = weights(grpo.policy());
    let stats = grpo.step(&rollouts.clone().score(|_| f32::NAN).unwrap()).unwrap();
    assert_eq!((stats.unjudged, stats.frac_reward_zero_std, stats.grad_norm), (1.0, 1.0, 0.0));
    let line = serde_json::to_value(&stats).unwrap();
    assert!(stats.reward.is_nan() && line["reward"].is_null(), "{line}");
    let stats = grpo.step(&rollouts.score(|_| 1.0).unwrap()).unwrap();
    assert_eq!((stats.reward, stats.frac_reward_zero_std), (1.0, 1.0));
    assert_eq!(weights(grpo.policy()), before);
    assert!(grpo.sample(&[]).is_err());
    assert!(grpo.sample(&[vec![]]).is_err());
}

/// Completions of earlier weights: their own log-probabilities are the old ones, where they have any.
#[test]
fn stale_completions_have_ratios_of_their_own_log_probabilities() {
    let elsewhere = |staleness| Some(RolloutConfig { staleness, ..RolloutConfig::default() });
    let step = |own: &dyn Fn(f32) -> f32, staleness: usize| {
        let mut grpo = start(|c| c.rollouts = elsewhere(staleness));
        steps(&mut grpo, 2);
        let made: Vec<Rollout> = grpo.sample(&prompts()).unwrap().iter().cloned().collect();
        let made = made.into_iter().map(|r| Rollout {
            sampled_at: 0,
            sampling_logprobs: r.sampling_logprobs.iter().map(|&x| own(x)).collect(),
            ..r
        });
        let rollouts = Rollouts::new(made.collect(), &config(|_| ())).unwrap();
        grpo.step(&rollouts.score(three).unwrap())
    };
    // The sampler is the trainer up to rounding: one nat less is a ratio of e.
    let stats = step(&|x| x - 1.0, 2).unwrap();
    let e = std::f64::consts::E;
    assert!((stats.ratio_min - e).abs() < 1e-4 && (stats.ratio_max - e).abs() < 1e-4, "{stats:?}");
    let sampler = stats.sampler.unwrap();
    assert_eq!((sampler.weight_min, sampler.weight_max, sampler.staleness_max), (1.0, 1.0, 2));
    let stats = step(&|_| f32::NAN, 2).unwrap();
    assert_eq!((stats.ratio_min, stats.ratio_max, stats.sampler_gap), (1.0, 1.0, 0.0));
    let message = step(&|x| x, 1).unwrap_err().to_string();
    assert!(message.contains("step 2: a completion of the weights after step 0"), "{message}");
}

#[test]
fn blocks_run_again_make_the_same_run() {
    let run = |recompute| {
        let mut grpo = start(|c| {
            (c.beta, c.updates, c.max_tokens) = (0.1, 2, 3);
            c.trainer.train.recompute = recompute;
        });
        let stats = steps(&mut grpo, 3);
        let same: Vec<[u64; 3]> =
            stats.iter().map(|s| [s.loss, s.grad_norm, s.sampler_gap].map(f64::to_bits)).collect();
        (same, weights(grpo.policy()))
    };
    assert!(run(false) == run(true));
}

#[test]
fn groups_without_variance_are_dropped_and_sampled_again() {
    use posttrain_grpo::ZeroVariance;
    // The first prompt is rewarded whatever is said; the second is not.
    let reward = |r: &Rollout| if r.prompt_ids == [3] { three(r) } else { 1.0 };
    let dynamic = |c: &mut GrpoConfig| (c.zero_variance, c.resample) = (ZeroVariance::Drop, 3);
    let mut grpo = start(dynamic);
    let generation = |grpo: &mut Grpo| grpo.sample(&prompts()).unwrap().score(reward).unwrap();
    let mut scored = generation(&mut grpo);
    assert!(scored.wants_more());
    scored.append(generation(&mut grpo));
    assert!(!scored.wants_more() && scored.iter().count() == 64);
    let stats = grpo.step(&scored).unwrap();
    assert_eq!((stats.generations, stats.groups_left_out, stats.frac_reward_zero_std), (2, 2, 0.5));
    assert!(stats.grad_norm > 0.0);
    let advantages: Vec<f32> = scored.iter().map(|(_, _, a)| a).collect();
    assert!(advantages[..16].iter().all(|&a| a == 0.0) && advantages[16..32].iter().any(|&a| a != 0.0));

    // With a bound: what there is, and no update where there is nothing.
    let mut scored = grpo.sample(&prompts()).unwrap().score(|_| 0.0).unwrap();
    let mut generations = 1;
    while scored.wants_more() {
        scored.append(grpo.sample(&prompts()).unwrap().score(|_| 0.0).unwrap());
        generations += 1;
    }
    let before = weights(grpo.policy());
    let stats = grpo.step(&scored).unwrap();
    assert_eq!((generations, stats.generations, stats.groups_left_out), (4, 4, 8));
    assert_eq!(weights(grpo.policy()), before);

    // Dropped or kept, the divisor differs: half the sequences.
    let gradient = |zero_variance| {
        let mut grpo = start(|c| (c.zero_variance, c.loss) = (zero_variance, LossKind::DrGrpo));
        let scored = generation(&mut grpo);
        grpo.step(&scored).unwrap().grad_norm
    };
    let (keep, drop) = (gradient(ZeroVariance::Keep), gradient(ZeroVariance::Drop));
    assert!((drop / keep - 2.0).abs() < 1e-4, "{keep} {drop}");
}

#[test]
fn entropy_terms_do_not_depend_on_the_split_and_the_bonus_raises_the_entropy() {
    let options = |c: &mut GrpoConfig| (c.max_tokens, c.top_entropy, c.entropy_coef) = (5, 0.4, 0.1);
    let mut one = start(options);
    let mut many = start(|c| {
        options(c);
        c.trainer.train.batch_size = 3;
    });
    let (a, b) = (&steps(&mut one, 1)[0], &steps(&mut many, 1)[0]);
    assert!((a.grad_norm - b.grad_norm).abs() < 1e-5 * a.grad_norm, "{a:?} {b:?}");
    assert!((a.loss - b.loss).abs() < 1e-6 && (a.entropy - b.entropy).abs() < 1e-6);
    let last = |coef| {
        let mut grpo = start(|c| c.entropy_coef = coef);
        steps(&mut grpo, 15)[14].entropy
    };
    let (with, without) = (last(2.0), last(0.0));
    assert!(with > without + 0.1, "{with} {without}");
}

#[test]
fn totals_and_advantages_are_derived_again_from_the_file() {
    use posttrain_grpo::reward::{Rewards, Sample};
    use posttrain_grpo::{Advantage, advantages, read_completions};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("step-0.jsonl.gz");
    let mut grpo = start(|c| c.max_tokens = 4);
    let mut rewards = Rewards::default()
        .with("threes", 1.0, |s: &Sample<'_>| s.ids.iter().filter(|&&id| id == 3).count() as f32)
        .with("short", 0.3, |s: &Sample<'_>| if s.ids.len() > 3 { f32::NAN } else { 0.1 });
    let rollouts = grpo.sample(&prompts()).unwrap();
    let none = serde_json::Map::new();
    let table = rewards.score(&rollouts.samples(|_| (None, &none))).unwrap();
    let scored = rollouts.with_rewards(table).unwrap();
    scored.write(&path, 0).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    scored.write(&path, 0).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);

    let records = read_completions(&path).unwrap();
    assert_eq!(records.len(), 32);
    let total = |record: &posttrain_grpo::Record| {
        let judged = record.rewards.iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
        judged.map(|(name, value)| value * record.weights[name].as_f64().unwrap()).sum::<f64>() as f32
    };
    let totals: Vec<f32> = records.iter().map(total).collect();
    let again: Vec<f32> = totals.chunks(16).flat_map(|g| advantages(g, 16, Advantage::Group)).collect();
    for (at, record) in records.iter().enumerate() {
        assert_eq!((record.group, record.sample), (at / 16, at % 16));
        assert_eq!((record.reward, record.advantage, record.used), (Some(totals[at]), again[at], true));
    }
    let stats = grpo.step(&scored).unwrap();
    let mean = totals.iter().map(|&r| f64::from(r)).sum::<f64>() / 32.0;
    assert!((stats.reward - mean).abs() < 1e-6);
    let names: Vec<&String> = stats.rewards.keys().collect();
    assert_eq!(
        names,
        ["rewards/short/mean", "rewards/short/std", "rewards/threes/mean", "rewards/threes/std"]
    );
}

#[test]
fn a_closure_that_panics_is_an_error_and_the_run_goes_on() {
    let mut grpo = start(|_| ());
    let rollouts = grpo.sample(&prompts()).unwrap();
    let message =
        rollouts.clone().score(|r| if r.prompt == 1 { panic!("no idea") } else { 0.0 }).unwrap_err();
    assert!(message.to_string().contains("no idea"), "{message}");
    assert!(grpo.step(&rollouts.score(three).unwrap()).unwrap().grad_norm > 0.0);
}
