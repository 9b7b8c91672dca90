//! Several ranks sample, judge and train with the bits of one process that sums in the same groups.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use model_qwen::{Adapter, Checkpoint, Dtype, LoraConfig, Param, Qwen};
use posttrain::ranks::{Alone, Ranks, Threads};
use posttrain_grpo::reward::{Rewards, Sample};
use posttrain_grpo::{Grpo, GrpoConfig, GrpoStats};
use serde_json::Map;

fn model() -> Qwen {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/qwen2-tied");
    Checkpoint::open(&place).unwrap().load(Dtype::F32, &Device::flex()).unwrap()
}

fn config(change: fn(&mut GrpoConfig)) -> GrpoConfig {
    let mut config = GrpoConfig { prompts: 3, group_size: 4, max_tokens: 5, ..GrpoConfig::default() };
    let trainer = &mut config.trainer;
    (trainer.train.steps, trainer.train.batch_size, trainer.train.groups) = (Some(2), 2, Some(4));
    trainer.optimizer.lr = 1e-3;
    change(&mut config);
    config
}

type Outcome = (Vec<GrpoStats>, Vec<Vec<u32>>, Vec<Vec<f32>>);

/// Two steps: their numbers, the completions of the last, the weights.
fn run(start: &Qwen, config: &GrpoConfig, ranks: Arc<dyn Ranks>) -> Outcome {
    let prompts = [vec![1, 2, 3], vec![7, 5], vec![9, 8, 7, 6]];
    let rewards = |sample: &Sample<'_>| sample.ids.iter().filter(|id| *id % 3 == 0).count() as f32;
    let mut rewards = Rewards::default().with("thirds", 1.0, rewards);
    let mut grpo = Grpo::among(start.clone(), vec![], config, prompts.len(), ranks).unwrap();
    let (mut stats, mut ids, none) = (Vec::new(), Vec::new(), Map::new());
    while !grpo.is_done() {
        let rollouts = grpo.sample(&prompts).unwrap();
        ids = rollouts.iter().map(|r| r.ids.clone()).collect();
        let table =
            rewards.score_among(&rollouts.samples(|_| (None, &none)), grpo.optimizer().ranks()).unwrap();
        stats.push(grpo.step(&rollouts.with_rewards(table).unwrap()).unwrap());
    }
    let mut policy = grpo.into_policy();
    let params = if policy.has_adapter() { policy.adapter_params() } else { policy.params() };
    let read = |(_, param)| match param {
        Param::Matrix(w) => w.clone().into_data().iter::<f32>().collect(),
        Param::Vector(w) => w.clone().into_data().iter::<f32>().collect(),
    };
    (stats, ids, params.into_iter().map(read).collect())
}

#[test]
fn ranks_have_the_bits_of_one_process() {
    let base = model();
    let lora = LoraConfig::new(2, 4.0, &["q_proj", "up_proj"]);
    let lora = Adapter::new(lora, &base, 1).unwrap().attach(&base).unwrap();
    let with_reference: fn(&mut GrpoConfig) = |c| {
        (c.beta, c.updates, c.minibatches) = (0.1, 2, 2);
        c.trainer.train.batch_size = 1;
    };
    let with_entropies: fn(&mut GrpoConfig) = |c| c.top_entropy = 0.5;
    for (start, config) in [(&base, config(with_reference)), (&lora, config(with_entropies))] {
        let one = run(start, &config, Arc::new(Alone));
        assert!(one.0.iter().all(|stats| stats.grad_norm > 0.0));
        for count in [1, 2, 4] {
            let all = Threads::run(count, |ranks| run(start, &config, ranks));
            assert!(all.iter().all(|found| *found == one), "{count} ranks");
        }
    }
}
