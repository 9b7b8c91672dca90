//! A hub on localhost with one repository: what the client asks of the real one, and the ways in which that fails.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub has and how it behaves; may be changed while it runs.
#[derive(Default)]
pub(crate) struct State {
    /// `models/org/name` or `datasets/org/name`, and the files in it.
    pub(crate) repo: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Files that are answered with a redirect to a store, and named by their SHA-256.
    pub(crate) large: HashSet<String>,
    /// Bytes after which the next download of this file breaks off.
    pub(crate) break_off: Option<(String, usize)>,
    /// Files whose last byte comes wrong.
    pub(crate) spoil: HashSet<String>,
    pub(crate) token: Option<String>,
    /// Every request line.
    pub(crate) asked: Vec<String>,
}

/// A running hub.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start(repo: &str, files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
        let state = Arc::new(Mutex::new(State { repo: repo.into(), files, ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (shared, host) = (Arc::clone(&state), address.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &mut shared.lock().unwrap(), &host);
            }
        });
        Self { address, state }
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }
}

fn reply(stream: &mut TcpStream, status: &str, headers: &str, length: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn answer(mut stream: TcpStream, state: &mut State, host: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else { return };
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
    let header = |name: &str| {
        headers.iter().find_map(|l| {
            let (key, value) = l.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        })
    };
    state.asked.push(request.clone());
    let path = request.split(' ').nth(1).unwrap().to_string();
    if state.token.is_some() && header("authorization") != state.token.as_ref().map(|t| format!("Bearer {t}"))
    {
        return reply(&mut stream, "401 Unauthorized", "", 0, b"");
    }
    let repo = state.repo.trim_start_matches("models/").to_string();
    let revisions = ["main", "v1", COMMIT];
    let known = |prefix: &str| {
        revisions.iter().find_map(|r| path.strip_prefix(&format!("{prefix}{r}")).map(str::to_string))
    };
    if known(&format!("/api/{}/revision/", state.repo)).as_deref() == Some("") {
        let files: Vec<_> = state.files.keys().map(|f| serde_json::json!({"rfilename": f})).collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": files}).to_string();
        return reply(&mut stream, "200 OK", "", body.len(), body.as_bytes());
    }
    let stored = path.strip_prefix("/store/").map(str::to_string);
    let name =
        stored.clone().or_else(|| known(&format!("/{repo}/resolve/"))?.strip_prefix('/').map(Into::into));
    let Some((name, bytes)) = name.and_then(|n| Some((n.clone(), state.files.get(&n)?.clone()))) else {
        return reply(&mut stream, "404 Not Found", "", 0, b"");
    };
    let sum: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    if state.large.contains(&name) && stored.is_none() {
        let headers = format!(
            "Location: {host}/store/{name}\r\nX-Linked-Etag: \"{sum}\"\r\nETag: \"x\"\r\nX-Repo-Commit: {COMMIT}\r\n"
        );
        return reply(&mut stream, "302 Found", &headers, 0, b"");
    }
    let (from, to) = header("range")
        .and_then(|r| {
            let (from, to) = r.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().unwrap(), to.parse().unwrap_or(bytes.len() - 1)))
        })
        .unwrap_or((0, bytes.len() - 1));
    if from >= bytes.len() {
        return reply(&mut stream, "416 Range Not Satisfiable", "", 0, b"");
    }
    let headers = format!(
        "ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {from}-{to}/{}\r\n",
        &sum[..40],
        bytes.len()
    );
    let mut part = bytes[from..=to].to_vec();
    let length = part.len();
    if length > 1 {
        if state.spoil.contains(&name) {
            *part.last_mut().unwrap() ^= 1;
        }
        if let Some((_, n)) = state.break_off.take_if(|(file, _)| *file == name) {
            part.truncate(n);
        }
    }
    reply(&mut stream, "206 Partial Content", &headers, length, &part);
}
