//! Requests to one server: JSON in, JSON out.

use std::time::Duration;

use common::Error;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Bytes of an answer at most.
const LARGEST: u64 = 1 << 28;
const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may pass: no connection, no answer in time, a server in trouble (its status).
    Away(Option<u16>, String),
    /// It will not: the server understood, or what it says makes no sense.
    Refused(String),
}

/// The address of a server.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) url: String,
    agent: Agent,
}

impl Http {
    /// # Errors
    /// No address of the form `http://HOST:PORT`.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, Error> {
        let short = url.trim_end_matches('/');
        let short = short.strip_suffix("/v1").unwrap_or(short);
        let host = short.strip_prefix("http://").or(short.strip_prefix("https://"));
        if host.is_none_or(str::is_empty) || short.parse::<ureq::http::Uri>().is_err() {
            return Err(Error::input(format!("server {url:?}: expected http://HOST:PORT")));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(CONNECT.min(timeout)))
            .max_redirects(0)
            .build()
            .new_agent();
        Ok(Self { url: short.to_owned(), agent })
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        read(self.agent.get(format!("{}{path}", self.url)).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request =
            self.agent.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        read(request.send(body.to_string()))
    }
}

/// The body of an answer: JSON, or else a text.
fn read(answer: Result<Response<Body>, ureq::Error>) -> Result<Value, Failure> {
    let away = |e: ureq::Error| Failure::Away(None, e.to_string());
    let mut answer = answer.map_err(away)?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(LARGEST).read_to_string().map_err(away)?;
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    match status {
        200..300 => Ok(value),
        408 | 425 | 429 | 500.. => Err(Failure::Away(Some(status), format!("{status}: {}", said(&value)))),
        _ => Err(Failure::Refused(format!("{status}: {}", said(&value)))),
    }
}

/// What a server says in an error: vLLM in `error.message`, SGLang in `message` or `error_message`, FastAPI in `detail`.
fn said(value: &Value) -> String {
    let places = [&value["error"]["message"], &value["message"], &value["error_message"], &value["detail"]];
    match places.into_iter().chain([value]).find_map(Value::as_str) {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}
