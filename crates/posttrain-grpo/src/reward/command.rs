//! A reward that another program gives: JSON lines in and out, over one process for the whole run.
//!
//! One line a completion: `{"prompt", "completion", "completion_ids", "finish", "answer", …}` with the problem's other
//! columns beside them. One line back: a number, `null` for what cannot be judged, or `{"reward": …}` with either.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Reward, Sample};
use crate::Error;

/// How long a line that nobody asked for is waited for.
const GRACE: Duration = Duration::from_millis(10);

/// A running program. It ends with the run.
pub(super) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<std::io::Result<String>>,
    timeout: Duration,
    name: String,
}

impl Program {
    /// Starts the program. Its stderr is ours; Ctrl-C in the terminal does not reach it.
    pub(super) fn start(command: &[String], timeout: f64) -> Result<Self, Error> {
        let name = command.join(" ");
        let (program, arguments) =
            command.split_first().ok_or_else(|| Error::input("command is empty, expected a program"))?;
        let mut start = Command::new(program);
        start.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut start, 0);
        let mut child =
            start.spawn().map_err(|e| Error::input(format!("`{name}` cannot be started: {e}")))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (send, lines) = channel();
        if let Some(stdout) = stdout {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    let is_last = line.is_err();
                    if send.send(line).is_err() || is_last {
                        break;
                    }
                }
            });
        }
        Ok(Self { child, stdin, lines, timeout: Duration::from_secs_f64(timeout), name })
    }

    /// Kills what the program started and what is left of it: the processes of its group.
    fn end_group(&self) {
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.child.id()) {
            use nix::sys::signal::{Signal, killpg};
            // An error says that none is left.
            let _ = killpg(nix::unistd::Pid::from_raw(group), Signal::SIGKILL);
        }
    }

    fn failed(&mut self, what: &str) -> Error {
        // A program that just closed its output needs a moment until its status can be asked for.
        for _ in 0..20 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Error::internal(format!("`{}` {what}: it ended with {status}", self.name));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Error::internal(format!("`{}` {what}", self.name))
    }

    /// Refuses a line that no completion asked for: it would be taken for the reward of the next.
    fn nothing_more(&self) -> Result<(), Error> {
        match self.lines.recv_timeout(GRACE) {
            Ok(Ok(line)) => Err(Error::input(format!(
                "`{}` wrote {:?} unasked, expected one line for each completion",
                self.name,
                shown(&line)
            ))),
            _ => Ok(()),
        }
    }

    fn answer(&mut self, at: usize) -> Result<f32, Error> {
        match self.lines.recv_timeout(self.timeout) {
            Ok(Ok(line)) => number(&line).ok_or_else(|| {
                Error::input(format!(
                    "`{}` answered {:?} to completion {at}, expected a number, null or {{\"reward\": number}}",
                    self.name,
                    shown(&line)
                ))
            }),
            Ok(Err(e)) => Err(self.failed(&format!("has output that cannot be read ({e})"))),
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.failed(&format!("closed its output before the reward of completion {at}")))
            }
            Err(RecvTimeoutError::Timeout) => Err(self.failed(&format!(
                "gave no reward of completion {at} within {} s (timeout)",
                self.timeout.as_secs_f64()
            ))),
        }
    }
}

impl Reward for Program {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let requests: Vec<u8> = samples.iter().flat_map(request).collect();
        self.nothing_more()?;
        let Some(mut stdin) = self.stdin.take() else { return Err(self.failed("failed before")) };
        // Written beside the reading, so that neither side waits for the other with a full pipe.
        let writer = std::thread::spawn(move || {
            stdin.write_all(&requests).and_then(|()| stdin.flush()).map(|()| stdin)
        });
        let rewards = (0..samples.len()).map(|at| self.answer(at)).collect::<Result<Vec<_>, _>>()?;
        match writer.join() {
            Ok(Ok(stdin)) => self.stdin = Some(stdin),
            _ => return Err(self.failed("closed its input")),
        }
        self.nothing_more()?;
        Ok(rewards)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        for _ in 0..20 {
            if let Ok(Some(_)) = self.child.try_wait() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end_group();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(line: &str) -> String {
    line.chars().take(200).collect()
}

/// A completion's line.
fn request(sample: &Sample<'_>) -> Vec<u8> {
    let mut line: Map<String, Value> = sample.columns.clone();
    let ours = [
        ("prompt", json!(sample.prompt_text)),
        ("completion", json!(sample.completion)),
        ("completion_ids", json!(sample.ids)),
        ("finish", json!(crate::record::finish_name(sample.finish))),
        ("answer", json!(sample.answer)),
    ];
    line.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    let mut line = Value::Object(line).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The reward in a line; NaN for null. `NaN` as Python's json writes it is the same.
fn number(line: &str) -> Option<f32> {
    let of = |value: &Value| match value {
        Value::Null => Some(f32::NAN),
        Value::Number(number) => number.as_f64().map(|x| x as f32),
        Value::Bool(right) => Some(f32::from(u8::from(*right))),
        _ => None,
    };
    let parsed = serde_json::from_str(line).or_else(|_| serde_json::from_str(&line.replace("NaN", "null")));
    match parsed.ok()? {
        Value::Object(object) => object.get("reward").and_then(of),
        value => of(&value),
    }
}
