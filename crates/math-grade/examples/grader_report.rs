//! Grades files of labelled cases and reports agreement by kind, every disagreement, and the time for one pair. A file
//! is JSONL (`{gold, pred, expected | expect, helper? | note?, options?}`) or TOML (`[groups]` of
//! `[gold, pred, expected]`).
//!
//! `cargo run --release -p math-grade --example grader_report -- crates/math-grade/testdata/field.toml`
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Instant;

use math_grade::{GradeOptions, grade_with};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Case {
    kind: String,
    gold: String,
    pred: String,
    expected: bool,
    options: GradeOptions,
}

fn main() -> Result<()> {
    let mut cases = Vec::new();
    for path in std::env::args().skip(1) {
        cases.extend(read(&path)?);
    }
    if cases.is_empty() {
        return Err("usage: grader_report CASES.jsonl|CASES.toml…".into());
    }
    let mut table: BTreeMap<&str, [usize; 4]> = BTreeMap::new(); // all, right, wrong positive, wrong negative
    for case in &cases {
        let verdict = grade_with(&case.gold, &case.pred, &case.options);
        let right = verdict.correct == case.expected;
        let column = if right { 1 } else { 2 + usize::from(!verdict.correct) };
        for kind in [case.kind.as_str(), "all"] {
            let row = table.entry(kind).or_default();
            row[0] += 1;
            row[column] += 1;
        }
        if !right {
            let cut =
                |s: &str| s.chars().rev().take(160).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            println!(
                "{}: expected {}: {} | {}\n    {:?} | {:?} | {}",
                case.kind,
                case.expected,
                cut(&case.gold),
                cut(&case.pred),
                verdict.gold_parsed,
                verdict.pred_parsed,
                verdict.reason
            );
        }
    }
    println!("{:32} {:>6} {:>6} {:>6} {:>6}", "kind", "rows", "right", "FP", "FN");
    for (kind, [all, right, fp, fne]) in &table {
        println!("{kind:32} {all:>6} {right:>6} {fp:>6} {fne:>6}");
    }
    let rounds = 20;
    let start = Instant::now();
    let correct: usize = (0..rounds)
        .map(|_| cases.iter().filter(|c| math_grade::grade(&c.gold, &c.pred).correct).count())
        .sum();
    let each = start.elapsed().as_secs_f64() / (rounds * cases.len()) as f64;
    println!("{:.1} µs a pair, {} of {} accepted", each * 1e6, correct / rounds, cases.len());
    Ok(())
}

fn read(path: &str) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(path)?;
    if path.ends_with(".toml") {
        let file: toml::Table = toml::from_str(&text)?;
        let groups: BTreeMap<String, Vec<(String, String, bool)>> =
            file.get("groups").ok_or("a table `groups`")?.clone().try_into()?;
        let case = |kind: &str, (gold, pred, expected)| Case {
            kind: kind.to_string(),
            gold,
            pred,
            expected,
            options: GradeOptions::default(),
        };
        return Ok(groups
            .into_iter()
            .flat_map(|(kind, rows)| rows.into_iter().map(move |r| case(&kind, r)))
            .collect());
    }
    text.lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line)?;
            let field = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
            let options = row.get("options").cloned().unwrap_or_else(|| serde_json::json!({}));
            Ok(Case {
                kind: if row["helper"].is_string() { field("helper") } else { "cases".into() },
                gold: field("gold"),
                pred: field("pred"),
                expected: row["expected"]
                    .as_bool()
                    .or(row["expect"].as_bool())
                    .ok_or("`expected` is no boolean")?,
                options: serde_json::from_value(options)?,
            })
        })
        .collect()
}
