//! The reward `correct` on solutions of GSM8K and MATH, and on formulas that their problems have.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::path::Path;

use math_grade::grade;
use model_qwen::Finish;
use posttrain_grpo::reward::{Sample, is_right};
use serde_json::{Map, Value};

fn rows(name: &str) -> Vec<Value> {
    let shared = std::env::var("SPARKS_SHARED").unwrap();
    let file = std::fs::File::open(Path::new(&shared).join("data/sft").join(name)).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn paid(problem: &str, answer: &str, completion: &str) -> bool {
    let columns = Map::new();
    let sample = Sample {
        prompt: 0,
        prompt_text: problem,
        completion,
        ids: &[],
        finish: Finish::Eos,
        answer: Some(answer),
        columns: &columns,
    };
    is_right(&sample, false) == Some(true)
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn solutions_are_paid() {
    let mut lost = Vec::new();
    let mut right = 0;
    let mut one = |problem: &str, answer: &str, completion: &str| {
        if grade(answer, completion).correct {
            right += 1;
            if !paid(problem, answer, completion) {
                lost.push(format!("{answer}: …{}", &completion[completion.len().saturating_sub(80)..]));
            }
        }
    };
    for row in rows("gsm8k_train.jsonl.gz") {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let (problem, answer, solution) = (text("problem"), text("answer"), text("solution"));
        one(&problem, &answer, &format!("{solution}\n#### {answer}"));
    }
    for row in rows("qwen25_math_cot_samples.jsonl.gz") {
        one(
            row["problem"].as_str().unwrap(),
            row["answer"].as_str().unwrap(),
            row["response"].as_str().unwrap(),
        );
    }
    // A reference alone is an answer, whatever the problem has in it.
    for row in rows("math_train_rlvr.jsonl.gz") {
        let (problem, answer) = (row["problem"].as_str().unwrap(), row["answer"].as_str().unwrap());
        one(problem, answer, &format!("\\boxed{{{answer}}}"));
    }
    assert!(right > 10_000, "{right}");
    assert!(lost.is_empty(), "{} of {right}:\n{}", lost.len(), lost.join("\n"));
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn formulas_of_the_problem_are_not() {
    let formula = regex::Regex::new(r"(?s)\$([^$]+)\$|\\\[(.+?)\\\]").unwrap();
    let (mut graded, mut leaks) = (0, Vec::new());
    for row in rows("math_train_rlvr.jsonl.gz") {
        let (problem, answer) = (row["problem"].as_str().unwrap(), row["answer"].as_str().unwrap());
        if !answer.trim_start_matches('-').chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',') {
            continue;
        }
        for found in formula.captures_iter(problem) {
            let found =
                found.get(1).or(found.get(2)).unwrap().as_str().trim().trim_end_matches(['.', '?', ',']);
            // A number of the problem, and a variable with its value, are guesses.
            let side = found.rsplit('=').next().unwrap().trim();
            let guess = side.chars().all(|c| c.is_ascii_digit() || "-.,".contains(c))
                && found.split('=').rev().skip(1).all(|left| left.trim().chars().all(char::is_alphabetic));
            let completion = format!("\\boxed{{{found}}}");
            if !guess && grade(answer, &completion).correct {
                graded += 1;
                if paid(problem, answer, &completion) {
                    leaks.push(format!("{answer}: {found}"));
                }
            }
        }
    }
    assert!(graded > 100, "{graded}");
    // What the problem says outright: a value in digits with its unit, and a true equation.
    let said = ["40: m\\angle DCB", "50: 50^\\circ", "200: 54+(98\\div14)"];
    leaks.retain(|leak: &String| !said.iter().any(|known| leak.starts_with(known)));
    assert!(leaks.is_empty(), "{} of {graded}:\n{}", leaks.len(), leaks.join("\n"));
}
