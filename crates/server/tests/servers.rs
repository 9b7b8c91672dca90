//! Servers on localhost: what they are asked, and what becomes of answers that are late, wrong or missing.
#![allow(clippy::unwrap_used)]

mod vllm;

use std::path::Path;
use std::time::{Duration, Instant};

use model_qwen::{Finish, Request, Sampling};
use server::{Answer, Error, Job, Servers, Settings, Version};
use vllm::Vllm;

fn settings(all: &[&Vllm]) -> Settings {
    let patience = Duration::from_secs(20);
    Settings { concurrency: 3, patience, ..Settings::new(all.iter().map(|server| server.url.clone())) }
}

fn job(n: u64, max_tokens: usize) -> Job {
    let request = |stream| Request { prompt: vec![5, 6, 7 + (stream / 4) as u32], stream, origin: 0 };
    let how = Sampling { max_tokens, temperature: 1.0, seed: 3, stop_ids: vec![1], ..Sampling::default() };
    Job { requests: (0..n).map(request).collect(), how, stops: Vec::new() }
}

/// All answers, in the order of the requests.
fn all(servers: &Servers, job: Job) -> Result<Vec<Answer>, Error> {
    let mut answers: Vec<Option<Answer>> = vec![None; job.requests.len()];
    let mut running = servers.start(job)?;
    while let Some((at, answer)) = running.next(&|| false)? {
        assert!(answers[at].replace(answer).is_none(), "twice");
    }
    assert!(running.is_done());
    Ok(answers.into_iter().map(Option::unwrap).collect())
}

fn folder(dir: &Path, name: &str, contents: &str) -> std::path::PathBuf {
    let folder = dir.join(name);
    std::fs::create_dir(&folder).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors", "model.safetensors"] {
        std::fs::write(folder.join(file), contents).unwrap();
    }
    folder
}

#[test]
fn completions_are_of_prompts_and_streams_whoever_makes_them() {
    let (a, b) = (Vllm::start(), Vllm::start());
    a.state().slow = 5;
    let alone = all(&Servers::open(settings(&[&a]), &|| false).unwrap(), job(24, 6)).unwrap();
    assert_eq!(a.state().most_in_flight, 3);
    let both = all(&Servers::open(settings(&[&a, &b]), &|| false).unwrap(), job(24, 6)).unwrap();
    assert_eq!(alone, both);
    assert!(b.count("/v1/completions") > 0 && a.state().most_in_flight <= 3);
    let ids: std::collections::BTreeSet<_> = alone.iter().map(|answer| &answer.completion.ids).collect();
    assert!(ids.len() > 20);
    for Answer { completion, step } in &alone {
        assert_eq!(step, &None);
        let ended = completion.ids.last() == Some(&1);
        assert_eq!(completion.finish, if ended { Finish::Eos } else { Finish::Length });
        assert!(completion.sampling_logprobs.iter().all(|x| (x + 64f32.ln()).abs() < 1e-6));
    }
    // Nothing is left to a server's own defaults.
    let asked = a.state().asked.iter().find(|(path, _)| path == "/v1/completions").unwrap().1.clone();
    for (name, value) in [("top_k", -1.0), ("top_p", 1.0), ("min_p", 0.0), ("repetition_penalty", 1.0)] {
        assert_eq!(asked[name].as_f64(), Some(value), "{name}");
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    let (a, b) = (Vllm::start(), Vllm::start());
    let expected = all(&Servers::open(settings(&[&a]), &|| false).unwrap(), job(12, 4)).unwrap();
    a.state().failures = vec![(500, "engine"), (503, "busy"), (429, "slow down")];
    assert_eq!(all(&Servers::open(settings(&[&a]), &|| false).unwrap(), job(12, 4)).unwrap(), expected);
    // One of two is gone: the other answers all.
    let servers = Servers::open(settings(&[&a, &b]), &|| false).unwrap();
    a.state().dead = true;
    assert_eq!(all(&servers, job(12, 4)).unwrap(), expected);
    // Both are, and one comes back.
    b.state().dead = true;
    let mut running = servers.start(job(12, 4)).unwrap();
    let began = Instant::now();
    assert!(running.next(&|| began.elapsed() > Duration::from_millis(300)).unwrap().is_none());
    assert!(!running.is_done());
    a.state().dead = false;
    for _ in 0..12 {
        let (at, answer) = running.next(&|| false).unwrap().unwrap();
        assert_eq!(answer, expected[at]);
    }
}

#[test]
fn servers_that_stay_away_are_no_bad_input() {
    let server = Vllm::start();
    let short = |ms| Settings { patience: Duration::from_millis(ms), ..settings(&[&server]) };
    let servers = Servers::open(short(400), &|| false).unwrap();
    server.state().dead = true;
    let began = Instant::now();
    let error = all(&servers, job(4, 4)).unwrap_err();
    assert!(error.is_io() && error.to_string().contains(&server.url), "{error}");
    assert!(began.elapsed() > Duration::from_millis(400));
    let error = Servers::open(short(100), &|| false).unwrap_err();
    assert!(error.is_io() && error.to_string().contains(&server.url), "{error}");
    // One that hangs.
    server.state().dead = false;
    let timeout = Duration::from_millis(200);
    let servers = Servers::open(Settings { timeout, ..short(0) }, &|| false).unwrap();
    server.state().slow = 2000;
    let error = all(&servers, job(1, 4)).unwrap_err();
    assert!(error.is_io() && error.to_string().contains("timeout"), "{error}");
}

#[test]
fn what_a_server_refuses_is_said() {
    let server = Vllm::start();
    let servers = Servers::open(settings(&[&server]), &|| false).unwrap();
    server.state().failures = vec![(400, "Token id 99 is out of vocabulary")];
    let message = all(&servers, job(1, 4)).unwrap_err();
    let expected = format!("{}: 400: Token id 99 is out of vocabulary", server.url);
    assert!(message.is_input() && message.to_string() == expected, "{message}");
    let message = servers.start(job(1, 94)).unwrap_err().to_string();
    assert!(message.contains("3 tokens") && message.contains("94") && message.contains("96"), "{message}");
    // Started again with less room: it cuts what is asked for.
    server.state().max_len = 10;
    let long = Job { how: Sampling { stop_ids: Vec::new(), ..job(1, 20).how }, ..job(1, 20) };
    let message = all(&servers, long).unwrap_err().to_string();
    assert!(message.contains("after 7 of 20 tokens"), "{message}");
    for bad in ["localhost:8000", "ftp://x", "http://"] {
        let message = Servers::open(Settings::new([bad]), &|| false).unwrap_err().to_string();
        assert!(message.contains("expected http://HOST:PORT"), "{message}");
    }
}

#[test]
fn an_adapter_is_loaded_once_and_again_after_a_restart() {
    let (server, dir) = (Vllm::start(), tempfile::tempdir().unwrap());
    let servers = Servers::open(settings(&[&server]), &|| false).unwrap();
    let (first, second) = (folder(dir.path(), "a", "one"), folder(dir.path(), "b", "two"));
    servers.publish(Version::adapter(&first, 0).unwrap());
    server.state().restart_at = Some(8);
    let answers = all(&servers, job(12, 4)).unwrap();
    assert!(answers.iter().all(|answer| answer.step == Some(0)));
    assert_eq!(server.count("/v1/load_lora_adapter"), 2);
    servers.publish(Version::adapter(&second, 1).unwrap());
    assert!(!first.exists() && server.state().adapters.is_empty());
    assert!(all(&servers, job(4, 4)).unwrap().iter().all(|answer| answer.step == Some(1)));
    let names: Vec<String> = server.state().adapters.keys().cloned().collect();
    assert!(names.len() == 1 && names[0].starts_with("step-1-"), "{names:?}");
    drop(servers);
    assert!(!second.exists() && server.state().adapters.is_empty());

    // A folder that the server does not see.
    let servers = Servers::open(settings(&[&server]), &|| false).unwrap();
    let gone = folder(dir.path(), "c", "three");
    servers.publish(Version::adapter(&gone, 2).unwrap());
    std::fs::remove_dir_all(&gone).unwrap();
    let message = all(&servers, job(1, 4)).unwrap_err().to_string();
    assert!(message.contains("No adapter found") && message.contains("that sees"), "{message}");
}

#[test]
fn a_name_is_one_set_of_weights() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, text: &str| Version::adapter(&folder(dir.path(), name, text), 3).unwrap();
    let name = |version: &Version| format!("{version:?}").split('"').nth(1).unwrap().to_owned();
    let (a, same, other) = (version("a", "one"), version("b", "one"), version("c", "two"));
    assert!(name(&a) == name(&same) && name(&a) != name(&other));
}

#[test]
fn whole_weights_are_reloaded_between_requests_and_checked_after_each() {
    let (server, dir) = (Vllm::start(), tempfile::tempdir().unwrap());
    server.state().slow = 2;
    let servers = Servers::open(settings(&[&server]), &|| false).unwrap();
    servers.publish(Version::weights(&folder(dir.path(), "a", "one"), 4).unwrap());
    server.state().restart_at = Some(6);
    let answers = all(&servers, job(12, 4)).unwrap();
    assert!(answers.iter().all(|answer| answer.step == Some(4)));
    assert_eq!(server.count("/collective_rpc"), 2);
    let order = ["/pause?mode=wait", "/update_weight_version", "/collective_rpc", "/reset_prefix_cache"];
    let mut asked: Vec<String> = server.state().asked.iter().map(|(path, _)| path.clone()).collect();
    asked.retain(|path| order.contains(&&**path) || path == "/resume");
    assert_eq!(asked[..6], [&order[..], &["/update_weight_version", "/resume"]].concat());
    assert!(server.state().version.starts_with("step-4-") && !server.state().paused);
    // A folder without weights: the server goes on, under no version of ours.
    let empty = folder(dir.path(), "b", "two");
    std::fs::remove_file(empty.join("model.safetensors")).unwrap();
    servers.publish(Version::weights(&empty, 5).unwrap());
    let message = all(&servers, job(1, 4)).unwrap_err().to_string();
    assert!(message.contains("reloading weights") && message.contains("no weights"), "{message}");
    assert!(!server.state().paused && server.state().version == "loading");
    // Neither adapters nor the model as it was served are of such a server.
    for version in ["loading", "step-9-0123"] {
        server.state().version = version.to_owned();
        let servers = Servers::open(settings(&[&server]), &|| false).unwrap();
        let message = all(&servers, job(1, 4)).unwrap_err().to_string();
        assert!(message.contains(version) && message.contains("start it again"), "{message}");
        servers.publish(Version::adapter(&folder(dir.path(), version, "three"), 0).unwrap());
        let message = all(&servers, job(1, 4)).unwrap_err().to_string();
        assert!(message.contains("start it again"), "{message}");
    }
}
