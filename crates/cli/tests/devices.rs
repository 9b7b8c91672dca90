//! Another device than the CPU gives the CPU's numbers: wgpu on a software adapter (Mesa's llvmpipe), where one is
//! installed. Built and run with `cargo test -p sparks --features wgpu --test devices`.
#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::process::Command;

use attribution::{Endpoint, Method, Options, score_pair};
use burn::tensor::{Device, DeviceKind, Tensor};
use hooks::{Batch, Heads, Metric, Pair, Pairs, Probe, Recorder, Site, Stream, Target, Task};
use model_qwen::{Config, Dtype, Pass, Qwen, Request, Sampling, generate, random, save};
use posttrain_grpo::{Grpo, GrpoConfig};
use posttrain_sft::{Example, Sft, SftConfig};

/// Two orders of summation of some hundred f32 terms.
const TOLERANCE: f32 = 2e-5;

fn config() -> Config {
    let text = r#"{"architectures": ["Qwen3ForCausalLM"], "num_hidden_layers": 2, "hidden_size": 32,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48,
        "vocab_size": 64, "tie_word_embeddings": true, "initializer_range": 0.3}"#;
    Config::parse(text).unwrap()
}

fn on(device: &Device) -> Qwen {
    random(config(), 3, device)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.inner().into_data().try_to_vec().unwrap()
}

fn apart(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-12f32, |m, x| m.max(x.abs()));
    found.iter().zip(expected).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale
}

fn batch() -> Batch {
    Batch::left_padded(&[(1..12).collect(), vec![5, 4, 3]]).unwrap()
}

#[test]
fn forward_generation_and_gradients_agree_with_the_cpu() {
    let models = [on(&Device::flex()), on(&Device::wgpu(DeviceKind::Cpu))];

    let [cpu, gpu] = models.each_ref().map(|model| {
        let mut seen = Recorder::new([Heads::Pattern(1).into(), Heads::Write(0).into()]);
        let logits = values(model.forward(&batch(), Pass::new(&mut seen)));
        (logits, values(seen.heads(Heads::Write(0))))
    });
    assert!(apart(&gpu.0, &cpu.0) < TOLERANCE, "logits: {:e}", apart(&gpu.0, &cpu.0));
    assert!(apart(&gpu.1, &cpu.1) < TOLERANCE, "writes: {:e}", apart(&gpu.1, &cpu.1));

    let [cpu, gpu] = models.each_ref().map(|model| {
        let how = Sampling { max_tokens: 12, ..Sampling::default() };
        let request = |prompt: &[u32]| Request { prompt: prompt.to_vec(), stream: 0, origin: 0 };
        let prompts = [request(&[1, 2, 3]), request(&[9])];
        generate(model, &prompts, &how, &mut (), |_, _| true).unwrap()
    });
    for (gpu, cpu) in gpu.iter().zip(&cpu) {
        assert_eq!(gpu.ids, cpu.ids);
        assert!(gpu.logprobs.iter().zip(&cpu.logprobs).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    for site in [Stream::Embed, Stream::ResidMid(0), Stream::MlpIn(1), Stream::ResidPost(1)] {
        let [cpu, gpu] = models.each_ref().map(|model| {
            let mut probe = Probe::new([Site::from(site)]);
            let mut grads = model.forward(&batch(), Pass::new(&mut probe)).square().sum().backward();
            values(probe.stream(site, &mut grads).unwrap().0)
        });
        assert!(apart(&gpu, &cpu) < TOLERANCE, "{site:?}: {:e}", apart(&gpu, &cpu));
    }
}

#[test]
fn scores_and_training_steps_agree_with_the_cpu() {
    let models = [on(&Device::flex()), on(&Device::wgpu(DeviceKind::Cpu))];

    let target = Target { answers: vec![7], distractors: vec![9] };
    let (clean, corrupt) = (vec![1, 2, 3, 4, 5, 6], vec![1, 12, 3, 14, 5, 6]);
    let pair = Pair { id: "a".to_owned(), clean, corrupt, target, earlier: Vec::new() };
    let pairs = Pairs::new(vec![pair.clone()]).unwrap();
    let [cpu, gpu] = models.each_ref().map(|model| {
        let task = Task::new(model, &pairs, Metric::LogitDiff);
        let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Left };
        score_pair(&task, &pair, method, Options::default()).unwrap().scores.values().to_vec()
    });
    assert!(apart(&gpu, &cpu) < 2.0 * TOLERANCE, "scores: {:e}", apart(&gpu, &cpu));

    let close =
        |a: f64, b: f64, what: &str| assert!((a - b).abs() <= 1e-4 * b.abs().max(1e-3), "{what}: {a} {b}");
    let rows = [(1..15).collect(), vec![5, 4, 3, 2, 1, 9]];
    let rows = rows.map(|ids: Vec<u32>| Example::new("row".to_owned(), ids, 2));
    let [cpu, gpu] = models.each_ref().map(|model| {
        let mut config = SftConfig::default();
        config.trainer.train.steps = Some(3);
        config.trainer.train.batch_size = 2;
        config.trainer.optimizer.lr = 1e-3;
        let mut sft = Sft::new(model.clone(), &config, 2).unwrap();
        let steps: Vec<_> = (0..3).map(|_| sft.step(&rows).unwrap()).collect();
        steps
    });
    for (gpu, cpu) in gpu.iter().zip(&cpu) {
        close(gpu.loss, cpu.loss, "SFT loss");
        close(gpu.entropy, cpu.entropy, "SFT entropy");
        close(gpu.grad_norm, cpu.grad_norm, "SFT gradient norm");
        assert_eq!(gpu.token_accuracy, cpu.token_accuracy);
    }

    let [cpu, gpu] = models.each_ref().map(|model| {
        let config =
            GrpoConfig { prompts: 2, group_size: 4, max_tokens: 8, beta: 0.04, ..GrpoConfig::default() };
        let mut grpo = Grpo::new(model.clone(), vec![0], &config, 2).unwrap();
        let rollouts = grpo.sample(&[vec![1, 2, 3], vec![9, 8]]).unwrap();
        let ids: Vec<Vec<u32>> = rollouts.iter().map(|r| r.ids.clone()).collect();
        let scored = rollouts.score(|r| r.ids.iter().filter(|&&id| id % 2 == 0).count() as f32).unwrap();
        (ids, grpo.step(&scored).unwrap())
    });
    assert_eq!(gpu.0, cpu.0, "the same draws");
    close(gpu.1.loss, cpu.1.loss, "GRPO loss");
    close(gpu.1.grad_norm, cpu.1.grad_norm, "GRPO gradient norm");
}

#[test]
fn the_command_runs_there_and_says_where_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    save(&on(&Device::flex()), &folder.path().join("model"), Dtype::F32, None).unwrap();
    std::fs::write(at("in.json"), r#"{"input_ids": [[1, 2, 3, 4]]}"#).unwrap();
    let logits = |device: &str| -> Vec<f32> {
        let (model, input, out) = (at("model"), at("in.json"), at("out.safetensors"));
        let run = Command::new(env!("CARGO_BIN_EXE_sparks"))
            .args(["forward", &model, "--input", &input, "--out", &out, "--device", device])
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let file = std::fs::read(out).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let data = tensors.tensor("logits").unwrap().data().to_vec();
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    assert!(apart(&logits("wgpu:cpu"), &logits("cpu")) < TOLERANCE);
    let run = Command::new(env!("CARGO_BIN_EXE_sparks"))
        .args(["info", &at("model"), "--device", "wgpu:99"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{message}");
    // Drivers have their own say on stderr.
    let ours: Vec<&str> = message.lines().filter(|line| line.starts_with("sparks: ")).collect();
    assert!(ours.len() == 1 && ours[0].contains("no such device"), "{message}");
}
