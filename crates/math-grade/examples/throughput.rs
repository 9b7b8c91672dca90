//! Grades many pairs on all cores and reports the time for one, the slowest (processor time), and the memory used:
//! the runs behind the numbers in docs/RESULTS.md.
//!
//! `cargo run --release -p math-grade --example throughput -- pairs 1000000 ../shared/data/grader_cases_dev.jsonl`
//! `cargo run --release -p math-grade --example throughput -- fuzz 1000000`
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count: u64 = args.get(1).ok_or("usage: throughput pairs|fuzz N [CASES.jsonl]")?.parse()?;
    let start = Instant::now();
    let (right, slowest) = match args[0].as_str() {
        "pairs" => pairs(count, args.get(2).ok_or("expected a file of cases")?)?,
        _ => fuzz(count),
    };
    let taken = start.elapsed();
    println!(
        "{count} pairs in {taken:.1?}: {:.1} µs each, {right} equal",
        taken.as_secs_f64() * 1e6 / count as f64
    );
    println!("slowest {:?} for {}", slowest.0, slowest.1);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        println!("{}", status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default());
    }
    Ok(())
}

type Slowest = (Duration, String);

/// Time that this thread has had a processor, where the system tells; else the wall clock's.
fn clock(origin: Instant) -> Duration {
    let cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = cpu.and_then(|s| s.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| origin.elapsed(), Duration::from_nanos)
}

fn timed(gold: &str, pred: &str) -> (u64, Slowest) {
    let origin = Instant::now();
    let start = clock(origin);
    let verdict = math_grade::grade(gold, pred);
    let taken = clock(origin).saturating_sub(start);
    let cut = |s: &str| s.chars().take(120).collect::<String>();
    let name = if taken > Duration::from_millis(2) {
        format!("{:?} | {:?}", cut(gold), cut(pred))
    } else {
        String::new()
    };
    (u64::from(verdict.correct), (taken, name))
}

fn join(a: (u64, Slowest), b: (u64, Slowest)) -> (u64, Slowest) {
    (a.0 + b.0, if a.1.0 >= b.1.0 { a.1 } else { b.1 })
}

/// Every gold against every prediction, in a fixed order, until `count`.
fn pairs(count: u64, path: &str) -> Result<(u64, Slowest)> {
    let text = std::fs::read_to_string(path)?;
    let cases: Vec<serde_json::Value> =
        text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let field = |i: usize, name: &str| cases[i][name].as_str().unwrap_or_default();
    let n = cases.len();
    let nothing = || (0, (Duration::ZERO, String::new()));
    Ok((0..count as usize)
        .into_par_iter()
        .map(|i| timed(field(i % n, "gold"), field((i + i / n) % n, "pred")))
        .reduce(nothing, join))
}

/// Random strings: bytes of printable text, pieces of LaTeX, and valid expressions cut and glued.
fn fuzz(count: u64) -> (u64, Slowest) {
    const PIECES: [&str; 76] = [
        "\\frac",
        "\\sqrt",
        "\\sqrt[3]",
        "{",
        "}",
        "{",
        "}",
        "(",
        ")",
        "(",
        ")",
        "[",
        "]",
        "\\{",
        "\\}",
        "|",
        "^",
        "^{",
        "_",
        "_{",
        "+",
        "-",
        "*",
        "/",
        "=",
        "<",
        ">",
        ",",
        ";",
        ":",
        "!",
        "%",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\boxed{",
        "\\text{",
        "\\left",
        "\\right",
        "\\pm",
        "\\cup",
        "\\cap",
        "\\in",
        "\\infty",
        "\\pi",
        "\\sum_{k=1}^{99}",
        "\\prod_{k=1}^{9}",
        "\\int",
        "\\lim_{x\\to 0}",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
        "x",
        "y",
        "f(",
        "e",
        "i",
        "0",
        "1",
        "10",
        "3.5",
        "9E99",
        "\\sin",
        "\\tan",
        "\\ln",
        "\\log_2",
        " and ",
        "answer: ",
        "final answer is ",
        "\\cdot",
        "\\mod",
        "\\gcd(",
    ];
    let one = |i: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        rng.set_stream(i);
        let mut make = || -> String {
            let n = rng.random_range(1..60);
            match i % 3 {
                0 => (0..n).map(|_| char::from(rng.random_range(32..127_u8))).collect(),
                1 => (0..n).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect(),
                _ => format!("${}$", expression(&mut rng, 5)),
            }
        };
        let (a, b) = (make(), make());
        timed(&a, &b)
    };
    (0..count).into_par_iter().map(one).reduce(|| (0, (Duration::ZERO, String::new())), join)
}

fn expression(rng: &mut ChaCha8Rng, depth: u32) -> String {
    if depth == 0 || rng.random_range(0..5) == 0 {
        return ["x", "y", "2", "17", "\\pi", "0.5", "e", "i", "10^{20}"][rng.random_range(0..9)].to_string();
    }
    let (a, b) = (expression(rng, depth - 1), expression(rng, depth - 1));
    match rng.random_range(0..12) {
        0 | 1 => format!("({a}+{b})"),
        2 => format!("({a}-{b})"),
        3 => format!("{a}\\cdot {b}"),
        4 => format!("\\frac{{{a}}}{{{b}}}"),
        5 => format!("({a})^{{{b}}}"),
        6 => format!("\\sqrt{{{a}}}"),
        7 => format!("\\sin({a})"),
        8 => format!("\\ln({a})"),
        9 => format!("\\left|{a}\\right|"),
        10 => format!("\\arctan({a})"),
        _ => format!("({a})!"),
    }
}
