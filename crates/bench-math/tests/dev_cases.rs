//! The shared grading cases and MATH-500: every Math-Verify row, every reference equal to itself, no near miss
//! accepted.
#![allow(clippy::expect_used)]

#[path = "../../math-grade/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use bench_math::near_miss::{Mistake, near_misses};
use bench_math::{grade, read_problems};
use math_grade::grade_with;

/// Rows whose convention is not Math-Verify's and is not followed, with the reason.
const NOT_FOLLOWED: [(&str, &str); 3] = [
    ("dev-0135", "string normalisation: the order of a list matters"),
    ("dev-0142", "string normalisation: the order of a list matters"),
    ("dev-0234", "Qwen's grader does not read 10{,}000 as 10000"),
];

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn shared_cases_agree() {
    let path = common::shared("grader_cases_dev.jsonl");
    let text = std::fs::read_to_string(path).expect("readable");
    let mut wrong = Vec::new();
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| case[name].as_str().expect("text");
        let options = case.get("options").cloned().unwrap_or(serde_json::json!({}));
        let options = serde_json::from_value(options).expect("options of a case");
        let verdict = grade_with(field("gold"), field("pred"), &options);
        let followed = !NOT_FOLLOWED.iter().any(|(id, _)| *id == field("id"));
        if followed && verdict.correct != case["expected"].as_bool().expect("a verdict") {
            wrong.push(format!("{} {:?}", field("id"), verdict));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn references_equal_themselves_and_no_near_miss_is_accepted() {
    let folder = common::shared("benchmarks");
    let (mut accepted, mut unequal, mut counts) = (Vec::new(), Vec::new(), BTreeMap::<Mistake, usize>::new());
    for file in ["math500.jsonl", "aime24.jsonl", "aime25.jsonl", "amc_2022_2023.jsonl"] {
        for problem in read_problems(folder.join(file)).expect("a suite").list {
            let gold = problem.answer.as_str();
            for pred in
                [gold.to_string(), format!("Thus the result is $\\boxed{{{gold}}}$."), format!("${gold}$")]
            {
                let verdict = grade(gold, &pred);
                if !verdict.correct {
                    unequal.push(format!("{gold} | {pred}: {verdict:?}"));
                }
            }
            for miss in near_misses(gold) {
                *counts.entry(miss.mistake).or_default() += 1;
                for pred in [
                    miss.text.clone(),
                    format!("\\boxed{{{}}}", miss.text),
                    format!("The answer is ${}$.", miss.text),
                ] {
                    let verdict = grade(gold, &pred);
                    if verdict.correct {
                        accepted.push(format!("{:?} {gold} | {pred}: {verdict:?}", miss.mistake));
                    }
                }
            }
        }
    }
    assert!(unequal.is_empty(), "{unequal:#?}");
    assert!(accepted.is_empty(), "{} {accepted:#?}", accepted.len());
    let total: usize = counts.values().sum();
    assert!(total >= 500 && counts.len() == 12, "{total} {counts:?}");
}
