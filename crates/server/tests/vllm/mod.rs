//! A server on localhost that answers as vLLM does: by rules, or by exchanges that were recorded with the real one.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

/// What the server has and how it behaves; may be changed while it runs.
pub(crate) struct State {
    /// Every request: method, path, body.
    pub(crate) asked: Vec<(String, Value)>,
    pub(crate) max_len: usize,
    /// Ids are below it.
    pub(crate) vocab: u64,
    /// Adapters by name, with their folders.
    pub(crate) adapters: BTreeMap<String, String>,
    /// The version of the whole weights.
    pub(crate) version: String,
    pub(crate) paused: bool,
    /// Connections are closed without an answer.
    pub(crate) dead: bool,
    /// The statuses of the next completions, each with a message.
    pub(crate) failures: Vec<(u16, &'static str)>,
    /// Milliseconds that a completion takes.
    pub(crate) slow: u64,
    pub(crate) in_flight: usize,
    pub(crate) most_in_flight: usize,
    /// Restarts, with nothing loaded, once it was asked for so many completions.
    pub(crate) restart_at: Option<usize>,
    /// Dies when it was asked for so many.
    pub(crate) dead_at: Option<usize>,
    pub(crate) completions: usize,
    /// Log-probabilities before temperature.
    pub(crate) raw: bool,
    /// What it was started with, if it says so.
    pub(crate) root: Option<String>,
    /// What its tokenizer makes of any text, if it says so.
    pub(crate) tokens: Option<Vec<u32>>,
    /// Recorded completions by [`key`], in place of the rules.
    pub(crate) recorded: Option<BTreeMap<String, Value>>,
}

/// A running server.
pub(crate) struct Vllm {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Vllm {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            asked: Vec::new(),
            max_len: 96,
            vocab: 64,
            adapters: BTreeMap::new(),
            version: "default".to_owned(),
            paused: false,
            dead: false,
            failures: Vec::new(),
            slow: 0,
            in_flight: 0,
            most_in_flight: 0,
            restart_at: None,
            dead_at: None,
            completions: 0,
            raw: false,
            root: None,
            tokens: None,
            recorded: None,
        }));
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { url, state }
    }

    /// With what `tools/vllm/record.py` wrote.
    pub(crate) fn replay(exchanges: &str) -> Self {
        let server = Self::start();
        let lines = exchanges.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let all = lines.map(|x| (key(&x["body"]), x["answer"].clone())).collect();
        server.state().recorded = Some(all);
        server
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.state().asked.iter().filter(|(asked, _)| asked == path).count()
    }

    pub(crate) fn paths(&self) -> BTreeSet<String> {
        self.state().asked.iter().map(|(path, _)| path.clone()).collect()
    }
}

/// A request for a completion, its version by the number of steps alone: the rest of the name is a hash of weights, whose
/// last bits another machine may compute otherwise.
fn key(body: &Value) -> String {
    let mut body = body.clone();
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    if let Some(rest) = model.strip_prefix("step-") {
        body["model"] = format!("step-{}", rest.split('-').next().unwrap()).into();
    }
    body.to_string()
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
    }
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else { return };
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let slow = {
        let mut state = state.lock().unwrap();
        if state.dead {
            return;
        }
        state.asked.push((path.clone(), body.clone()));
        state.in_flight += 1;
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        state.slow
    };
    if path == "/v1/completions" {
        std::thread::sleep(Duration::from_millis(slow));
    }
    let (status, reply) = {
        let mut state = state.lock().unwrap();
        state.in_flight -= 1;
        let asked = state.completions + usize::from(path == "/v1/completions");
        state.dead |= state.dead_at.is_some_and(|at| asked >= at);
        if state.dead {
            state.adapters.clear();
            state.version = "default".to_owned();
            return;
        }
        reply(&mut state, &path, &body)
    };
    let reply = reply.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        reply.len()
    );
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(reply.as_bytes()));
}

/// An error as vLLM gives it.
fn error(status: u16, message: &str) -> (u16, Value) {
    (status, json!({ "error": { "message": message, "code": status } }))
}

fn reply(state: &mut State, path: &str, body: &Value) -> (u16, Value) {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    match path.split('?').next().unwrap() {
        "/v1/models" => {
            let base = json!({
                "id": "policy", "root": state.root, "owned_by": "vllm", "parent": null, "max_model_len": state.max_len,
            });
            let adapter = |name| json!({ "id": name, "owned_by": "vllm", "parent": "policy" });
            let all: Vec<Value> = [base].into_iter().chain(state.adapters.keys().map(adapter)).collect();
            (200, json!({ "data": all }))
        }
        "/tokenize" => match &state.tokens {
            Some(tokens) => (200, json!({ "tokens": tokens })),
            None => error(404, "Not Found"),
        },
        "/server_info" => {
            let mode = if state.raw { "raw_logprobs" } else { "processed_logprobs" };
            (200, json!({ "vllm_config": { "model_config": { "logprobs_mode": mode } } }))
        }
        "/v1/load_lora_adapter" => {
            let (name, dir) = (text("lora_name"), text("lora_path"));
            if !std::path::Path::new(&dir).join("adapter_config.json").exists() {
                return error(404, &format!("Loading lora {name} failed: No adapter found for {dir}"));
            }
            match state.adapters.insert(name.clone(), dir) {
                None => (200, json!(format!("Success: LoRA adapter '{name}' added successfully."))),
                Some(_) => error(400, &format!("The lora adapter '{name}' has already been loaded.")),
            }
        }
        "/v1/unload_lora_adapter" => match state.adapters.remove(&text("lora_name")) {
            Some(_) => (200, json!("Success")),
            None => error(404, "cannot be found"),
        },
        "/pause" => {
            state.paused = true;
            (200, json!({ "status": "paused" }))
        }
        "/resume" => {
            state.paused = false;
            (200, json!({ "status": "resumed" }))
        }
        "/collective_rpc" if !state.paused || state.version != "loading" => error(400, "not paused"),
        "/collective_rpc" => {
            let dir = body["kwargs"]["weights_path"].as_str().unwrap();
            match std::path::Path::new(dir).join("model.safetensors").exists() {
                true => (200, json!({ "results": [null] })),
                false => error(500, &format!("no weights in {dir}")),
            }
        }
        "/reset_prefix_cache" => (200, json!({ "success": true })),
        "/update_weight_version" => {
            state.version = text("new_version");
            (200, json!({ "success": true, "new_version": state.version }))
        }
        "/weight_info" => (200, json!({ "weight_version": state.version })),
        "/v1/completions" => completion(state, body),
        _ => error(404, "Not Found"),
    }
}

fn completion(state: &mut State, body: &Value) -> (u16, Value) {
    state.completions += 1;
    if state.restart_at == Some(state.completions) {
        state.adapters.clear();
        state.version = "default".to_owned();
    }
    if !state.failures.is_empty() {
        let (status, message) = state.failures.remove(0);
        return error(status, message);
    }
    let model = body["model"].as_str().unwrap();
    if model != "policy" && !state.adapters.contains_key(model) {
        return error(404, &format!("The model `{model}` does not exist. Valid aliases: policy."));
    }
    if let Some(recorded) = &state.recorded {
        return match recorded.get(&key(body)) {
            Some(answer) => (200, answer.clone()),
            None => error(400, &format!("was not recorded: {}", key(body))),
        };
    }
    // Ids that a hash of prompt and seed draws; log-probabilities of equal chances; the weights play no part.
    let prompt: Vec<u64> = body["prompt"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    let mut x =
        prompt.iter().fold(body["seed"].as_u64().unwrap(), |x, id| x.wrapping_mul(31).wrapping_add(*id));
    let stops: Vec<u64> = serde_json::from_value(body["stop_token_ids"].clone()).unwrap();
    let (mut ids, mut finish) = (Vec::new(), "length");
    for _ in 0..body["max_tokens"].as_u64().unwrap().min((state.max_len - prompt.len()) as u64) {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ids.push((x >> 33) % state.vocab);
        if stops.contains(ids.last().unwrap()) {
            finish = "stop";
            break;
        }
    }
    let logprob = -(state.vocab as f64).ln();
    let choice = json!({
        "index": 0, "token_ids": ids, "prompt_token_ids": prompt, "finish_reason": finish,
        "logprobs": { "token_logprobs": vec![logprob; ids.len()] },
    });
    (200, json!({ "model": model, "choices": [choice] }))
}
