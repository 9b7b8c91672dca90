//! Reading, tokenising and packing a file of training rows, timed inside the process: one JSON line with the fields of
//! `tools/peers/sft_data.py`, which does the same with datasets and TRL.
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use model_qwen::Text;
use posttrain_sft::{DataConfig, Dataset, Encoder, Example, Packing};
use serde_json::json;

/// The allocator of `sparks`; run with its setting, MIMALLOC_PURGE_DELAY=-1.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// A tokenizer.json of Qwen2.5.
    tokenizer: PathBuf,
    /// Rows of one of the forms of `sparks sft`.
    rows: PathBuf,
    /// Tokens of a packed row.
    #[arg(long, default_value_t = 1024)]
    max_length: usize,
    #[arg(long, default_value_t = 5)]
    reps: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let text = Text::open(&args.tokenizer)?;
    let end = text.id("<|endoftext|>");
    let config = DataConfig { packing: Packing::Bfd, max_length: args.max_length, ..DataConfig::default() };
    let mut times: Vec<[f64; 2]> = Vec::new();
    let mut counts = [0; 4];
    for _ in 0..args.reps {
        let (start, before) = (Instant::now(), benches::cpu());
        // A tokenizer of its own, so that no repetition finds another one's words in the cache.
        let encoder = Encoder::new(Text::open(&args.tokenizer)?, end);
        let built = (start.elapsed().as_secs_f64(), benches::cpu() - before);
        let data = Dataset::open(&args.rows, &config, 0, &encoder)?;
        times.push([start.elapsed().as_secs_f64() - built.0, benches::cpu() - before - built.1]);
        let trained = data.examples().iter().map(Example::tokens).sum();
        counts = [data.report.examples, data.len(), data.tokens(), trained];
    }
    let median = |at: usize| benches::median(times.iter().map(|time| time[at]).collect());
    let [examples, packed_rows, tokens, trained] = counts;
    println!(
        "{}",
        json!({
            "median_s": median(0), "cpu_median_s": median(1), "examples": examples, "packed_rows": packed_rows,
            "tokens": tokens, "trained_tokens": trained,
        })
    );
    Ok(())
}
