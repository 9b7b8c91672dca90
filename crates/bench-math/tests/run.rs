//! A run is resumed without losing or repeating a record, and its measures are those of its records.
#![allow(clippy::expect_used)]

use std::io::Write;

use bench_math::measure::{compare, measure};
use bench_math::{
    ArithmeticProblems, Failure, FinishReason, PendingSample, Protocol, Record, Run, Sample, Template,
    failures,
};

fn protocol(samples: usize) -> Protocol {
    Protocol {
        prompt: Template::QwenMath.into(),
        samples,
        temperature: 0.6,
        top_p: 0.95,
        max_tokens: 64,
        seed: 3,
        subject: Default::default(),
    }
}

fn problems(n: usize) -> Vec<bench_math::Problem> {
    ArithmeticProblems::default().items(0, n).iter().map(|i| i.to_problem()).collect()
}

/// A model that is right when its seed is even, and runs out of tokens when it is a multiple of seven.
fn model(answers: &std::collections::HashMap<String, String>, request: &PendingSample) -> Sample {
    let n: i64 = answers[&request.id].parse().expect("an integer");
    let given = if request.seed.is_multiple_of(2) { n } else { n + 1 };
    let length = request.seed.is_multiple_of(7);
    let completion =
        format!("Let me see. The answer is \\boxed{{{given}}}{}", if length { " but" } else { "." });
    Sample {
        completion,
        ids: vec![1; 10 + (request.seed % 5) as usize],
        finish: if length { FinishReason::Length } else { FinishReason::Eos },
    }
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    let problems = problems(10);
    let answers = problems.iter().map(|p| (p.id.clone(), p.answer.clone())).collect();
    let mut run = Run::open(&whole, problems.clone(), protocol(4)).expect("new");
    run.complete(|r| model(&answers, r), || false).expect("written");
    let expected: Vec<Record> = run.records().into_iter().cloned().collect();
    assert_eq!(expected.len(), 40);

    // Stop after 13 records, tear the last line, go on; twice.
    let mut calls = 0;
    for stop_after in [13, 21, 100] {
        let mut run = Run::open(&broken, problems.clone(), protocol(4)).expect("resumed");
        let mut made = 0;
        run.complete(
            |r| {
                calls += 1;
                model(&answers, r)
            },
            || {
                made += 1;
                made > stop_after
            },
        )
        .expect("written");
        drop(run);
        if stop_after < 100 {
            let mut file =
                std::fs::OpenOptions::new().append(true).open(broken.join("samples.jsonl")).expect("open");
            file.write_all(b"{\"id\":\"arithmetic-0-1\",\"sam").expect("torn");
        }
    }
    assert_eq!(calls, 40, "no sample is made twice");
    let run = Run::open(&broken, problems.clone(), protocol(4)).expect("finished");
    assert_eq!(run.records().into_iter().cloned().collect::<Vec<_>>(), expected);
    assert!(run.pending().is_empty());
    assert_eq!(std::fs::read_to_string(broken.join("samples.jsonl")).expect("text").lines().count(), 40);

    // One at a time. More samples may be added; another protocol or subject may not go on.
    let second = Run::open(&broken, problems.clone(), protocol(4)).expect_err("open already").to_string();
    assert!(second.contains("another process"), "{second}");
    drop(run);
    assert_eq!(Run::open(&broken, problems.clone(), protocol(6)).expect("extended").pending().len(), 20);
    let other = Protocol { temperature: 1.0, ..protocol(4) };
    let message = Run::open(&broken, problems.clone(), other).expect_err("another protocol").to_string();
    assert!(message.contains("temperature 0.6") && message.contains("(now 1.0)"), "{message}");
    let other = Protocol { subject: [("model".to_owned(), "another".to_owned())].into(), ..protocol(4) };
    let message = Run::open(&broken, problems, other).expect_err("another subject").to_string();
    assert!(message.contains("model (none) (now \"another\")"), "{message}");
}

#[test]
fn a_run_is_of_one_suite_and_is_regraded_with_corrected_answers() {
    let dir = tempfile::tempdir().expect("a folder");
    let problems = problems(6);
    let answers = problems.iter().map(|p| (p.id.clone(), p.answer.clone())).collect();
    let mut run = Run::open(dir.path(), problems.clone(), protocol(2)).expect("new");
    run.complete(|r| model(&answers, r), || false).expect("written");
    let right: Vec<bool> = run.records().iter().map(|r| r.verdict.correct).collect();
    let completions: Vec<String> = run.records().iter().map(|r| r.completion.clone()).collect();
    drop(run);

    let mut other = problems.clone();
    other[3].problem += " Please.";
    let message = Run::open(dir.path(), other, protocol(2)).expect_err("another suite").to_string();
    assert!(message.contains("suite_problems") && !message.contains("suite_answers"), "{message}");

    let mut corrected = problems.clone();
    for problem in &mut corrected {
        problem.answer = (problem.answer.parse::<i64>().expect("an integer") + 1).to_string();
    }
    let message =
        Run::open(dir.path(), corrected.clone(), protocol(2)).expect_err("other answers").to_string();
    assert!(message.contains("suite_answers") && message.contains("regrade"), "{message}");
    let run = Run::regrade(dir.path(), corrected.clone(), protocol(2)).expect("regraded");
    assert!(Run::open(dir.path(), corrected.clone(), protocol(2)).is_err(), "locked");
    drop(run);
    // What was right is wrong now and the other way round, in the file as well; nothing was sampled again.
    let run = Run::open(dir.path(), corrected, protocol(2)).expect("the run of the corrected suite");
    assert!(run.records().iter().zip(&right).all(|(r, was)| r.verdict.correct != *was));
    assert!(run.records().iter().zip(&completions).all(|(r, was)| r.completion == *was));
    assert!(run.pending().is_empty());
    drop(run);
    let message = Run::open(dir.path(), problems, protocol(2)).expect_err("the old answers").to_string();
    assert!(message.contains("suite_answers"), "{message}");
}

#[test]
fn measures_and_comparison() {
    let dir = tempfile::tempdir().expect("a folder");
    let problems = problems(20);
    let answers: std::collections::HashMap<String, String> =
        problems.iter().map(|p| (p.id.clone(), p.answer.clone())).collect();
    let mut run = Run::open(dir.path(), problems.clone(), protocol(8)).expect("new");
    run.complete(|r| model(&answers, r), || false).expect("written");
    let records = run.records();
    let m = measure(&records, 0.95).expect("records");
    let right = records.iter().filter(|r| r.verdict.correct).count();
    assert!((m.pass_at_1.estimate - right as f64 / 160.0).abs() < 1e-12);
    assert_eq!(m.pass_at_k.iter().map(|a| a.k).collect::<Vec<_>>(), [1, 2, 4, 8]);
    assert!((m.pass_at_k[0].value.estimate - m.pass_at_1.estimate).abs() < 1e-12);
    assert!(m.pass_at_k.windows(2).all(|w| w[0].value.estimate <= w[1].value.estimate));
    assert_eq!(m.pass_at_k[3].value.estimate, m.success_at_k[3].value.estimate);
    assert!(m.maj_at_k[0].value.estimate == m.success_at_k[0].value.estimate);
    assert!(
        m.tokens.low <= m.tokens.estimate
            && m.tokens.estimate <= m.tokens.high
            && m.unanswered.estimate == 0.0
    );
    assert!(m.minimum_detectable_effect > 0.0 && m.minimum_detectable_effect < 0.5);

    let perfect: Vec<Record> = records
        .iter()
        .map(|r| Record {
            verdict: bench_math::Verdict { correct: true, ..r.verdict.clone() },
            ..(*r).clone()
        })
        .collect();
    let c = compare(&records, &perfect.iter().collect::<Vec<_>>(), 0.95).expect("same problems");
    assert!((c.difference.difference.estimate - (1.0 - m.pass_at_1.estimate)).abs() < 1e-12);
    assert!(c.newly_missed.is_empty() && c.newly_solved.len() == c.mcnemar.only_after);
    assert!(compare(&records[..8], &records[8..16], 0.95).is_err());

    for record in &records {
        let problem = problems.iter().find(|p| p.id == record.id).expect("a problem of the run");
        let kinds = failures(problem, record);
        assert_eq!(kinds.is_empty(), record.verdict.correct);
        assert_eq!(
            kinds.contains(&Failure::Truncated),
            !record.verdict.correct && record.finish == FinishReason::Length
        );
    }
}
