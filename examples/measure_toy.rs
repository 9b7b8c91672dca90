//! What a checkpoint of the toy model can do, before and after post-training with the demo's settings:
//! `cargo run -p examples --example measure_toy -- MODEL_DIR (base|sft|grpo|shuffled) [SEED] [STEPS]`.
//!
//! Accuracy is of greedy answers on held-out problems, with Wilson's 95 % interval; pass@8 is of eight samples at
//! temperature 1. `shuffled` is GRPO with the rewards of a step exchanged at random between all its completions.

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use model_qwen::{Checkpoint, Dtype, Qwen, Request, Sampling, Text, generate};
use posttrain::config::{Kind, OptimizerConfig, ScheduleConfig, TrainConfig, TrainerConfig};
use posttrain_grpo::{Grpo, GrpoConfig};
use posttrain_sft::{Encoder, Example, Sft, SftConfig};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use toy::{Mix, ProblemStream, Split, ToyProblem};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Tokens of a completion at most.
const MAX_TOKENS: usize = 44;

/// Completions of each problem after `opening`, which is part of them; `samples` 0 is one greedy answer.
fn answers(model: &Qwen, problems: &[ToyProblem], opening: &str, samples: usize) -> Result<Vec<Vec<String>>> {
    let temperature = if samples == 0 { 0.0 } else { 1.0 };
    let how =
        Sampling { max_tokens: MAX_TOKENS, stop_ids: vec![toy::EOS], temperature, ..Sampling::default() };
    let n = samples.max(1);
    let mut all = Vec::new();
    for chunk in problems.chunks(100 / n) {
        let mut requests = Vec::new();
        for (problem, stream) in chunk.iter().zip(all.len()..) {
            let prompt = toy::encode(&format!("{}{opening}", problem.prompt))?;
            let request = |k| Request { prompt: prompt.clone(), stream: (n * stream + k) as u64, origin: 0 };
            requests.extend((0..n).map(request));
        }
        let completions = generate(model, &requests, &how, &mut (), |_, _| true)?;
        let texts: Vec<String> =
            completions.iter().map(|c| format!("{opening}{}", toy::decode(&c.ids))).collect();
        all.extend(texts.chunks(n).map(<[String]>::to_vec));
    }
    Ok(all)
}

fn report(model: &Qwen, name: &str) -> Result<()> {
    for (suite, mix) in [("easy", Mix::EASY), ("hard", Mix::HARD)] {
        let problems = toy::distinct(mix, Split::HeldOut, 0, 400)?;
        let right = |answers: &[Vec<String>]| {
            let of = |(p, texts): (&ToyProblem, &Vec<String>)| {
                texts.iter().filter(|t| toy::reward(p, t) == 1.0).count()
            };
            problems.iter().zip(answers).map(of).collect::<Vec<usize>>()
        };
        let greedy = answers(model, &problems, "", 0)?;
        let solved = right(&greedy);
        let interval = stats::wilson(solved.iter().sum(), problems.len(), 0.95);
        let thinks = greedy.iter().filter(|t| t[0].starts_with("<think>")).count();
        let forced: usize = right(&answers(model, &problems, "<think>", 0)?).iter().sum();
        let samples = right(&answers(model, &problems[..200], "", 8)?);
        let pass =
            |k| samples.iter().filter_map(|&c| stats::pass_at_k(8, c, k)).sum::<f64>() / samples.len() as f64;
        println!(
            "{name} {suite}: {:.1} % [{:.1}, {:.1}], thinks {:.1} %, made to think {:.1} %, pass@1 {:.1} %, pass@8 {:.1} %",
            100.0 * interval.estimate,
            100.0 * interval.low,
            100.0 * interval.high,
            100.0 * thinks as f64 / problems.len() as f64,
            100.0 * forced as f64 / problems.len() as f64,
            100.0 * pass(1),
            100.0 * pass(8)
        );
        for (problem, text) in problems.iter().zip(&greedy).take(3) {
            println!("    {}{}", problem.prompt, text[0]);
        }
    }
    Ok(())
}

fn trainer(steps: usize, rows: usize, lr: f64, seed: u64) -> TrainerConfig {
    let optimizer = OptimizerConfig { lr, max_grad_norm: 1.0, ..Default::default() };
    let train = TrainConfig { steps: Some(steps), batch_size: rows, ..Default::default() };
    TrainerConfig { train, optimizer, seed, ..Default::default() }
}

fn sft(base: Qwen, seed: u64, steps: usize) -> Result<Qwen> {
    let encoder = Encoder::new(Text::from_bytes(toy::TOKENIZER_JSON.as_bytes())?, None);
    let mut trainer = trainer(steps, 64, 1e-3, seed);
    trainer.schedule =
        ScheduleConfig { kind: Kind::Cosine, warmup_steps: 4, min_lr_ratio: 0.1, ..Default::default() };
    let mut sft = Sft::new(base, &SftConfig { trainer, ..SftConfig::default() }, 1)?;
    let mut corpus = toy::sft_corpus(seed);
    while !sft.is_done() {
        let lines = corpus.by_ref().take(sft.batch());
        let batch = lines.map(|l| encoder.completion(l.id, &l.prompt, &l.completion));
        sft.step(&batch.collect::<std::result::Result<Vec<Example>, _>>()?)?;
    }
    Ok(sft.into_model())
}

fn grpo(base: Qwen, seed: u64, steps: usize, shuffled: bool) -> Result<Qwen> {
    let mut trainer = trainer(steps, 128, 4e-4, seed);
    trainer.schedule = ScheduleConfig { kind: Kind::Constant, warmup_steps: 3, ..Default::default() };
    let config =
        GrpoConfig { trainer, prompts: 16, group_size: 8, max_tokens: MAX_TOKENS, ..GrpoConfig::default() };
    let mut grpo = Grpo::new(base, vec![toy::EOS], &config, 1)?;
    let mut problems = ProblemStream::new(Mix::HARD, Split::Train, seed ^ 0x6772_706f);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    while !grpo.is_done() {
        let tasks: Vec<ToyProblem> = problems.by_ref().take(grpo.prompts()).collect();
        let prompts =
            tasks.iter().map(|p| toy::encode(&p.prompt)).collect::<std::result::Result<Vec<_>, _>>()?;
        let rollouts = grpo.sample(&prompts)?;
        let mut rewards: Vec<f32> =
            rollouts.iter().map(|r| toy::reward(&tasks[r.prompt], &toy::decode(&r.ids))).collect();
        let reward = rewards.iter().sum::<f32>() / rewards.len() as f32;
        if shuffled {
            rewards.shuffle(&mut rng);
        }
        let mut rewards = rewards.into_iter();
        let stats = grpo.step(&rollouts.score(|_| rewards.next().unwrap_or(f32::NAN))?)?;
        if stats.step % 20 == 0 {
            println!("    step {} reward {reward:.3} length {:.1}", stats.step, stats.length);
        }
    }
    Ok(grpo.into_policy())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: measure_toy MODEL_DIR (base|sft|grpo|shuffled) [SEED] [STEPS]";
    let (Some(dir), Some(what)) = (args.first(), args.get(1)) else { return Err(usage.into()) };
    let base = Checkpoint::open(&PathBuf::from(dir))?.load(Dtype::F32, &Device::flex())?;
    let seed: u64 = args.get(2).map_or(Ok(0), |seed| seed.parse())?;
    let steps = |default: usize| args.get(3).map_or(Ok(default), |steps| steps.parse());
    let model = match what.as_str() {
        "base" => base,
        "sft" => sft(base, seed, steps(96)?)?,
        "grpo" => grpo(base, seed, steps(160)?, false)?,
        "shuffled" => grpo(base, seed, steps(160)?, true)?,
        _ => return Err(usage.into()),
    };
    report(&model, &format!("{what} seed {seed}"))
}
