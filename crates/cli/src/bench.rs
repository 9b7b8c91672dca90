//! `sparks bench`: what this machine takes for each kind of work, beside what its memory and its arithmetic allow.

use std::time::Instant;

use attribution::{Endpoint, Method, Options, score_pair};
use burn::tensor::{DType, Device, Tensor};
use common::Error;
use hooks::{Batch, HookedModel as _, Metric, Pair, Pairs, Target, Task};
use model_qwen::{Adapter, LoraConfig, Qwen, Request, Sampling, Targets, generate};
use posttrain_sft::{Example, Sft, SftConfig};
use serde::Serialize;

use crate::choices::table;
use crate::options::{Common, Result};
use crate::output::print_json;

/// `sparks bench`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id.
    model: String,
    /// Kinds of work, in this order.
    #[arg(long, value_delimiter = ',', value_parser = table(&WORKS), default_values = WORKS.map(|(name, _)| name))]
    work: Vec<Work>,
    /// Tokens of a prompt, of a row in training, and of each prompt of a pair.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(8..=1 << 20))]
    tokens: u32,
    /// New tokens of a completion.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
    new_tokens: u32,
    /// Timed runs of each, after one that is not; the median is printed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Memory,
    Product,
    Prefill,
    Decode(u32),
    EapIg,
    Lora,
    Sft,
}

const WORKS: [(&str, Work); 9] = [
    ("memory", Work::Memory),
    ("product", Work::Product),
    ("prefill", Work::Prefill),
    ("decode-1", Work::Decode(1)),
    ("decode-8", Work::Decode(8)),
    ("decode-64", Work::Decode(64)),
    ("eap-ig", Work::EapIg),
    ("lora", Work::Lora),
    ("sft", Work::Sft),
];

/// Steps of EAP-IG, as its authors take them.
const STEPS: usize = 5;
/// Rank of the adapter that `lora` trains.
const RANK: usize = 16;

/// One line of the result.
#[derive(Serialize)]
struct Line {
    work: &'static str,
    /// Median seconds of one run.
    seconds: f64,
    /// Tokens (decoding: new tokens) of a second; none for the limits themselves.
    tokens_per_second: Option<f64>,
    /// What the measured memory bandwidth or product rate would allow, in seconds.
    limit_seconds: Option<f64>,
    /// Bytes or operations of a second, for `memory` and `product`.
    rate: Option<f64>,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    let checkpoint = common.open(&args.model)?;
    let model = common.load(&checkpoint)?;
    let mut bench = Bench { common, args: &args, model, bandwidth: None, product: None };
    let mut lines = Vec::new();
    for &work in &args.work {
        let name = WORKS.iter().find(|(_, w)| *w == work).map_or("", |(name, _)| *name);
        let line = bench.line(name, work)?;
        if !args.json {
            println!("{}", text(&line));
        }
        lines.push(line);
    }
    if args.json {
        let json = |e: serde_json::Error| Error::internal(e);
        print_json(&serde_json::json!({
            "model": args.model, "device": common.device_name(), "dtype": common.dtype().name(),
            "compute": common.compute().name(), "tokens": args.tokens, "new_tokens": args.new_tokens,
            "repeats": args.repeats, "work": serde_json::to_value(&lines).map_err(json)?,
        }));
    }
    Ok(())
}

fn text(line: &Line) -> String {
    let mut text = format!("{:<10} {:>10.3} ms", line.work, line.seconds * 1e3);
    if let Some(rate) = line.tokens_per_second {
        text += &format!(" {rate:>12.1} tokens/s");
    }
    if let Some(rate) = line.rate {
        text += &format!(" {:>12.1} G/s", rate / 1e9);
    }
    if let Some(limit) = line.limit_seconds {
        text += &format!(" limit {:.3} ms ({:.0} %)", limit * 1e3, 100.0 * limit / line.seconds);
    }
    text
}

struct Bench<'a> {
    common: &'a Common,
    args: &'a Args,
    model: Qwen,
    /// Bytes a second, once measured.
    bandwidth: Option<f64>,
    /// Operations a second, once measured.
    product: Option<f64>,
}

impl Bench<'_> {
    /// The median time of a run, which waits until all of its work is done.
    fn time(&self, mut run: impl FnMut() -> Result) -> Result<f64> {
        run()?;
        let mut seconds = Vec::new();
        for _ in 0..self.args.repeats {
            let start = Instant::now();
            run()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }

    /// Waits until the device has done everything.
    fn wait(&self) -> Result {
        self.device().sync().map_err(Error::internal)
    }

    fn device(&self) -> Device {
        self.model.norm.device()
    }

    fn line(&mut self, work_name: &'static str, work: Work) -> Result<Line> {
        let rate = |line: Line, rate: f64| Line { rate: Some(rate), ..line };
        let line = |seconds, tokens: Option<f64>, limit_seconds| Line {
            work: work_name,
            seconds,
            tokens_per_second: tokens.map(|n| n / seconds),
            limit_seconds,
            rate: None,
        };
        let tokens = self.args.tokens as usize;
        let n = f64::from(self.args.tokens);
        let weights = self.model.config.n_params() as f64;
        let operations = |per_token: f64| self.product.map(|rate| per_token * weights * n / rate);
        Ok(match work {
            Work::Memory => {
                let (seconds, bytes) = self.memory()?;
                self.bandwidth = Some(bytes / seconds);
                rate(line(seconds, None, None), bytes / seconds)
            }
            Work::Product => {
                let (seconds, operations) = self.product()?;
                self.product = Some(operations / seconds);
                rate(line(seconds, None, None), operations / seconds)
            }
            Work::Prefill => {
                let limit = operations(2.0);
                let batch = Batch::new(&[ids(tokens, 1)])?;
                let seconds = self.time(|| {
                    let logits = self.model.run(&batch.clone(), &mut ());
                    self.wait()?;
                    drop(logits);
                    Ok(())
                })?;
                line(seconds, Some(n), limit)
            }
            Work::Decode(rows) => {
                let new = f64::from(self.args.new_tokens);
                // The first token comes with the prompt: its time is that of a completion of one token.
                let whole = self.time(|| self.complete(rows, self.args.new_tokens as usize))?;
                let first = self.time(|| self.complete(rows, 1))?;
                let seconds = (whole - first).max(0.0);
                let bytes = weights * self.common.dtype().bytes() as f64 * (new - 1.0);
                line(seconds, Some(f64::from(rows) * (new - 1.0)), self.bandwidth.map(|rate| bytes / rate))
            }
            Work::EapIg => {
                // Two runs for the ends of the path, and for each point a run and its gradients.
                let limit = operations(2.0 * (2.0 + 2.0 * STEPS as f64));
                let target = Target { answers: vec![5], distractors: vec![7] };
                let pair = Pair {
                    id: "bench".to_owned(),
                    clean: ids(tokens, 1),
                    corrupt: ids(tokens, 2),
                    target,
                    earlier: Vec::new(),
                };
                let pairs = Pairs::new(vec![pair.clone()])?;
                let task = Task::new(&self.model, &pairs, Metric::LogitDiff);
                let method = Method::EapIgInputs { steps: STEPS, endpoint: Endpoint::Left };
                let seconds =
                    self.time(|| score_pair(&task, &pair, method, Options::default()).map(|_| ()))?;
                line(seconds, None, limit)
            }
            Work::Lora => {
                let limit = operations(4.0);
                let alpha = 2.0 * RANK as f64;
                let config = LoraConfig { targets: Targets::AllLinear, ..LoraConfig::new(RANK, alpha, &[]) };
                let model = Adapter::new(config, &self.model, 0)?.attach(&self.model)?;
                line(self.steps(model)?, Some(n), limit)
            }
            Work::Sft => {
                let limit = operations(6.0);
                line(self.steps(self.model.clone())?, Some(n), limit)
            }
        })
    }

    /// Seconds and bytes of one addition to a large tensor: each value is read and written.
    fn memory(&self) -> Result<(f64, f64)> {
        let n = if kernels::is_cpu(&self.device()) { 1 << 27 } else { 1 << 29 };
        let x = Tensor::<1>::ones([n], &self.device());
        let seconds = self.time(|| {
            let y = x.clone() + 1.0;
            self.wait()?;
            drop(y);
            Ok(())
        })?;
        Ok((seconds, 8.0 * n as f64))
    }

    /// Seconds and operations of one large square product, in the arithmetic of the products of the model.
    fn product(&self) -> Result<(f64, f64)> {
        let n = if kernels::is_cpu(&self.device()) { 2048 } else { 8192 };
        let random =
            |n| Tensor::<2>::random([n, n], burn::tensor::Distribution::Normal(0.0, 1.0), &self.device());
        let held = match self.common.dtype() {
            model_qwen::Dtype::Bf16 => DType::BF16,
            model_qwen::Dtype::F16 => DType::F16,
            model_qwen::Dtype::F32 => DType::F32,
        };
        let (x, weight) = (random(n), random(n).cast(held));
        let seconds = self.time(|| {
            let y = kernels::linear(x.clone(), &weight);
            self.wait()?;
            drop(y);
            Ok(())
        })?;
        Ok((seconds, 2.0 * (n as f64).powi(3)))
    }

    fn complete(&self, rows: u32, new: usize) -> Result {
        let how = Sampling { max_tokens: new, ..Sampling::default() };
        let request = |i: u32| Request { prompt: ids(32, 1), stream: u64::from(i), origin: 0 };
        let requests: Vec<Request> = (0..rows).map(request).collect();
        generate(&self.model, &requests, &how, &mut (), |_, _| true).map(|_| ())
    }

    /// The median time of an optimiser step on one row.
    fn steps(&self, model: Qwen) -> Result<f64> {
        let mut config = SftConfig::default();
        let trainer = &mut config.trainer;
        trainer.train.steps = Some(self.args.repeats as usize + 1);
        (trainer.train.batch_size, trainer.optimizer.lr) = (1, 1e-5);
        let rows = [Example::new("bench".to_owned(), ids(self.args.tokens as usize, 1), 1)];
        let mut sft = Sft::new(model, &config, 1)?;
        self.time(|| {
            sft.step(&rows)?;
            self.wait()
        })
    }
}

/// `n` token ids from 3 to 1,026.
fn ids(n: usize, seed: u32) -> Vec<u32> {
    let id = |i: u32| 3 + ((i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97)) >> 7) % 1024);
    (0..n as u32).map(id).collect()
}
