//! Grades a file of labelled cases (JSONL `{gold, pred, expected, helper?, options?}`) and reports agreement by helper, every
//! disagreement, and the time for one pair.
//!
//! `cargo run --release -p bench-math --example grader_report -- ../shared/data/grader_cases_dev.jsonl`
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Instant;

use math_grade::{Options, grade_with};
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: grader_report CASES.jsonl")?;
    let text = std::fs::read_to_string(path)?;
    let cases: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let field = |case: &Value, name: &str| case[name].as_str().unwrap_or_default().to_string();
    let pairs: Vec<(String, String)> = cases.iter().map(|c| (field(c, "gold"), field(c, "pred"))).collect();

    let options: Vec<Options> = cases
        .iter()
        .map(|c| {
            c.get("options").map_or_else(|| Ok(Options::default()), |o| serde_json::from_value(o.clone()))
        })
        .collect::<Result<_, _>>()?;

    let mut table: BTreeMap<String, [usize; 4]> = BTreeMap::new(); // right, wrong positive, wrong negative, all
    for ((case, (gold, pred)), options) in cases.iter().zip(&pairs).zip(&options) {
        let verdict = grade_with(gold, pred, options);
        let expected = case["expected"].as_bool().unwrap_or_default();
        let row = table.entry(field(case, "helper")).or_default();
        row[3] += 1;
        if verdict.correct == expected {
            row[0] += 1;
        } else {
            row[if verdict.correct { 1 } else { 2 }] += 1;
            let cut =
                |s: &str| s.chars().rev().take(160).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            println!(
                "{} expected {expected}: {:?} | {:?}\n    {:?} | {:?} | {}",
                case["id"],
                cut(gold),
                cut(pred),
                verdict.gold_parsed,
                verdict.pred_parsed,
                verdict.reason
            );
        }
    }
    println!("{:32} {:>6} {:>6} {:>6} {:>6}", "helper", "rows", "agree", "FP", "FN");
    for (helper, [right, fp, fne, all]) in &table {
        println!("{helper:32} {all:>6} {right:>6} {fp:>6} {fne:>6}");
    }
    let rounds = 20;
    let start = Instant::now();
    let correct: usize =
        (0..rounds).map(|_| pairs.iter().filter(|(g, p)| math_grade::grade(g, p).correct).count()).sum();
    let each = start.elapsed().as_secs_f64() / (rounds * pairs.len()) as f64;
    println!("{:.1} µs a pair, {} of {} correct", each * 1e6, correct / rounds, pairs.len());
    Ok(())
}
