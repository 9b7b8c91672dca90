//! Rewards and advantages against TRL's and open-r1's own code, and programs that misbehave.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use model_qwen::Finish;
use posttrain_grpo::reward::{RewardConfig, RewardTable, Rewards, Sample, is_right};
use serde_json::{Map, Value, json};

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rewards.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A completion of a prompt.
struct Case {
    prompt: usize,
    text: String,
    ids: Vec<u32>,
}

fn cases(given: &Value) -> Vec<Case> {
    let groups: Vec<Vec<Value>> = match (given.get("groups"), given.get("texts"), given.get("ids")) {
        (Some(groups), ..) => serde_json::from_value(groups.clone()).unwrap(),
        (_, Some(all), _) | (_, _, Some(all)) => vec![all.as_array().unwrap().clone()],
        _ => panic!("{given}"),
    };
    let case = |prompt, value: Value| match value {
        Value::String(text) => Case { prompt, ids: vec![1; text.chars().count()], text },
        ids => Case { prompt, text: String::new(), ids: serde_json::from_value(ids).unwrap() },
    };
    groups.into_iter().enumerate().flat_map(|(at, all)| all.into_iter().map(move |v| case(at, v))).collect()
}

fn score(config: &Value, cases: &[Case], answer: Option<&str>) -> Result<RewardTable, common::Error> {
    let config: RewardConfig = serde_json::from_value(config.clone()).unwrap();
    let columns = Map::from_iter([("level".to_owned(), json!(3))]);
    let sample = |case: &Case| Sample {
        prompt: case.prompt,
        prompt_text: "12+34=",
        completion: Box::leak(case.text.clone().into_boxed_str()),
        ids: Box::leak(case.ids.clone().into_boxed_slice()),
        finish: Finish::Eos,
        answer: answer.map(|a| &*Box::leak(a.to_owned().into_boxed_str())),
        columns: Box::leak(Box::new(columns.clone())),
    };
    Rewards::new(&[config])?.score(&cases.iter().map(sample).collect::<Vec<_>>())
}

fn of(texts: &[&str]) -> Vec<Case> {
    texts.iter().map(|t| Case { prompt: 0, text: (*t).to_owned(), ids: vec![1; t.len()] }).collect()
}

#[test]
fn every_reward_of_trl_and_open_r1() {
    for case in golden()["rewards"].as_array().unwrap() {
        let cases = cases(case);
        let table = score(&case["reward"], &cases, Some("46")).unwrap();
        let expected: Vec<f64> = serde_json::from_value(case["values"].clone()).unwrap();
        assert_eq!(table.values(0).len(), expected.len());
        for ((found, expected), case_) in table.values(0).iter().zip(expected).zip(&cases) {
            // Rewards are f32, those of Python f64.
            assert!(
                (f64::from(*found) - expected).abs() < 1e-7,
                "{} {:?}: {found} {expected}",
                case["reward"],
                case_.text
            );
        }
    }
}

#[test]
fn correct_answers_and_what_gains_nothing() {
    let right = [
        "12+34=46",
        "\\boxed{46.0}",
        "4.6 \\times 10^1",
        "46",
        "The answer is \\boxed{46}.",
        "<think>\nhm 12\n</think>\n<answer>\n46\n</answer>",
    ];
    let hacks = [
        "",       // stopping at once
        "12+34=", // the prompt again
        "What is 12+34=",
        "12+34=34+12",
        "\\boxed{12 + 34}",
        "40+6",
        "2*23",
        "\\boxed{23 \\times 2}",
        "12+34= 12+34= 12+34=",
        "46 or 47", // hedging
        "7 or 46",
        "The answer is 46 or 47.",
        "\\boxed{45}, \\boxed{46}, \\boxed{47}", // several boxes
        "\\boxed{46} \\boxed{47}",
        "\\boxed{45, 46, 47}",
        "\\boxed{46 \\text{ or } 47}",
        "between 45 and 47",
        "at least 46",
        "not 46",
        "4", // stopping early
        "\\boxed{4",
        "\\boxed{}",
        "\\boxed{12+34=}",
        "1 2 3 4 46 47 48",
    ];
    let all: Vec<&str> = right.into_iter().chain(hacks).collect();
    let found = score(&json!({ "kind": "correct" }), &of(&all), Some("46")).unwrap();
    for (text, reward) in all.iter().zip(found.values(0)) {
        assert_eq!(*reward, f32::from(u8::from(right.contains(text))), "{text}");
    }
    let after = json!({ "kind": "correct", "after_think": true });
    let texts = ["46", "<think>46", "<think>46</think>47", "<think>4</think>46"];
    assert_eq!(score(&after, &of(&texts), Some("46")).unwrap().values(0), [0.0, 0.0, 0.0, 1.0]);
    for unreadable in [None, Some("$")] {
        assert!(
            score(&json!({ "kind": "correct" }), &of(&["46"]), unreadable).unwrap().values(0)[0].is_nan()
        );
    }
}

#[test]
fn what_the_budget_left_last_is_no_answer() {
    let none = Map::new();
    let right = |completion: &str, finish: Finish| {
        let sample = Sample {
            prompt: 0,
            prompt_text: "",
            completion,
            ids: &[1],
            finish,
            answer: Some("4"),
            columns: &none,
        };
        is_right(&sample, false).unwrap()
    };
    // From runs of a real model on GSM8K: the last number is that of a list, or of the problem.
    let cut = [
        "3. Add the two.\n\n4. **Set up the equation",
        "To find the rest: 1. Calculate the number of roses Ricky has left after stealing 4",
    ];
    for text in cut {
        assert!(right(text, Finish::Eos) && !right(text, Finish::Length), "{text}");
    }
    // An answer that says so stands, whatever is said behind it.
    for text in [
        "\\boxed{4}. Let me check whether",
        "The answer is 4. To check, note that",
        "4",
        "<answer>4</answer> and",
    ] {
        assert!(right(text, Finish::Length), "{text}");
    }
}

#[test]
fn letters_of_a_script() {
    let latin = json!({ "kind": "language", "script": "Latin" });
    let found = score(&latin, &of(&["abc", "ab\u{4e00}\u{4e8c}", "12 + 3", "\u{4e00}", "Ñö"]), None).unwrap();
    assert_eq!(found.values(0), [1.0, 0.5, 1.0, 0.0, 1.0]);
}

#[test]
fn totals_are_weighted_sums_of_what_was_judged() {
    let nan = f32::NAN;
    let mut rewards = Rewards::default()
        .with("a", 1.0, |s: &Sample<'_>| if s.ids.len() > 1 { 1.0 } else { f32::NAN })
        .with("b", 0.5, |s: &Sample<'_>| if s.ids.len() > 2 { f32::NAN } else { -(s.ids.len() as f32) })
        .with("c", 2.0, move |_: &Sample<'_>| nan);
    let none = Map::new();
    let ids = [7; 3];
    let sample = |n: usize| Sample {
        prompt: 0,
        prompt_text: "",
        completion: "",
        ids: &ids[..n],
        finish: Finish::Eos,
        answer: None,
        columns: &none,
    };
    let table = rewards.score(&[sample(1), sample(2), sample(3)]).unwrap();
    assert_eq!(table.totals(), [-0.5, 0.0, 1.0]);
    assert_eq!(table.names(), ["a", "b", "c"]);
    let mut alone = Rewards::default().with("c", 2.0, move |_: &Sample<'_>| nan);
    assert!(alone.score(&[sample(1)]).unwrap().totals()[0].is_nan());
    let mut panics = Rewards::default().with("mine", 1.0, |s: &Sample<'_>| {
        let at: Vec<f32> = Vec::new();
        at[s.ids.len()]
    });
    let message = panics.score(&[sample(1)]).unwrap_err().to_string();
    assert!(message.contains("mine") && message.contains("panicked"), "{message}");
}

#[test]
fn a_reward_that_makes_no_sense_is_refused_by_name() {
    let refused = [
        (json!({ "kind": "corect" }), "corect"),
        (json!({ "weight": 2.0 }), "kind"),
        (json!({ "kind": "correct", "weigth": 2.0 }), "weigth"),
        (json!({ "kind": "tag_count", "tags": 3 }), "tags"),
        (json!({ "kind": "correct", "weight": "big" }), "weight"),
        (json!({ "kind": "overlong", "max_tokens": 9 }), "cache"),
        (json!({ "kind": "overlong", "max_tokens": 9, "cache": 10 }), "cache"),
        (json!({ "kind": "cosine", "max_tokens": 0 }), "max_tokens"),
        (json!({ "kind": "repetition", "n": 0 }), "n from 1"),
        (json!({ "kind": "repetition", "max_penalty": 1.0 }), "max_penalty"),
        (json!({ "kind": "language", "script": "Latn}|." }), "Latn"),
        (json!({ "kind": "correct", "name": "a/b" }), "a/b"),
        (json!({ "command": [] }), "command"),
        (json!({ "command": ["x"], "timeout": 0.0 }), "timeout"),
        (json!({ "command": ["/no/such/program"] }), "/no/such/program"),
    ];
    for (config, expected) in refused {
        let message = match serde_json::from_value::<RewardConfig>(config.clone()) {
            Err(e) => e.to_string(),
            Ok(one) => Rewards::new(&[one]).unwrap_err().to_string(),
        };
        assert!(message.contains(expected), "{config}: {message}");
    }
    let twice = [RewardConfig::default(), RewardConfig::default()];
    assert!(Rewards::new(&twice).unwrap_err().to_string().contains("correct"));
    assert!(Rewards::new(&[]).unwrap_err().to_string().contains("reward"));
}

/// A program in the shell: every system that runs these tests has one.
#[cfg(unix)]
fn shell(script: &str) -> Value {
    json!({ "command": ["sh", "-c", script], "timeout": 5.0, "name": "mine" })
}

#[cfg(unix)]
#[test]
fn a_program_is_asked_line_by_line() {
    let echo = "while read -r line; do case $line in *'\"level\":3'*'\"completion\":\"yes\"'*'\"answer\":\"46\"'*) \
        echo '{\"reward\": 1.5}';; *nan*) echo '{\"reward\": NaN}';; *) echo null;; esac; done";
    let table = score(&shell(echo), &of(&["yes", "no", "nan", "yes"]), Some("46")).unwrap();
    let found = table.values(0);
    assert!(found[0] == 1.5 && found[1].is_nan() && found[2].is_nan() && found[3] == 1.5, "{found:?}");
    // More than a pipe holds, either way.
    let long = "x".repeat(2000);
    let many: Vec<&str> = (0..400).map(|_| long.as_str()).collect();
    let table = score(&shell("while read -r line; do echo 0.25; done"), &of(&many), None).unwrap();
    assert_eq!(table.values(0), vec![0.25; 400]);
}

#[cfg(unix)]
#[test]
fn a_program_that_misbehaves_is_an_error_by_name() {
    let bad = [
        ("exit 3", "exit status: 3"),
        ("read -r a; echo 1; exit 4", "exit status: 4"),
        ("while read -r line; do echo yes; done", "\"yes\""),
        ("while read -r line; do echo '{\"score\": 1}'; done", "score"),
        ("echo loading; while read -r line; do echo 1; done", "loading"),
        ("while read -r line; do echo 1; echo 1; done; sleep 1", "unasked"),
        ("kill -9 $$", "signal"),
        ("exec 1>&-; sleep 10", "closed its output"),
    ];
    for (script, expected) in bad {
        let message = score(&shell(script), &of(&["a", "b"]), None).unwrap_err().to_string();
        assert!(message.contains("`mine`") && message.contains(expected), "{script}: {message}");
    }
    let late = json!({ "command": ["sh", "-c", "sleep 30"], "timeout": 0.2 });
    let begun = std::time::Instant::now();
    let message = score(&late, &of(&["a"]), None).unwrap_err().to_string();
    assert!(message.contains("within 0.2 s") && begun.elapsed().as_secs() < 10, "{message}");
}

#[test]
fn advantages_are_those_of_trl() {
    use posttrain_grpo::{GrpoConfig, Rollout, Rollouts};
    for case in golden()["advantages"].as_array().unwrap() {
        let config: GrpoConfig = serde_json::from_value(json!({
            "group_size": case["group"], "advantage": case["scale"], "aggregation": case["aggregation"],
        }))
        .unwrap();
        let rewards: Vec<Vec<Option<f32>>> = serde_json::from_value(case["rewards"].clone()).unwrap();
        let weights: Vec<f64> = serde_json::from_value(case["weights"].clone()).unwrap();
        let n = rewards[0].len();
        let rollout = |at: usize| Rollout {
            prompt: at / config.group_size,
            prompt_ids: vec![1],
            ids: vec![1],
            sampling_logprobs: vec![0.0],
            finish: Finish::Eos,
            sampled_at: 0,
            prompt_text: String::new(),
            text: String::new(),
        };
        let rollouts = Rollouts::new((0..n).map(rollout).collect(), &config).unwrap();
        let mut all = Rewards::default();
        for (at, (values, weight)) in rewards.into_iter().zip(weights).enumerate() {
            let mut values = values.into_iter();
            let next = move |_: &Sample<'_>| values.next().unwrap().unwrap_or(f32::NAN);
            all = all.with(&format!("r{at}"), weight, next);
        }
        let none = Map::new();
        let table = all.score(&rollouts.samples(|_| (None, &none))).unwrap();
        let scored = rollouts.with_rewards(table).unwrap();
        let expected: Vec<f64> = serde_json::from_value(case["advantages"].clone()).unwrap();
        for ((_, _, found), expected) in scored.iter().zip(&expected) {
            // TRL's means and deviations are f32: where a group's rewards are nearly equal, rounding of 1e-7 is divided by
            // a deviation of 1e-4.
            let near = (f64::from(found) - expected).abs()
                <= 2e-3_f64
                    .min(1e-5 * expected.abs().max(1.0) + 1e-3 * f64::from(u8::from(expected.abs() < 1e-2)));
            assert!(near, "{case}: {found} {expected}");
        }
    }
}
