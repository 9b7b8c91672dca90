//! `sparks sft` killed with SIGKILL again and again, checkpoints and rotation included: the end is that of an
//! unbroken run, to the last bit. `SPARKS_KILLS` sets how often (default 12).
#![allow(clippy::unwrap_used)]

mod left;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const STEPS: usize = 500;

fn sparks(dir: &Path, run: &str, resume: bool) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparks"));
    command.current_dir(dir).env("HF_HUB_OFFLINE", "1").args(["sft", "--quiet", "--threads", "1"]);
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

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_an_unbroken_one() {
    let kills: u64 = std::env::var("SPARKS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sft-trace");
    let text = format!(
        "model.path = '{}'\ndata.train = '{}'\nrun.dir = 'run'\nrun.checkpoint_every = 2\nrun.keep = 2\n\
         train.steps = {STEPS}\ntrain.batch_size = 3\noptimizer.lr = 1e-3\n",
        trace.join("tied").display(),
        trace.join("data.jsonl").display()
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
    assert!(sparks(dir, "whole", false).status().unwrap().success());
    let (mut state, mut killed) = (7u64, 0);
    let run = dir.join("run");
    loop {
        let mut child = sparks(dir, "run", !whole_checkpoints(&run).is_empty()).spawn().unwrap();
        if killed < kills {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_millis(20 + (state >> 33) % 100));
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert!(status.code().is_none(), "ended by itself with {status}");
        killed += 1;
    }
    assert!(killed > 0, "ended before it could be killed");
    let read = |run: &str, file: &str| std::fs::read(dir.join(run).join(file)).unwrap();
    for file in ["model.safetensors", "optimizer.safetensors", "state.json"] {
        let file = format!("checkpoints/step-{STEPS}/{file}");
        assert!(read("run", &file) == read("whole", &file), "{file} differs after {killed} kills");
    }
    let lines = |run: &str| left::unmeasured(&dir.join(run).join("metrics.jsonl"));
    assert_eq!(lines("run"), lines("whole"));
    assert_eq!(whole_checkpoints(&run).len(), 2);
}
