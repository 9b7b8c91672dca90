//! Problems that GRPO is run on: JSONL `{"problem" | "prompt", "answer"}`.

use std::path::Path;

use common::Error;
use model_qwen::Text;
use serde::Deserialize;

use crate::options::{self, Result};

/// A prompt and the answer that completions are graded against.
pub(super) struct Problem {
    /// Token ids.
    pub(super) prompt: Vec<u32>,
    pub(super) answer: String,
}

#[derive(Deserialize)]
struct Row {
    #[serde(alias = "prompt")]
    problem: String,
    answer: String,
}

pub(super) fn read(path: &Path, text: &Text) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (at, line) in options::read(path)?.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let row: Row = serde_json::from_str(line).map_err(|e| Error::line(path, at + 1, e))?;
        let prompt = text.encode(&row.problem).map_err(|e| Error::line(path, at + 1, e))?;
        problems.push(Problem { prompt, answer: row.answer });
    }
    if problems.is_empty() {
        return Err(Error::at(path, "no problems, expected JSONL of {\"problem\", \"answer\"}"));
    }
    Ok(problems)
}
