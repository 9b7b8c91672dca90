//! Log-probabilities in chunks, the optimiser's state, checkpoints kept and left out, folders in use.
#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Device};
use hooks::Batch;
use model_qwen::{Adapter, Config as ModelConfig, LoraConfig, Param, Qwen};
use posttrain::config::{Group, OptimizerConfig};
use posttrain::{Error, Gradients, Optimizer, Progress, RunFolder, TokenLogProbs, TokenWeights};

fn model(tied: bool) -> Qwen {
    let text = format!(
        r#"{{"architectures":["Qwen2ForCausalLM"],"num_hidden_layers":2,"hidden_size":16,"num_attention_heads":2,
        "num_key_value_heads":1,"intermediate_size":24,"vocab_size":11,"tie_word_embeddings":{tied},
        "initializer_range":0.3}}"#
    );
    model_qwen::random(ModelConfig::parse(&text).unwrap(), 3, &Device::flex())
}

fn gradients(model: &Qwen, rows: usize) -> (Vec<f32>, Gradients) {
    let mut tracked = model.tracked();
    let batch = Batch::new(&[vec![1, 2, 3, 4], vec![5, 6, 7]]).unwrap();
    let made = TokenLogProbs::new(&tracked, &batch, &[0, 2, 4, 5], vec![2, 4, 6, 7], 0.7).unwrap();
    let mut made = made.chunked(rows);
    let values = made.values();
    let (again, gradients) = made.backward(&mut tracked, &[1.0, -0.5, 0.25, 2.0].map(TokenWeights::from));
    assert_eq!(values, again.iter().map(|s| s.log_prob).collect::<Vec<_>>());
    (values, gradients)
}

fn flat(gradients: &Gradients) -> Vec<f32> {
    gradients
        .iter()
        .flat_map(|(_, g)| g.map(|g| g.clone().into_data().iter::<f32>().collect()).unwrap_or(vec![]))
        .collect()
}

#[test]
fn chunks_change_rounding_only_and_gradients_are_those_of_the_whole_graph() {
    for tied in [true, false] {
        let model = model(tied);
        let (values, one) = gradients(&model, 100);
        for rows in [1, 3] {
            let (chunked, many) = gradients(&model, rows);
            assert!(values.iter().zip(&chunked).all(|(a, b)| (a - b).abs() < 1e-6));
            assert!(flat(&one).iter().zip(flat(&many)).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        // The same, as one graph.
        let tracked = model.tracked();
        let batch = Batch::new(&[vec![1, 2, 3, 4], vec![5, 6, 7]]).unwrap();
        let logits = tracked.forward(&batch, model_qwen::Pass::new(&mut ())).reshape([8, 11]);
        let log_probs = kernels::token_log_probs(logits, &[2, 0, 4, 0, 6, 7, 0, 0], 0.7);
        let weights = [1.0f32, 0.0, -0.5, 0.0, 0.25, 2.0, 0.0, 0.0];
        let weights = burn::tensor::Tensor::<1>::from_data(weights, &Device::flex()).autodiff();
        let left = (log_probs * weights).sum().backward();
        let mut tracked = tracked;
        let whole: Vec<f32> = tracked
            .params()
            .into_iter()
            .flat_map(|(_, param)| match param {
                Param::Matrix(w) => w.grad(&left).unwrap().into_data().iter::<f32>().collect::<Vec<_>>(),
                Param::Vector(w) => w.grad(&left).unwrap().into_data().iter::<f32>().collect(),
            })
            .collect();
        let one = flat(&one);
        assert_eq!(one.len(), whole.len());
        assert!(one.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-5), "tied {tied}");
    }
}

/// Log-probabilities and gradients of what `frozen` leaves, with the graph kept or with each block run again.
fn of_blocks(model: &Qwen, frozen: &[&str], recompute: bool) -> (Vec<u32>, Vec<Option<Vec<u32>>>) {
    let group = |p: &&str| Group { pattern: (*p).to_owned(), frozen: true, ..Group::default() };
    let config = OptimizerConfig { groups: frozen.iter().map(group).collect(), ..OptimizerConfig::default() };
    let mut tracked = Optimizer::new(model, &config).unwrap().tracked(model);
    let batch = Batch::packed(&[vec![vec![1, 2, 3, 4], vec![2, 9]], vec![vec![5, 6, 7]]]).unwrap();
    let (positions, targets) = ([0, 2, 4, 6, 7], vec![2, 4, 9, 6, 7]);
    let made = match recompute {
        true => TokenLogProbs::recomputed(model, &batch, &positions, targets, 0.7),
        false => TokenLogProbs::new(&tracked, &batch, &positions, targets, 0.7),
    };
    let mut made = made.unwrap();
    let values = made.values().into_iter().map(f32::to_bits).collect();
    let weights = [1.0, -0.5, 0.25, 2.0, 0.3].map(TokenWeights::from);
    let (_, gradients) = made.backward(&mut tracked, &weights);
    let bits = |g: &burn::tensor::Tensor<1>| g.clone().into_data().iter::<f32>().map(f32::to_bits).collect();
    (values, gradients.iter().map(|(_, g)| g.map(bits)).collect())
}

#[test]
fn blocks_that_are_run_again_give_the_bits_of_the_whole_graph() {
    let adapted = |layers: Option<Vec<usize>>, dtype| {
        let base = of_dtype(&model(true), dtype);
        let config = LoraConfig { layers, ..LoraConfig::new(2, 4.0, &["q_proj", "down_proj"]) };
        let mut model = Adapter::new(config, &base, 1).unwrap().attach(&base).unwrap();
        // A new adapter's second factor is 0, and the first would have no gradient.
        for (_, param) in model.adapter_params() {
            if let Param::Matrix(w) = param {
                *w = w.clone() + 0.1;
            }
        }
        model
    };
    let cases: [(Qwen, &[&str], usize); 9] = [
        (model(true), &[], 26),
        (model(false), &[], 27),
        (model(true), &["*embed*"], 25),
        (model(false), &["*embed*", "*.layers.0.*"], 14),
        (model(false), &["*.layers.*"], 3),
        (model(false), &["model.*"], 1),
        (adapted(None, DType::F32), &[], 8),
        (adapted(Some(vec![1]), DType::F32), &[], 4),
        (adapted(Some(vec![0]), DType::BF16), &[], 4),
    ];
    for (model, frozen, trained) in cases {
        let (stored, again) = (of_blocks(&model, frozen, false), of_blocks(&model, frozen, true));
        let nonzero = |g: &Vec<u32>| g.iter().any(|&bits| f32::from_bits(bits) != 0.0);
        assert_eq!(stored.1.iter().flatten().filter(|g| nonzero(g)).count(), trained);
        assert!(stored == again, "{trained}");
    }
}

fn of_dtype(model: &Qwen, dtype: DType) -> Qwen {
    let mut model = model.clone();
    for (_, param) in model.params() {
        if let Param::Matrix(w) = param {
            *w = w.clone().cast(dtype);
        }
    }
    model
}

#[test]
fn the_norm_is_reported_before_clipping() {
    let config = OptimizerConfig { max_grad_norm: 0.5, ..OptimizerConfig::default() };
    let mut model = model(true);
    let mut optimizer = Optimizer::new(&model, &config).unwrap();
    let (_, gradients) = gradients(&model, 100);
    let norm = flat(&gradients).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    assert!(norm > 0.5);
    let update = optimizer.step(&mut model, gradients, 1e-3).unwrap();
    assert!((update.grad_norm - norm).abs() < 1e-12 * norm);
}

#[test]
fn old_checkpoints_go_and_half_written_ones_are_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (run, config) = (dir.path().join("run"), OptimizerConfig::default());
    let (model, mut folder) = (model(false), RunFolder::create(&run, "").unwrap().keeping(2));
    let optimizer = Optimizer::new(&model, &config).unwrap();
    for step in [5, 10, 20, 100] {
        if step == 10 {
            folder.protect(Some(5));
            folder.keep_state(serde_json::json!({ "best": 5 }));
        }
        folder.checkpoint(&model, &optimizer, Progress { step, position: 1, seed: 2 }).unwrap();
    }
    assert!(folder.checkpoint_dir(5).exists(), "rotation leaves it alone");
    assert!(!folder.checkpoint_dir(10).exists() && folder.checkpoint_dir(20).exists());
    std::fs::create_dir(folder.checkpoint_dir(200)).unwrap();
    drop(folder);
    let (_, resumed) = RunFolder::resume(&run, |_, _| Ok(())).unwrap();
    assert_eq!(resumed.progress, Progress { step: 100, position: 1, seed: 2 });
    assert_eq!(resumed.state, serde_json::json!({ "best": 5 }));
    let mut other = Optimizer::new(&model, &config).unwrap();
    other.load(&resumed.dir.join("optimizer.safetensors")).unwrap();
    assert_eq!(other.updates(), 0);
    std::fs::write(resumed.dir.join("optimizer.safetensors"), b"short").unwrap();
    assert!(other.load(&resumed.dir.join("optimizer.safetensors")).is_err());
}

/// One tensor at a time makes the bytes that `safetensors` makes at once.
#[test]
fn the_state_comes_back_from_a_file_in_the_usual_order() {
    let dir = tempfile::tempdir().unwrap();
    let (path, again) = (dir.path().join("a.safetensors"), dir.path().join("b.safetensors"));
    let (mut model, config) = (model(true), OptimizerConfig::default());
    let mut optimizer = Optimizer::new(&model, &config).unwrap();
    let (_, gradients) = gradients(&model, 100);
    optimizer.step(&mut model, gradients, 1e-3).unwrap();
    optimizer.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(safetensors::serialize(file.tensors(), None).unwrap() == bytes);
    let moments = file.tensors();
    assert!(moments.iter().filter(|(name, t)| name != "t" && t.data().iter().any(|&b| b != 0)).count() > 40);
    let mut other = Optimizer::new(&model, &config).unwrap();
    other.load(&path).unwrap();
    other.save(&again).unwrap();
    assert!(other.updates() == 1 && std::fs::read(&again).unwrap() == bytes);
}

#[test]
fn one_process_a_folder_and_no_file_of_the_users_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let first = RunFolder::create(&run, "a = 1\n").unwrap();
    for refused in [RunFolder::create(&run, "").err(), RunFolder::resume(&run, |_, _| Ok(())).err()] {
        let message = refused.unwrap().to_string();
        assert!(message.contains("another process"), "{message}");
    }
    drop(first);
    assert!(RunFolder::resume(&run, |_, _| Ok(())).unwrap_err().to_string().contains("no checkpoint"));
    // An attempt that ended before its first checkpoint is in nobody's way.
    RunFolder::create(&run, "a = 2\n").unwrap();
    for (name, text) in [("config.toml", "# my notes\n"), ("metrics.jsonl", "{}\n")] {
        let mine = dir.path().join(name);
        std::fs::create_dir(&mine).unwrap();
        std::fs::write(mine.join(name), text).unwrap();
        assert!(RunFolder::create(&mine, "").unwrap_err().to_string().contains(name));
        assert_eq!(std::fs::read_to_string(mine.join(name)).unwrap(), text);
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_nothing_earlier_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (model, config) = (model(false), OptimizerConfig::default());
    let optimizer = Optimizer::new(&model, &config).unwrap();
    let at = |step| Progress { step, position: 1, seed: 2 };
    for (n, file) in
        ["optimizer.safetensors", "model.safetensors", "config.json", "state.json"].into_iter().enumerate()
    {
        let run = dir.path().join(n.to_string());
        let mut folder = RunFolder::create(&run, "").unwrap().keeping(2);
        for step in [1, 2] {
            folder.checkpoint(&model, &optimizer, at(step)).unwrap();
        }
        let path = folder.checkpoint_dir(2).join(file);
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        drop(folder);
        let refused = RunFolder::resume(&run, |place, wrong| {
            assert!(place.ends_with("step-1"));
            Err(Error::input(wrong))
        });
        assert!(refused.unwrap_err().to_string().contains(file));
        assert!(run.join("checkpoints/step-2").exists(), "nothing is renamed where the caller refuses");
        let mut told = 0;
        let (folder, resumed) = RunFolder::resume(&run, |_, _| {
            told += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((resumed.progress, &resumed.dir, told), (at(1), &folder.checkpoint_dir(1), 1));
        // What was put aside does not count as kept.
        let mut folder = folder.keeping(2);
        folder.checkpoint(&model, &optimizer, at(2)).unwrap();
        assert!(folder.checkpoint_dir(1).exists() && folder.checkpoint_dir(2).exists());
        for step in [1, 2] {
            std::fs::remove_file(folder.checkpoint_dir(step).join(file)).unwrap();
        }
        drop(folder);
        let message = RunFolder::resume(&run, |_, _| Ok(())).unwrap_err().to_string();
        assert!(message.contains("step-2") && message.contains("step-1"), "{message}");
        assert!(run.join("checkpoints/step-2").exists(), "nothing is renamed where nothing is whole");
    }
}
