//! Fetching from a hub on localhost: what comes, what is kept, and what is said when something goes wrong.
#![allow(clippy::unwrap_used)]

mod server;

use std::path::Path;

use hub::{DataFile, Hub, Id, Settings};
use server::{COMMIT, Server};

const CONFIG: &[u8] = b"{\"model_type\": \"tiny\"}";
const INDEX: &[u8] =
    br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;

fn hub(server: &Server, cache: &Path) -> Hub {
    open(server, cache, None, false)
}

fn open(server: &Server, cache: &Path, token: Option<&str>, offline: bool) -> Hub {
    Hub::new(Settings {
        cache: cache.into(),
        endpoint: server.address.clone(),
        token: token.map(Into::into),
        offline,
    })
    .unwrap()
}

fn sharded() -> Server {
    let server = Server::start(
        "models/o/m",
        &[
            ("config.json", CONFIG),
            ("tokenizer.json", b"{}"),
            ("model.safetensors.index.json", INDEX),
            ("model-00001-of-00002.safetensors", &[1; 5000]),
            ("model-00002-of-00002.safetensors", &[2; 7000]),
            ("README.md", b"not wanted"),
        ],
    );
    let large = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    server.state.lock().unwrap().large = large.map(String::from).into();
    server
}

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn failure(hub: &Hub, name: &str) -> String {
    hub.checkpoint(&id(name), &mut |_| ()).unwrap_err().to_string()
}

#[test]
fn a_checkpoint_is_fetched_once_into_pythons_layout() {
    let (server, cache) = (sharded(), tempfile::tempdir().unwrap());
    let mut told = Vec::new();
    let folder = hub(&server, cache.path())
        .checkpoint(&id("o/m"), &mut |p| told.push((p.file.to_string(), p.done, p.total)))
        .unwrap();
    let repository = cache.path().join("models--o--m");
    assert_eq!(folder, repository.join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), CONFIG);
    assert_eq!(std::fs::read(folder.join("model-00002-of-00002.safetensors")).unwrap(), [2; 7000]);
    assert!(!folder.join("README.md").exists());
    assert!(told.contains(&("model-00002-of-00002.safetensors".into(), 7000, 7000)), "{told:?}");
    // refs, links into blobs, and marks for what is not there.
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(std::fs::read_dir(repository.join("refs")).unwrap().count(), 1);
    assert!(std::fs::read_link(folder.join("config.json")).unwrap().starts_with("../../blobs"));
    assert!(repository.join(".no_exist").join(COMMIT).join("chat_template.jinja").exists());
    // The second time, and offline, nothing is asked.
    let asked = server.asked();
    assert_eq!(hub(&server, cache.path()).checkpoint(&id("o/m"), &mut |_| ()).unwrap(), folder);
    let offline = open(&server, cache.path(), None, true);
    assert_eq!(offline.checkpoint(&id("o/m"), &mut |_| ()).unwrap(), folder);
    assert_eq!(offline.checkpoint(&id(&format!("o/m@{COMMIT}")), &mut |_| ()).unwrap(), folder);
    assert_eq!(server.asked(), asked);
    // Another revision of the same commit costs one question and no file.
    assert_eq!(hub(&server, cache.path()).checkpoint(&id("o/m@v1"), &mut |_| ()).unwrap(), folder);
    assert_eq!(server.asked(), asked + 1);
}

#[test]
fn offline_needs_configuration_and_weights_only() {
    let (server, cache) = (sharded(), tempfile::tempdir().unwrap());
    let folder = hub(&server, cache.path()).checkpoint(&id("o/m"), &mut |_| ()).unwrap();
    // As `hf download` leaves it: no marks for what the repository does not have.
    std::fs::remove_dir_all(cache.path().join("models--o--m/.no_exist")).unwrap();
    let offline = open(&server, cache.path(), None, true);
    assert_eq!(offline.checkpoint(&id("o/m"), &mut |_| ()).unwrap(), folder);
    // As a program that needs no tokenizer leaves it.
    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    assert_eq!(offline.checkpoint(&id("o/m"), &mut |_| ()).unwrap(), folder);
    // Online the tokenizer is fetched.
    hub(&server, cache.path()).checkpoint(&id("o/m"), &mut |_| ()).unwrap();
    assert!(folder.join("tokenizer.json").exists());
    std::fs::remove_file(folder.join("config.json")).unwrap();
    assert!(failure(&offline, "o/m").contains("config.json is not in the cache"));
}

#[test]
fn offline_says_what_is_missing_and_where() {
    let (server, cache) = (sharded(), tempfile::tempdir().unwrap());
    let message = failure(&open(&server, cache.path(), None, true), "o/m");
    assert!(
        message.contains("o/m@main: offline") && message.contains(cache.path().to_str().unwrap()),
        "{message}"
    );
    hub(&server, cache.path()).checkpoint(&id("o/m"), &mut |_| ()).unwrap();
    let shard =
        cache.path().join("models--o--m/snapshots").join(COMMIT).join("model-00001-of-00002.safetensors");
    std::fs::remove_file(shard).unwrap();
    let message = failure(&open(&server, cache.path(), None, true), "o/m");
    assert!(message.contains("model-00001-of-00002.safetensors is not in the cache"), "{message}");
}

#[test]
fn a_broken_download_goes_on_and_a_spoilt_one_is_removed() {
    let (server, cache) = (sharded(), tempfile::tempdir().unwrap());
    let shard = "model-00002-of-00002.safetensors";
    server.state.lock().unwrap().break_off = Some((shard.into(), 3000));
    let client = hub(&server, cache.path());
    let message = failure(&client, "o/m");
    assert!(message.contains(shard), "{message}");
    let folder = cache.path().join("models--o--m/snapshots").join(COMMIT);
    assert!(!folder.join(shard).exists(), "half a file is not shown");
    let mut first = None;
    client
        .checkpoint(&id("o/m"), &mut |p| {
            if p.file == shard && p.done > 0 && first.is_none() {
                first = Some(p.done);
            }
        })
        .unwrap();
    assert_eq!(first, Some(3000), "the rest alone is fetched");
    assert_eq!(std::fs::read(folder.join(shard)).unwrap(), [2; 7000]);

    let cache = tempfile::tempdir().unwrap();
    server.state.lock().unwrap().spoil.insert(shard.into());
    let message = failure(&hub(&server, cache.path()), "o/m");
    assert!(message.contains("expected sha256"), "{message}");
    server.state.lock().unwrap().spoil.clear();
    let folder = hub(&server, cache.path()).checkpoint(&id("o/m"), &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(folder.join(shard)).unwrap(), [2; 7000]);

    // Stopped after the last byte and before the file got its name.
    let blob = std::fs::canonicalize(folder.join(shard)).unwrap();
    std::fs::rename(&blob, blob.with_extension("part")).unwrap();
    std::fs::remove_file(folder.join(shard)).unwrap();
    let folder = hub(&server, cache.path()).checkpoint(&id("o/m"), &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(folder.join(shard)).unwrap(), [2; 7000]);
}

#[test]
fn refusals_say_what_to_do() {
    let (server, cache) = (sharded(), tempfile::tempdir().unwrap());
    let client = hub(&server, cache.path());
    for name in ["o/other", "o/m@v9"] {
        let message = failure(&client, name);
        assert!(
            message.contains("404") && message.contains("no such repository, revision or file"),
            "{message}"
        );
    }
    server.state.lock().unwrap().token = Some("right".into());
    let message = failure(&client, "o/m");
    assert!(message.contains("401") && message.contains("HF_TOKEN is not set"), "{message}");
    let message = failure(&open(&server, cache.path(), Some("wrong"), false), "o/m");
    assert!(message.contains("not accepted") && !message.contains("wrong"), "{message}");
    assert!(!cache.path().join("models--o--m").exists(), "nothing is left of what was refused");
    open(&server, cache.path(), Some("right"), false).checkpoint(&id("o/m"), &mut |_| ()).unwrap();

    let empty = Server::start("models/o/m", &[("config.json", CONFIG)]);
    let message = failure(&hub(&empty, tempfile::tempdir().unwrap().path()), "o/m");
    assert!(message.contains("neither model.safetensors nor"), "{message}");
    let nobody = Hub::new(Settings {
        cache: cache.path().join("new"),
        endpoint: "http://127.0.0.1:9".into(),
        token: None,
        offline: false,
    });
    let message = failure(&nobody.unwrap(), "o/m");
    assert!(message.contains("http://127.0.0.1:9"), "{message}");
}

#[test]
fn files_of_data_sets_are_checked() {
    let server = Server::start("datasets/o/d", &[("x/test.jsonl", b"{}\n")]);
    let cache = tempfile::tempdir().unwrap();
    let client = hub(&server, cache.path());
    let right = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"; // of "{}\n"
    let file =
        |sum: &str| format!("hf://datasets/o/d@v1/x/test.jsonl#sha256={sum}").parse::<DataFile>().unwrap();
    let path = client.data_file(&file(right), &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"{}\n");
    let message = client.data_file(&file(&"0".repeat(64)), &mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("expected sha256 0000") && message.contains(right), "{message}");
    let absent: DataFile = "hf://datasets/o/d/y.jsonl".parse().unwrap();
    let message = client.data_file(&absent, &mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("no such file"), "{message}");
    let offline = open(&server, cache.path(), None, true);
    assert_eq!(offline.data_file(&file(right), &mut |_| ()).unwrap(), path);
}

#[test]
fn a_hub_out_of_reach_is_said_together_with_what_the_cache_has() {
    let (server, cache) = (sharded(), tempfile::tempdir().unwrap());
    hub(&server, cache.path()).checkpoint(&id("o/m"), &mut |_| ()).unwrap();
    let snapshot = cache.path().join("models--o--m/snapshots").join(COMMIT);
    // As the official tools leave it: nothing is marked as absent.
    let marks = cache.path().join("models--o--m/.no_exist");
    if marks.exists() {
        std::fs::remove_dir_all(marks).unwrap();
    }
    std::fs::remove_file(snapshot.join("tokenizer.json")).unwrap();
    let unreachable = |offline: bool| {
        let endpoint = "http://127.0.0.1:9".to_owned();
        let settings = Settings { cache: cache.path().into(), endpoint, token: None, offline };
        Hub::new(settings).unwrap().checkpoint(&id("o/m"), &mut |_| ())
    };
    let message = unreachable(false).unwrap_err().to_string();
    assert!(message.contains("--offline"), "{message}");
    assert_eq!(unreachable(true).unwrap(), snapshot);
}
