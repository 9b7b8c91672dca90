//! Counts the near misses of a problems file by mistake, and prints those that the grader accepts (there should be
//! none).
//!
//! `cargo run --release -p bench-math --example near_misses -- ../shared/data/benchmarks/math500.jsonl`
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;

use bench_math::near_miss::near_misses;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: near_misses PROBLEMS.jsonl")?;
    let (mut counts, mut accepted) = (BTreeMap::new(), 0);
    for problem in bench_math::read_problems(path)?.list {
        for miss in near_misses(&problem.answer) {
            *counts.entry(miss.mistake).or_insert(0) += 1;
            let verdict = math_grade::grade(&problem.answer, &format!("\\boxed{{{}}}", miss.text));
            if verdict.correct {
                accepted += 1;
                println!("{:?}: {} | {}", miss.mistake, problem.answer, miss.text);
            }
        }
    }
    println!("{} near misses, {accepted} accepted: {counts:?}", counts.values().sum::<usize>());
    Ok(())
}
