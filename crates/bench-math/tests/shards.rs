//! Shards of a run, in one folder or in several, leave the bytes of one run; what does not belong together is refused.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use bench_math::{
    ArithmeticProblems, FinishReason, PendingSample, Problem, Protocol, Run, Sample, Template, merge,
};
use common::Shard;

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

fn problems() -> Vec<Problem> {
    ArithmeticProblems::default().items(0, 7).iter().map(|i| i.to_problem()).collect()
}

/// A completion that depends on the request alone.
fn model(request: &PendingSample) -> Sample {
    Sample {
        completion: format!("The answer is \\boxed{{{}}}.", request.seed % 10),
        ids: vec![1; 10 + (request.seed % 5) as usize],
        finish: FinishReason::Eos,
    }
}

fn shard(index: usize, count: usize) -> Shard {
    Shard { index, count }
}

/// Makes at most `n` of the samples of a shard.
fn make(dir: &Path, of: Shard, n: usize) -> Run {
    let mut run = Run::open_shard(dir, problems(), protocol(3), of).unwrap();
    let mut made = 0;
    let enough = || {
        made += 1;
        made > n
    };
    run.complete(model, enough).unwrap();
    run
}

/// The files of one whole run in the order of the suite.
fn whole(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut run = Run::open(dir, problems(), protocol(3)).unwrap();
    run.complete(model, || false).unwrap();
    run.put_in_order().unwrap();
    files(dir)
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    let mut all: Vec<_> = paths.map(of).collect();
    all.sort();
    all
}

#[test]
fn shards_in_one_folder_leave_the_bytes_of_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let (one, shared) = (dir.path().join("one"), dir.path().join("shared"));
    let expected = whole(&one);
    assert_eq!(
        expected.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        ["protocol.json", "samples.jsonl"]
    );
    // Two of three shards at a time; one is killed in a line.
    let mut first = make(&shared, shard(0, 3), 100);
    let second = make(&shared, shard(1, 3), 2);
    assert_eq!(first.missing().unwrap(), 21 - 9 - 2);
    // The same shard, and the whole run, are for one process.
    let again = Run::open_shard(&shared, problems(), protocol(3), shard(1, 3)).unwrap_err().to_string();
    assert!(again.contains("samples-1-of-3.jsonl: another process is at work"), "{again}");
    let all = Run::open(&shared, problems(), protocol(3)).unwrap_err().to_string();
    assert!(all.contains("another process is at work"), "{all}");
    assert!(first.put_in_order().unwrap_err().to_string().contains("shard 0/3"));
    drop((first, second));
    let torn = shared.join("samples-1-of-3.jsonl");
    std::fs::write(&torn, std::fs::read_to_string(&torn).unwrap() + "{\"id\":\"arithm").unwrap();
    // Another number of shards goes on.
    for index in 0..2 {
        make(&shared, shard(index, 2), 100);
    }
    assert_eq!(std::fs::read_to_string(shared.join("samples-1-of-3.jsonl")).unwrap().lines().count(), 3);
    let joined = dir.path().join("joined");
    let merged = merge(std::slice::from_ref(&shared), &joined).unwrap();
    assert_eq!((merged.problems, merged.records.len()), (7, 21));
    assert!(files(&joined) == expected);
    let mut run = Run::open(&shared, problems(), protocol(3)).unwrap();
    assert!(run.pending().is_empty() && run.missing().unwrap() == 0);
    let open = Run::open_shard(&shared, problems(), protocol(3), shard(0, 2)).unwrap_err().to_string();
    assert!(open.contains("samples.jsonl: another process"), "{open}");
    run.put_in_order().unwrap();
    drop(run);
    assert!(files(&shared) == expected);
    // A shard of other settings does not go on, and leaves nothing.
    let other = Protocol { seed: 4, ..protocol(3) };
    let message = Run::open_shard(&shared, problems(), other, shard(0, 2)).unwrap_err().to_string();
    assert!(message.contains("seed 3 (now 4)"), "{message}");
    assert!(files(&shared) == expected);
}

#[test]
fn folders_of_shards_are_joined_or_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let expected = whole(&at("one"));
    for index in 0..3 {
        make(&at(&index.to_string()), shard(index, 3), 100);
    }
    std::fs::create_dir(at("copy")).unwrap();
    for (name, bytes) in files(&at("0")) {
        std::fs::write(at("copy").join(name), bytes).unwrap();
    }
    make(&at("half"), shard(2, 3), 4);
    make(&at("of two"), shard(1, 2), 100);
    let mut other = Run::open_shard(at("other"), problems(), protocol(2), shard(2, 3)).unwrap();
    other.complete(model, || false).unwrap();
    drop(other);
    let mut fewer = Run::open_shard(at("fewer"), problems()[..6].to_vec(), protocol(3), shard(2, 3)).unwrap();
    fewer.complete(model, || false).unwrap();
    drop(fewer);
    for (names, message) in [
        (&["0", "1"][..], "missing: 2/3"),
        (&["0", "1", "copy"], "shard 0/3 is given twice, first as "),
        (&["0", "1", "half"], "2 of 21 samples are missing, those of shards 2/3"),
        (&["0", "of two"], "shard 1/2, but "),
        (&["0", "1", "other"], "samples 3 (now 2)"),
        (&["0", "1", "fewer"], "suite_problems"),
        (&["0", "1", "one"], "no problems.json, expected a run folder of `eval --shard`"),
        (&["2", "0", "1"], ""),
        (&["2", "0", "1"], "is not empty"),
    ] {
        let dirs: Vec<PathBuf> = names.iter().map(|name| at(name)).collect();
        match merge(&dirs, &at("all")) {
            Ok(_) => assert!(message.is_empty(), "{names:?}: joined"),
            Err(e) => assert!(!message.is_empty() && e.to_string().contains(message), "{names:?}: {e}"),
        }
    }
    assert!(files(&at("all")) == expected);
}
