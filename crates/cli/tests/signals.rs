//! What ends a command: a full disk, Ctrl-C and SIGTERM give status 1, and no partial file stays.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

#[test]
fn a_signal_ends_a_command_with_status_1_and_no_partial_file() {
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("scores.json");
        // Minutes of work.
        let mut child = Command::new(env!("CARGO_BIN_EXE_sparks"))
            .args(["attribute", text(&fixture("eap/model")), "--pairs", text(&fixture("eap/pairs.jsonl"))])
            .args(["--steps", "100000", "--out", text(&out)])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let sent =
            Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the command was still running");
        let since = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if since.elapsed() > Duration::from_secs(20) => {
                    child.kill().unwrap();
                    panic!("SIG{signal} did not end the command");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(status.code(), Some(1), "SIG{signal}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_full_disk_is_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.json");
    std::fs::write(&input, r#"{"input_ids": [[1, 2]]}"#).unwrap();
    let model = fixture("eap/model");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let sparks = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_sparks")).args(args).stdout(full()).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    sparks(&["forward", text(&model), "--input", text(&input), "--out", "/dev/full"]);
    sparks(&["info", text(&model), "--json"]);
    assert!(!Path::new("/dev/full").is_file());
}
