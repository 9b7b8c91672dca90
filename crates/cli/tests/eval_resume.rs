//! `sparks eval` killed with SIGKILL again and again: what is there in the end is what an unbroken run makes, no
//! record lost, repeated or torn.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const PROBLEMS: usize = 40;
const SAMPLES: usize = 6;

fn start(suite: &Path, out: &Path) -> Child {
    let toy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets");
    let (suite, out) = (suite.to_str().unwrap(), out.to_str().unwrap());
    let samples = SAMPLES.to_string();
    Command::new(env!("CARGO_BIN_EXE_sparks"))
        .args([
            "eval",
            toy.to_str().unwrap(),
            "--suite",
            suite,
            "--out",
            out,
            "--samples",
            &samples,
            "--json",
        ])
        .args([
            "--template",
            "plain",
            "--max-tokens",
            "48",
            "--temperature",
            "1",
            "--batch",
            "4",
            "--seed",
            "3",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn finish(child: Child) -> Value {
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    let mut value: Value = serde_json::from_slice(&out.stdout).unwrap();
    value["run"].take();
    value
}

fn lines(run: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(run.join("samples.jsonl")).unwrap_or_default();
    text.split_inclusive('\n').map(String::from).collect()
}

#[test]
fn a_run_killed_at_any_moment_ends_like_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    let suite = folder.path().join("sums.jsonl");
    let mut problems = String::new();
    for i in 0..PROBLEMS {
        let _ = writeln!(
            problems,
            "{{\"id\":\"é{i}\",\"problem\":\"{i} + {} =\",\"answer\":\"{}\"}}",
            i % 7,
            i + i % 7
        );
    }
    std::fs::write(&suite, problems).unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let expected = finish(start(&suite, &whole));

    let mut kills = 0;
    for round in 0..6 {
        let before = lines(&broken).len();
        let mut child = start(&suite, &broken);
        // Once it works, and then at another moment each time.
        while lines(&broken).len() < before + 1 + 5 * round && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(700 * round as u64));
        kills += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        let _ = child.wait();
        if round == 2 {
            // As a crash of the machine would: the last line half written.
            let path = broken.join("samples.jsonl");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        }
    }
    assert!(kills >= 2, "killed {kills} times while it worked");
    assert!(lines(&broken).len() < PROBLEMS * SAMPLES, "something is left to do");
    assert_eq!(finish(start(&suite, &broken)), expected);

    let (mut whole, mut broken) = (lines(&whole), lines(&broken));
    assert_eq!(broken.len(), PROBLEMS * SAMPLES);
    let key = |line: &String| {
        let record: Value = serde_json::from_str(line).unwrap();
        (record["id"].to_string(), record["sample"].to_string())
    };
    assert_eq!(broken.iter().map(key).collect::<HashSet<_>>().len(), PROBLEMS * SAMPLES);
    whole.sort();
    broken.sort();
    assert_eq!(whole, broken);
}
