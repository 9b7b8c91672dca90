//! Configuration, log-probabilities in chunks, the optimiser's state, checkpoints kept and left out.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use hooks::Batch;
use model_qwen::{Config as ModelConfig, Param, Qwen};
use posttrain::config::{Decay, Kind};
use posttrain::{Config, Gradients, Optimizer, Progress, RunFolder, TokenLogProbs};

const REQUIRED: &str = "[model]\npath = 'm'\n[data]\ntrain = 'd'\n[run]\ndir = 'r'\n";

fn model(tied: bool) -> Qwen {
    let text = format!(
        r#"{{"architectures":["Qwen2ForCausalLM"],"num_hidden_layers":2,"hidden_size":16,"num_attention_heads":2,
        "num_key_value_heads":1,"intermediate_size":24,"vocab_size":11,"tie_word_embeddings":{tied},
        "initializer_range":0.3}}"#
    );
    model_qwen::random(ModelConfig::parse(&text).unwrap(), 3, &Device::flex())
}

fn set(changes: &[&str]) -> Result<Config, posttrain::Error> {
    Config::parse(REQUIRED, &changes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
}

#[test]
fn defaults_and_changes() {
    let config =
        set(&["optimizer.lr=1e-3", "schedule.kind=cosine", "data.eval=some/file.jsonl", "train.epochs=2"])
            .unwrap();
    assert_eq!((config.optimizer.lr, config.schedule.kind), (1e-3, Kind::Cosine));
    assert_eq!(config.data.eval.as_deref(), Some("some/file.jsonl".as_ref()));
    assert_eq!((config.run.keep, config.train.batch_size, config.optimizer.decay), (3, 8, Decay::Matrices));
    assert_eq!(config.steps(20), 5);
    assert_eq!(Config::parse(&config.to_toml().unwrap(), &[]).unwrap(), config);
    let grpo = set(&["grpo.loss=dr_grpo", "grpo.delta=2"]).unwrap();
    assert_eq!(Config::parse(&grpo.to_toml().unwrap(), &[]).unwrap(), grpo);
    assert_eq!(set(&["schedule.warmup_ratio=0.1"]).unwrap().schedule(15).warmup, 2);
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (&["optimizer.learning_rate=1"][..], "optimizer.learning_rate"),
        (&["optimizer.bets=1"], "optimizer.betas"),
        (&["optimiser.lr=1"], "[optimizer]"),
        (&["train.steps=3", "train.epochs=1"], "one of the two"),
        (&["lora.rank=4"], "not implemented"),
        (&["data.packing=bfd"], "not implemented"),
        (&["schedule.kind=cosin"], "cosine"),
        (&["train.steps=-1"], "steps"),
        (&["optimizer.betas=[0.9, 1.0]"], "betas[1]"),
        (&["grpo.temperature=0"], "temperature"),
        (&["model.path="], "missing `model.path`"),
        (&["lr"], "section.key=value"),
    ];
    for (changes, expected) in cases {
        let message = set(changes).unwrap_err().to_string();
        assert!(message.contains(expected), "{changes:?}: {message}");
    }
    let message = Config::parse("lr = 1\n", &[]).unwrap_err().to_string();
    assert!(message.contains("optimizer.lr"), "{message}");
    assert!(Config::parse("[model]\npath = 'x'\n", &[]).unwrap_err().to_string().contains("data.train"));
    assert!(Config::parse("[model", &[]).is_err());
}

fn gradients(model: &Qwen, rows: usize) -> (Vec<f32>, Gradients) {
    let mut tracked = model.tracked();
    let batch = Batch::new(&[vec![1, 2, 3, 4], vec![5, 6, 7]]).unwrap();
    let made = TokenLogProbs::new(&tracked, &batch, &[0, 2, 4, 5], vec![2, 4, 6, 7], 0.7).unwrap();
    let mut made = made.chunked(rows);
    let values = made.values();
    let (again, gradients) = made.backward(&mut tracked, &[1.0, -0.5, 0.25, 2.0]);
    assert_eq!(values, again);
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

#[test]
fn the_norm_is_reported_before_clipping() {
    let config = set(&["optimizer.max_grad_norm=0.5"]).unwrap();
    let mut model = model(true);
    let mut optimizer = Optimizer::new(&model, &config.optimizer).unwrap();
    let (_, gradients) = gradients(&model, 100);
    let norm = flat(&gradients).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    assert!(norm > 0.5);
    let update = optimizer.step(&mut model, gradients, 1e-3).unwrap();
    assert!((update.grad_norm - norm).abs() < 1e-12 * norm);
}

#[test]
fn old_checkpoints_go_and_half_written_ones_are_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let run = format!("run.dir={}", dir.path().join("run").display());
    let config = set(&[&run, "run.keep=2"]).unwrap();
    let (model, mut folder) = (model(false), RunFolder::create(&config).unwrap());
    let optimizer = Optimizer::new(&model, &config.optimizer).unwrap();
    assert!(RunFolder::resume(&config.run.dir).unwrap_err().to_string().contains("no checkpoint"));
    for step in [5, 20, 100] {
        folder.checkpoint(&model, &optimizer, Progress { step, position: 1, seed: 2 }).unwrap();
    }
    assert!(!folder.checkpoint_dir(5).exists() && folder.checkpoint_dir(20).exists());
    std::fs::create_dir(folder.checkpoint_dir(200)).unwrap();
    let (_, resumed) = RunFolder::resume(&config.run.dir).unwrap();
    assert_eq!(resumed.progress, Progress { step: 100, position: 1, seed: 2 });
    let mut other = Optimizer::new(&model, &config.optimizer).unwrap();
    other.load(&resumed.dir.join("optimizer.safetensors")).unwrap();
    assert_eq!(other.updates(), 0);
    std::fs::write(resumed.dir.join("optimizer.safetensors"), b"short").unwrap();
    assert!(other.load(&resumed.dir.join("optimizer.safetensors")).is_err());
}
