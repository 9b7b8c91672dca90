//! `sparks sft` and `sparks grpo` on the embedded model, killed with SIGKILL at random moments, checkpoint writing and
//! rotation included, and resumed each time: the end is that of an unbroken run, to the last bit. `SPARKS_KILLS` sets
//! how often (default 12); `tools/kills.sh` kills a hundred times.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod runs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STEPS: usize = 30;

/// The moments of the kills: a fixed sequence.
struct Moments(u64);

impl Moments {
    /// From 0 to below `most`.
    fn next(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 33) as f64 / f64::from(1u32 << 31))
    }
}

fn sparks(dir: &Path, kind: &str, run: &str, resume: bool) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparks"));
    command.current_dir(dir).env("HF_HUB_OFFLINE", "1").args([kind, "--quiet", "--threads", "1"]);
    if resume {
        command.args(["--resume", run]);
    } else {
        command.args(["c.toml", "--set", &format!("run.dir={run}")]);
    }
    command.stderr(Stdio::null());
    command
}

fn whole_checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten().map(Result::unwrap);
    entries.map(|e| e.path()).filter(|p| p.join("state.json").exists()).collect()
}

/// Runs `c.toml` in `dir` to its end with a kill after each of the `moments`, until there were `kills` of them; in one
/// folder after another, where a run ends first. Returns how many kills fell into a checkpoint's writing.
fn kill_and_compare(dir: &Path, kind: &str, weights: &str, kills: usize) -> usize {
    let start = Instant::now();
    assert!(sparks(dir, kind, "whole", false).status().unwrap().success());
    let life = start.elapsed() / 4;
    let (mut moments, mut killed, mut while_writing) = (Moments(7), 0, 0);
    while killed < kills {
        let name = format!("run{killed}");
        let run = dir.join(&name);
        loop {
            let mut child = sparks(dir, kind, &name, !whole_checkpoints(&run).is_empty()).spawn().unwrap();
            if killed < kills {
                std::thread::sleep(moments.next(life));
                child.kill().unwrap();
            }
            let status = child.wait().unwrap();
            if status.success() {
                break;
            }
            assert!(status.code().is_none(), "ended by itself with {status}");
            killed += 1;
            let parts = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten();
            let part = |e: std::fs::DirEntry| e.path().extension().is_some_and(|end| end == "part");
            while_writing += usize::from(parts.map(Result::unwrap).any(part));
        }
        let read = |run: &str, file: &str| std::fs::read(dir.join(run).join(file)).unwrap();
        for file in [weights, "optimizer.safetensors", "state.json"] {
            let file = format!("checkpoints/step-{STEPS}/{file}");
            assert!(read(&name, &file) == read("whole", &file), "{file} differs after {killed} kills");
        }
        let lines = |run: &str| runs::unmeasured(&dir.join(run).join("metrics.jsonl"));
        assert_eq!(lines(&name), lines("whole"));
        assert_eq!(lines("whole").len(), STEPS);
        assert_eq!(whole_checkpoints(&run).len(), 2);
        std::fs::remove_dir_all(run).unwrap();
    }
    while_writing
}

fn test(kind: &str, weights: &str, more: &str, rows: &str) {
    let kills = std::env::var("SPARKS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let toy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets");
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'run'\nrun.checkpoint_every = 1\nrun.keep = 2\n\
         train.steps = {STEPS}\noptimizer.lr = 1e-3\n{more}",
        toy.display()
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
    std::fs::write(dir.join("d.jsonl"), rows).unwrap();
    let while_writing = kill_and_compare(dir, kind, weights, kills);
    println!("{kind}: {kills} kills, {while_writing} of them while a checkpoint was written, no bit differs");
}

#[test]
fn sft_that_is_killed_again_and_again_ends_as_an_unbroken_run() {
    let rows: String = (10..30)
        .map(|a| format!("{{\"prompt\":\"{a}+{}=\",\"completion\":\"{}\"}}\n", a + 11, 2 * a + 11))
        .collect();
    test("sft", "model.safetensors", "train.batch_size = 3\n", &rows);
}

#[test]
fn grpo_that_is_killed_again_and_again_ends_as_an_unbroken_run() {
    let rows: String = (10..30)
        .map(|a| format!("{{\"problem\":\"{a}+{}=\",\"answer\":{}}}\n", a + 11, 2 * a + 11))
        .collect();
    let more = "grpo.group_size = 4\ngrpo.prompts = 2\ngrpo.max_tokens = 8\ngrpo.beta = 0.1\nlora.rank = 2\n";
    test("grpo", "adapter_model.safetensors", more, &rows);
}
