//! The loop on tiny random models: it learns, it repeats itself to the last bit, and it says what is wrong.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use model_qwen::{Config as ModelConfig, Param, Qwen};
use posttrain::RunFolder;
use posttrain::config::Kind;
use posttrain_grpo::{Grpo, GrpoConfig, GrpoStats, LossKind, Ratio, Rollout};

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
        grpo.step(rollouts.score(three).unwrap()).unwrap()
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
        grpo.step(rollouts.score(coin).unwrap()).unwrap();
    }
    let rollouts = grpo.sample(&prompts()).unwrap();
    let reward = rollouts.iter().map(three).sum::<f32>() / rollouts.len() as f32;
    assert!(reward < 0.9, "{reward}");
}

#[test]
fn fresh_completions_have_ratio_one_for_any_split() {
    for rows in [64, 5] {
        let mut grpo = start(|c| (c.trainer.train.batch_size, c.max_tokens, c.beta) = (rows, 5, 0.1));
        let stats = &steps(&mut grpo, 1)[0];
        assert_eq!((stats.ratio_min, stats.ratio_max), (1.0, 1.0));
        assert_eq!((stats.clip_low, stats.clip_high), (0.0, 0.0));
        assert!(stats.kl.abs() < 1e-12 && stats.sampler_gap < 1e-5, "{stats:?}");
    }
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

    let mut split = start(|c| (c.max_tokens, c.rollout_batch) = (4, 5));
    let ids = |grpo: &mut Grpo| -> Vec<Vec<u32>> {
        grpo.sample(&prompts()).unwrap().iter().map(|r| r.ids.clone()).collect()
    };
    assert_eq!(ids(&mut split), ids(&mut start(more)));

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
    let stats = grpo.step(rollouts.clone().score(|_| f32::NAN).unwrap()).unwrap();
    assert_eq!((stats.unjudged, stats.zero_variance, stats.grad_norm), (1.0, 1.0, 0.0));
    let stats = grpo.step(rollouts.score(|_| 1.0).unwrap()).unwrap();
    assert_eq!((stats.reward, stats.zero_variance), (1.0, 1.0));
    assert_eq!(weights(grpo.policy()), before);
    assert!(grpo.sample(&[]).is_err());
    assert!(grpo.sample(&[vec![]]).is_err());
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
