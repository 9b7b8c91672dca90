//! Rewards of `sparks grpo`: those of the run file, programs that misbehave, and the completions that a run leaves.
#![allow(clippy::unwrap_used)]

mod runs;

use std::path::Path;

use posttrain_grpo::{Advantage, advantages, read_completions};
use runs::{left, root, sparks, unmeasured};

/// Four steps of the toy model on sums, two prompts of four completions each.
fn start(dir: &Path, rewards: &str) {
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'run'\nrun.checkpoint_every = 2\nrun.keep = 0\n\
         train.steps = 4\noptimizer.lr = 1e-3\nschedule.kind = 'constant'\n\
         grpo.group_size = 4\ngrpo.prompts = 2\ngrpo.max_tokens = 6\n{rewards}",
        root("crates/toy/assets").display()
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
    let rows = ["12+34=|46", "21+34=|55", "47+28=|75", "10+11=|21"].map(|row| {
        let (problem, answer) = row.split_once('|').unwrap();
        format!("{{\"problem\":\"{problem}\",\"answer\":{answer},\"level\":3}}")
    });
    std::fs::write(dir.join("d.jsonl"), rows.join("\n")).unwrap();
}

const REWARDS: &str = "[[reward]]\nkind = 'correct'\n[[reward]]\nkind = 'overlong'\nmax_tokens = 6\ncache = 5\n\
    weight = 0.5\nname = 'brief'\n[[reward]]\ncommand = ['sh', 'reward.sh']\nweight = 0.1\n";

#[test]
fn every_reward_is_written_and_a_resumed_run_neither_doubles_nor_loses_any() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    start(dir, REWARDS);
    std::fs::write(
        dir.join("reward.sh"),
        "while read -r line; do case $line in *'\"level\":3'*'\"prompt\":\"1'*) echo 1;; *) echo null;; esac; done",
    )
    .unwrap();
    assert_eq!(sparks(dir, &["grpo", "c.toml", "--quiet"]), (0, String::new()));
    let lines = unmeasured(&dir.join("run/metrics.jsonl"));
    assert_eq!(lines.len(), 4);
    for (step, line) in lines.iter().enumerate() {
        let path = dir.join(format!("run/completions/step-{step}.jsonl.gz"));
        let records = read_completions(&path).unwrap();
        assert_eq!(records.len(), 8);
        let mut totals = Vec::new();
        for record in &records {
            let judged = record.rewards.iter().filter_map(|(name, r)| Some((name, r.as_f64()?)));
            totals
                .push(judged.map(|(name, r)| r * record.weights[name].as_f64().unwrap()).sum::<f64>() as f32);
            assert!(record.prompt.ends_with('=') && record.step == step, "{record:?}");
            assert_eq!(record.rewards["command"].is_null(), !record.prompt.starts_with('1'));
            assert_eq!(record.reward, totals.last().copied());
        }
        let again: Vec<f32> = totals.chunks(4).flat_map(|g| advantages(g, 4, Advantage::Group)).collect();
        assert!(records.iter().map(|r| r.advantage).eq(again));
        let mean = totals.iter().map(|&r| f64::from(r)).sum::<f64>() / 8.0;
        assert!((line["reward"].as_f64().unwrap() - mean).abs() < 1e-9);
        for name in ["correct", "brief", "command"] {
            assert!(line[&format!("rewards/{name}/mean")].is_f64(), "{line}");
        }
    }
    let whole = left(dir);
    std::fs::remove_dir_all(dir.join("run/checkpoints/step-4")).unwrap();
    // What a killed run had written beside its file.
    std::fs::write(dir.join("run/completions/.step-3.jsonl.gz.abc.tmp"), "half").unwrap();
    assert_eq!(sparks(dir, &["grpo", "--resume", "run", "--quiet"]), (0, String::new()));
    assert!(left(dir) == whole, "a resumed run has other bits");
    // Rewards belong to the updates that were made.
    let (status, message) = sparks(dir, &["grpo", "--resume", "run", "--set", "reward=[{kind='correct'}]"]);
    assert!(status == 2 && message.contains("`reward`"), "{message}");
}

#[test]
fn a_program_that_dies_leaves_a_run_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    start(dir, "reward.command = ['sh', 'reward.sh']\n");
    let good = "while read -r line; do case $line in *4*) echo 1;; *) echo 0;; esac; done";
    std::fs::write(dir.join("reward.sh"), good).unwrap();
    assert_eq!(sparks(dir, &["grpo", "c.toml", "--quiet"]), (0, String::new()));
    let whole = left(dir);
    std::fs::remove_dir_all(dir.join("run")).unwrap();
    // Two steps and a half.
    let dies = format!(
        "sleep 1000 > /dev/null & echo $! > sleeps; n=0; {}",
        good.replace("do ", "do n=$((n+1)); [ $n -gt 20 ] && exit 9; ")
    );
    std::fs::write(dir.join("reward.sh"), dies).unwrap();
    let (status, message) = sparks(dir, &["grpo", "c.toml", "--quiet", "--set", "run.checkpoint_every=0"]);
    assert!(status == 1 && message.contains("`command`") && message.contains("exit status: 9"), "{message}");
    assert!(message.contains("go on with: sparks grpo --resume run"), "{message}");
    assert!(!dir.join("run/completions/step-2.jsonl.gz").exists());
    // The steps before are there, and what the program started is not.
    assert!(dir.join("run/checkpoints/step-2/model.safetensors").exists());
    let sleeps = std::fs::read_to_string(dir.join("sleeps")).unwrap();
    // A killed process that nobody asked for yet has no command line.
    let command = Path::new("/proc").join(sleeps.trim()).join("cmdline");
    assert_eq!(std::fs::read(command).unwrap_or_default(), b"");
    std::fs::write(dir.join("reward.sh"), good).unwrap();
    let (status, message) = sparks(dir, &["sft", "--resume", "run"]);
    assert!(status == 2 && message.contains("is a run of sparks grpo"), "{message}");
    let rows = std::fs::read_to_string(dir.join("d.jsonl")).unwrap();
    std::fs::write(dir.join("d.jsonl"), rows.replace("12+34", "34+12")).unwrap();
    let (status, message) = sparks(dir, &["grpo", "--resume", "run"]);
    assert!(status == 2 && message.contains("data.train is not what the run began with"), "{message}");
    std::fs::write(dir.join("d.jsonl"), rows).unwrap();
    assert_eq!(sparks(dir, &["grpo", "--resume", "run", "--quiet"]), (0, String::new()));
    assert!(left(dir) == whole, "the run that went on has other bits");
}

#[test]
fn a_signal_ends_a_step_between_two_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    start(dir, "grpo.zero_variance = 'drop'\ngrpo.resample = 2\nreward.command = ['sh', 'reward.sh']\n");
    // Three generations a step, since no rewards differ; the signal comes between the first two of the second step.
    let program = "while read -r line; do n=$((n+1)); [ $n = 25 ] && kill -TERM $PPID; echo 0; done";
    std::fs::write(dir.join("reward.sh"), format!("n=0; {program}")).unwrap();
    let (status, message) = sparks(dir, &["grpo", "c.toml", "--quiet", "--set", "run.checkpoint_every=0"]);
    assert!(status == 1 && message.contains("interrupted after 1 of 4 steps; go on with"), "{message}");
    assert!(dir.join("run/checkpoints/step-1/model.safetensors").exists());
    std::fs::write(dir.join("reward.sh"), "while read -r line; do echo 0; done").unwrap();
    assert_eq!(sparks(dir, &["grpo", "--resume", "run", "--quiet"]), (0, String::new()));
    assert_eq!(unmeasured(&dir.join("run/metrics.jsonl")).len(), 4);
}

#[test]
fn rewards_of_the_run_file_are_taken_or_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let refused = [
        ("[[reward]]\nkind = 'corect'\n", "correct"),
        ("[[reward]]\nkind = 'correct'\nweigth = 1\n", "weigth"),
        ("[[reward]]\nkind = 'overlong'\nmax_tokens = 4\n", "cache"),
        ("[[reward]]\nkind = 'correct'\n[[reward]]\nkind = 'correct'\n", "called `correct`"),
        ("[[reward]]\ncommand = ['/no/such/program']\n", "/no/such/program"),
        ("[[rewards]]\nkind = 'correct'\n", "[reward]"),
        ("grpo.resample = 2\n", "grpo.zero_variance"),
    ];
    for (text, expected) in refused {
        start(dir, text);
        let (status, message) = sparks(dir, &["grpo", "c.toml", "--quiet"]);
        assert!(status == 2 && message.contains(expected), "{text}: {message}");
        assert!(!dir.join("run/metrics.jsonl").exists() || text.contains("/no/such"), "{text}");
        let _ = std::fs::remove_dir_all(dir.join("run"));
    }
    start(dir, "");
    let (status, message) = sparks(dir, &["grpo", "c.toml", "--set", "reward=[]"]);
    assert!(status == 2 && message.contains("reward is an empty list"), "{message}");
    std::fs::create_dir_all(dir.join("run/completions")).unwrap();
    let (status, message) = sparks(dir, &["grpo", "c.toml"]);
    assert!(status == 2 && message.contains("completions: exists, and no run of sparks"), "{message}");
    std::fs::remove_dir_all(dir.join("run")).unwrap();
    std::fs::write(dir.join("u.jsonl"), "{\"problem\":\"1+2=\",\"answer\":\"\\\\frac{\"}\n").unwrap();
    let (status, message) = sparks(dir, &["grpo", "c.toml", "--set", "data.eval=u.jsonl"]);
    assert!(status == 2 && message.contains("no answer can be read"), "{message}");
    // Without a reward that asks for it, no answer is needed; groups that all have the same reward are sampled again.
    start(dir, "grpo.zero_variance = 'drop'\ngrpo.resample = 2\n");
    std::fs::write(dir.join("d.jsonl"), "{\"problem\":\"12+34=\"}\n").unwrap();
    let set = "reward=[{kind='repetition', n=1, weight=0}]";
    assert_eq!(sparks(dir, &["grpo", "c.toml", "--quiet", "--set", set]), (0, String::new()));
    for line in unmeasured(&dir.join("run/metrics.jsonl")) {
        assert_eq!(line["sampling/generations"], 3, "{line}");
        assert_eq!((&line["sampling/groups_left_out"], &line["grad_norm"]), (&3.into(), &0.0.into()));
    }
    let (status, message) = sparks(dir, &["sft", "c.toml", "--set", set]);
    assert!(status == 2 && message.contains("sparks sft"), "{message}");
}
