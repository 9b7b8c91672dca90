//! One task on one checkpoint, timed inside the process: one JSON line with the fields of the peers' scripts.
//!
//! `tools/peers/peers.sh` runs it in turn with them. CPU seconds are those of all threads.
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::slice::from_ref;
use std::time::Instant;

use ablation::{EdgeFill, EdgePatch, EdgePlan};
use attribution::{Endpoint, Method, Options, score_pair};
use benches::{cpu, median, pair, peak, tokens};
use burn::tensor::{Device, Tensor};
use circuits::{Circuit, Rank, Selection};
use clap::Parser;
use hooks::{Batch, EdgeMap, Heads, HookedModel, Metric, Pair, Pairs, Probe, Rows, Stream, Task};
use model_qwen::{Checkpoint, Dtype, Next, Qwen, Request, Room, Sampling, generate};
use rayon::prelude::*;
use serde_json::json;

/// The allocator of `sparks`; run with its setting, MIMALLOC_PURGE_DELAY=-1.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// forward, prompt, grads, decode, mixed, mixed-batches, load, read, product, eap-ig, passes, circuit, select, exact
    /// or exact-loop.
    task: String,
    /// A checkpoint folder.
    model: PathBuf,
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 64)]
    seq: usize,
    #[arg(long, default_value_t = 64)]
    new: usize,
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Pairs of eap-ig, scored in turn.
    #[arg(long, default_value_t = 1)]
    pairs: u32,
    #[arg(long, default_value_t = 400)]
    edges: usize,
    #[arg(long, default_value_t = 3)]
    reps: usize,
}

/// One forward pass and the gradients at its embeddings and queries: what one integration point costs.
fn one_point(model: &Qwen, rows: &[Vec<u32>]) -> Result<(), Box<dyn Error>> {
    let layers = model.config.n_layers;
    let sites = (0..layers).map(|l| Heads::Query(l).into()).chain([Stream::Embed.into()]);
    let mut probe = Probe::new(sites);
    let logits = model.run(&Batch::new(rows)?.rows(Rows::Last), &mut probe);
    let mut grads = logits.sum().backward();
    let _ = probe.stream(Stream::Embed, &mut grads);
    Ok(())
}

fn main() -> Result<(), String> {
    // Inside the pool, as in `sparks`: a thread that is not of it would sleep and wake at every product.
    rayon::scope(|_| run().map_err(|e| e.to_string()))
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = Device::flex();
    let load = || Checkpoint::open(&args.model)?.load(args.dtype, &device);
    let start = Instant::now();
    let model = load()?;
    let load_s = start.elapsed().as_secs_f64();
    let wiring = model.wiring();
    let rows: Vec<Vec<u32>> = (0..args.batch).map(|i| tokens(args.seq, i as u32)).collect();
    let pair = pair(args.seq);
    let method = Method::EapIgInputs { steps: args.steps, endpoint: Endpoint::Left };
    let pairs = Pairs::new(vec![pair.clone()])?;
    let task = Task::new(&model, &pairs, Metric::LogitDiff);
    let score = |method| score_pair(&task, &pair, method, Options::default());
    let noise = EdgeMap::from_values(
        wiring,
        (0..wiring.n_edges()).map(|i| ((i * 2_654_435_761) % 1_000_003) as f32 - 5e5).collect(),
    );
    let chosen = Circuit::select(&noise, Selection::Greedy(args.edges), Rank::Absolute)?.pruned();
    let (clean, corrupt) = (Batch::new(from_ref(&pair.clean))?, Batch::new(from_ref(&pair.corrupt))?);
    // The metric of one circuit: a corrupt run, and the clean run with the rest of the edges corrupt.
    let evaluate = |circuit: &Circuit| -> Result<Tensor<3>, Box<dyn Error>> {
        let plan = EdgePlan::new(&[circuit.selection()])?;
        let corrupt = corrupt.clone().rows(Rows::Last);
        let fill = EdgeFill::new(&model, &ablation::Baseline::Corrupt, &corrupt, &[&plan])?;
        Ok(model.run(&clean.clone().rows(Rows::Last), &mut EdgePatch::new(&plan, &fill)))
    };
    let mut per = 1.0;
    let mut task: Box<dyn FnMut() -> Result<(), Box<dyn Error>>> = match args.task.as_str() {
        "forward" => Box::new(|| {
            let _ = model.run(&Batch::new(&rows)?, &mut ());
            Ok(())
        }),
        // What generation and attribution run: the logits of the last position alone.
        "prompt" => Box::new(|| {
            let _ = model.run(&Batch::new(&rows)?.rows(Rows::Last), &mut ());
            Ok(())
        }),
        "grads" => Box::new(|| one_point(&model, &rows)),
        "decode" => Box::new(|| {
            let how = Sampling { max_tokens: args.new, ..Sampling::default() };
            let requests: Vec<Request> = rows
                .iter()
                .enumerate()
                .map(|(i, prompt)| Request { prompt: prompt.clone(), stream: i as u64, origin: i })
                .collect();
            generate(&model, &requests, &how, &mut (), |_, _| true)?;
            Ok(())
        }),
        // 64 requests of 16 to 256 new tokens, `batch` rows in work: continuously, or each batch to its end.
        "mixed" | "mixed-batches" => Box::new(|| {
            let requests: Vec<Request> = (0..64)
                .map(|i| Request { prompt: tokens(args.seq, i), stream: u64::from(i), origin: i as usize })
                .collect();
            let continuous = args.task == "mixed";
            for part in requests.chunks(if continuous { 64 } else { args.batch }) {
                let how = Sampling { max_tokens: 256, room: Room::rows(args.batch), ..Sampling::default() };
                let mut left: Vec<usize> = part.iter().map(|r| 16 + r.origin * 149 % 241).collect();
                generate(&model, part, &how, &mut (), |row, _| {
                    left[row] -= 1;
                    if left[row] == 0 { Next::EndRow } else { Next::Go }
                })?;
            }
            Ok(())
        }),
        // A gibibyte read by all threads, into buffers that stay in their caches: what decoding, which reads
        // every weight once a token, is bound by.
        "read" => {
            const CHUNK: usize = 1 << 15;
            let memory = vec![1u8; 1 << 30];
            Box::new(move || {
                memory.par_chunks(CHUNK).for_each_init(
                    || vec![0u8; CHUNK],
                    |buffer, chunk| black_box(buffer).copy_from_slice(chunk),
                );
                Ok(())
            })
        }
        // 2^33 operations in a product that fits the caches: what many tokens are bound by.
        "product" => {
            let [x, w] = [1024, 4096].map(|n| Tensor::<2>::ones([n, 1024], &device) * 0.5);
            Box::new(move || {
                black_box(kernels::linear(x.clone(), &w));
                Ok(())
            })
        }
        "load" => Box::new(|| {
            let _ = load()?.run(&Batch::new(&rows)?.rows(Rows::Last), &mut ());
            Ok(())
        }),
        "eap-ig" => Box::new(|| {
            (0..args.pairs).try_for_each(|i| {
                let (clean, corrupt) = (tokens(args.seq, 2 * i + 1), tokens(args.seq, 2 * i + 2));
                score_pair(&task, &Pair { clean, corrupt, ..pair.clone() }, method, Options::default())?;
                Ok(())
            })
        }),
        // The passes that eap-ig cannot do without: a clean and a corrupt run, and one run a point.
        "passes" => Box::new(|| {
            let _ = model
                .run(&Batch::new(&[pair.clean.clone(), pair.corrupt.clone()])?.rows(Rows::Last), &mut ());
            (0..args.steps).try_for_each(|_| one_point(&model, from_ref(&pair.clean)))
        }),
        "circuit" => Box::new(|| evaluate(&chosen).map(|_| ())),
        "select" => Box::new(|| {
            let _ = Circuit::select(&noise, Selection::Greedy(args.edges), Rank::Absolute)?.pruned();
            Ok(())
        }),
        "exact" => Box::new(|| Ok(score(Method::Exact).map(|_| ())?)),
        // One evaluation an edge, as a loop would do it; timed on 20 edges spread over the graph.
        "exact-loop" => {
            per = wiring.n_edges() as f64 / 20.0;
            Box::new(|| {
                for i in 0..20 {
                    let mut kept = EdgeMap::filled(wiring, true);
                    kept.values_mut()[i * (wiring.n_edges() - 1) / 19] = false;
                    evaluate(&Circuit::new(kept))?;
                }
                Ok(())
            })
        }
        other => return Err(format!("task {other}: see --help").into()),
    };
    task()?;
    let (mut wall, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..args.reps {
        let (start, before) = (Instant::now(), cpu());
        task()?;
        wall.push(start.elapsed().as_secs_f64() * per);
        busy.push((cpu() - before) * per);
    }
    let line = json!({
        "task": args.task, "dtype": format!("{:?}", args.dtype), "batch": args.batch, "seq": args.seq,
        "median_s": median(wall), "cpu_median_s": median(busy), "load_s": load_s, "peak_rss_mb": peak(),
        "edges_kept": chosen.n_edges(),
    });
    println!("{line}");
    Ok(())
}
