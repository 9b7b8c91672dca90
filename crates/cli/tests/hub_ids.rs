//! MODEL and --suite as names on a hub: fetched from a server on localhost, then served from the cache.
#![allow(clippy::unwrap_used)]

#[path = "../../hub/tests/server/mod.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Output};

use server::{COMMIT, Server};

fn sparks(server: &Server, home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sparks"))
        .args(args)
        .current_dir(home)
        .env("HF_HOME", home)
        .env("HF_ENDPOINT", &server.address)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap()
}

fn message(out: &Output) -> String {
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!((out.status.code(), message.trim_end().lines().count()), (Some(2), 1), "{message}");
    message
}

#[test]
fn a_model_is_a_hub_id() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets");
    let names = ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"];
    let files: Vec<_> = names.map(|n| (n, std::fs::read(folder.join(n)).unwrap())).into();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, bytes)| (*n, bytes.as_slice())).collect();
    let server = Server::start("models/org/toy", &files);
    server.state.lock().unwrap().large.insert("model.safetensors".into());
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| sparks(&server, home.path(), args);

    let miss = message(&run(&["info", "org/toy", "--offline"]));
    assert!(
        miss.contains("org/toy@main: offline") && miss.contains("nor is there a folder org/toy"),
        "{miss}"
    );
    assert_eq!(server.asked(), 0);
    assert!(message(&run(&["info", "org/none"])).contains("404"));

    let local = sparks(&server, &folder, &["info", ".", "--json"]);
    let first = run(&["info", "org/toy@v1", "--json"]);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(first.stderr.is_empty(), "no bar where there is no terminal");
    let read = |out: &Output| serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap();
    assert_eq!(read(&first)["parameters"], read(&local)["parameters"]);
    let asked = server.asked();
    let made =
        run(&["generate", "org/toy@v1", "--prompt", "1 + 2 =", "--max-tokens", "2", "--offline", "--json"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(server.asked(), asked, "the second use asks nothing");
    assert!(
        home.path().join("hub/models--org--toy/snapshots").join(COMMIT).join("model.safetensors").exists()
    );

    // A folder of that name wins.
    std::fs::create_dir_all(home.path().join("org/toy@v1")).unwrap();
    assert!(message(&run(&["info", "org/toy@v1"])).contains("config.json"));
    assert_eq!(server.asked(), asked);
}

#[test]
fn a_suite_may_lie_on_the_hub() {
    let problems = b"{\"id\":\"a\",\"problem\":\"1 + 1\",\"answer\":\"2\"}\n";
    let server = Server::start("datasets/org/sums", &[("test.jsonl", problems)]);
    let home = tempfile::tempdir().unwrap();
    let toy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets");
    let eval = |suite: &str, out: &str| {
        sparks(
            &server,
            home.path(),
            &[
                "eval",
                toy.to_str().unwrap(),
                "--template",
                "plain",
                "--max-tokens",
                "4",
                "--suite",
                suite,
                "--out",
                out,
            ],
        )
    };
    let made = eval("hf://datasets/org/sums@v1/test.jsonl", "run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let wrong = format!("hf://datasets/org/sums@v1/test.jsonl#sha256={}", "0".repeat(64));
    assert!(message(&eval(&wrong, "other")).contains("expected sha256 000"));
    assert!(message(&eval("hf://org/sums", "other")).contains("expected hf://datasets/"));
    assert!(!home.path().join("other").exists());
}
