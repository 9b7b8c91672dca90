//! What a full disk, a folder that may not be written and a cut checkpoint do to a run: it ends with the file's name, and
//! nothing earlier is lost. Parts that the system does not allow here say so.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod runs;

use std::path::Path;
use std::process::Command;

use runs::{left, root, sparks};

/// Four steps with a checkpoint after each second one.
fn start(dir: &Path) {
    let trace = root("tests/fixtures/sft-trace");
    let text = format!(
        "model.path = '{}'\ndata.train = '{}'\nrun.dir = 'run'\nrun.checkpoint_every = 2\nrun.keep = 0\n\
         train.steps = 4\ntrain.batch_size = 4\noptimizer.lr = 1e-2\n",
        trace.join("tied").display(),
        trace.join("data.jsonl").display(),
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
}

/// An unbroken run of a folder that is gone, and a run of two steps in `dir`.
fn half(dir: &Path) -> Vec<(String, Vec<u8>)> {
    start(dir);
    assert_eq!(sparks(dir, &["sft", "c.toml", "--quiet"]), (0, String::new()));
    let whole = left(dir);
    std::fs::remove_dir_all(dir.join("run/checkpoints/step-4")).unwrap();
    whole
}

/// Exit status and stderr of the run that goes on in a shell which first does `before`.
fn resumed(dir: &Path, shell: &[&str], before: &str) -> (i32, String) {
    let line = format!("{before} && exec {} sft --resume run --quiet", env!("CARGO_BIN_EXE_sparks"));
    let out =
        Command::new(shell[0]).args(&shell[1..]).args(["sh", "-c", &line]).current_dir(dir).output().unwrap();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// That the run stands where its checkpoint after two steps left it, and goes on to the bits of `whole`.
fn goes_on(dir: &Path, whole: &[(String, Vec<u8>)]) {
    let earlier = |files: &[(String, Vec<u8>)]| -> Vec<(String, Vec<u8>)> {
        files.iter().filter(|(name, _)| name.contains("step-2/")).cloned().collect()
    };
    assert!(earlier(&left(dir)) == earlier(whole), "the checkpoint before has changed");
    assert!(!dir.join("run/checkpoints/step-4").exists());
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet"]), (0, String::new()));
    assert!(left(dir) == whole, "the run that went on has other bits");
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let whole = half(dir);
    // No file may be longer than 8 KiB; the signal that comes with it is ignored, so that the write fails.
    let (status, message) = resumed(dir, &["env"], "trap '' XFSZ && ulimit -f 16");
    assert!(status == 1 && message.contains("step-4.part"), "{status} {message}");
    assert!(!dir.join("run/checkpoints/step-4.part").exists(), "room for what follows");
    goes_on(dir, &whole);
}

/// A shell in a mount namespace of its own, where the system gives one.
const MOUNTS: [&str; 4] = ["unshare", "--mount", "--map-root-user", "--user"];

fn may_mount() -> bool {
    let tried =
        Command::new(MOUNTS[0]).args(&MOUNTS[1..]).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let may = tried.is_ok_and(|out| out.status.success());
    if !may {
        eprintln!("skipped: no mount namespace here");
    }
    may
}

#[test]
fn a_full_disk_ends_the_run_with_status_1_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let whole = half(dir);
    if !may_mount() {
        return;
    }
    let bytes: u64 = whole.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    // A disk with room for the run as it is and a little of the next checkpoint, copied back at the end.
    let before = format!(
        "mkdir disk && mount -t tmpfs -o size={} none disk && cp -r run disk/ && cd disk && mv ../run ../was && \
         trap 'cp -r run ../run' EXIT && sh -c 'exec \"$0\" sft --resume run --quiet' {}; s=$?; exit $s; true",
        bytes * 6 / 10,
        env!("CARGO_BIN_EXE_sparks")
    );
    let (status, message) = resumed(dir, &MOUNTS, &before);
    assert!(status == 1 && message.contains("No space left"), "{status} {message}");
    goes_on(dir, &whole);
}

#[test]
fn a_folder_that_may_not_be_written_is_named_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let whole = half(dir);
    if !may_mount() {
        return;
    }
    let before = left(dir);
    let (status, message) = resumed(dir, &MOUNTS, "mount --bind run run && mount -o remount,bind,ro run");
    assert!(status != 0 && message.contains("run/") && message.contains("Read-only"), "{status} {message}");
    assert!(left(dir) == before);
    goes_on(dir, &whole);
}

#[test]
fn a_newest_checkpoint_that_is_cut_is_put_aside_file_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    half(dir);
    assert_eq!(sparks(dir, &["sft", "--resume", "run", "--quiet"]), (0, String::new()));
    let whole = left(dir);
    let newest = dir.join("run/checkpoints/step-4");
    for name in ["model.safetensors", "optimizer.safetensors", "state.json", "config.json"] {
        let file = newest.join(name);
        let length = std::fs::metadata(&file).unwrap().len();
        for keep in [0, length / 2, length - 1] {
            std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(keep).unwrap();
            let (status, message) = sparks(dir, &["sft", "--resume", "run"]);
            assert!(
                status == 0 && message.contains("step-2 is resumed in its place"),
                "{name} {keep}: {message}"
            );
            std::fs::remove_dir_all(newest.with_extension("damaged")).unwrap();
            assert!(left(dir) == whole, "{name} cut to {keep} bytes");
        }
    }
}
