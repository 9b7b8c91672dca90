//! The file of a step's completions: every reward of every one, so that totals and advantages can be derived again.

use std::io::{Read as _, Write as _};
use std::path::Path;

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use model_qwen::Finish;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Scored};

/// A line of `completions/step-N.jsonl.gz`: a completion that the model sampled after N steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps done before, as in `metrics.jsonl`.
    pub step: usize,
    /// Which prompt of the step.
    pub group: usize,
    /// Which completion of the prompt.
    pub sample: usize,
    /// Steps done by the weights that sampled it, where these were fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_at: Option<usize>,
    /// Text of the prompt; empty where nobody decoded it.
    pub prompt: String,
    /// Token ids of the prompt.
    pub prompt_ids: Vec<u32>,
    /// Text of the completion, without special tokens.
    pub completion: String,
    /// Token ids of the completion.
    pub ids: Vec<u32>,
    /// `eos`, `length` or `stop`.
    pub finish: String,
    /// Each reward by name; null where it could not judge.
    pub rewards: Map<String, Value>,
    /// Each reward's weight in the total.
    pub weights: Map<String, Value>,
    /// The total; null where no reward could judge.
    pub reward: Option<f32>,
    /// The advantage.
    pub advantage: f32,
    /// Whether the step trained on the prompt's completions.
    pub used: bool,
}

impl Scored {
    /// The records of a step.
    pub fn records(&self, step: usize) -> impl Iterator<Item = Record> {
        let group = self.group_size();
        self.iter().enumerate().map(move |(at, (rollout, reward, advantage))| {
            let table = self.table();
            let named = |of: &dyn Fn(usize) -> Value| -> Map<String, Value> {
                table.names().iter().enumerate().map(|(i, name)| (name.clone(), of(i))).collect()
            };
            Record {
                step,
                group: at / group,
                sample: at % group,
                sampled_at: Some(rollout.sampled_at).filter(|at| *at != step),
                prompt: rollout.prompt_text.clone(),
                prompt_ids: rollout.prompt_ids.clone(),
                completion: rollout.text.clone(),
                ids: rollout.ids.clone(),
                finish: finish_name(rollout.finish).to_owned(),
                // NaN is null.
                rewards: named(&|i| table.values(i)[at].into()),
                weights: named(&|i| table.weights()[i].into()),
                reward: Some(reward).filter(|r| !r.is_nan()),
                advantage,
                used: self.used[at / group],
            }
        })
    }

    /// Writes the records of a step as gzipped JSON lines, whole or not at all; equal records give equal bytes.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn write(&self, path: &Path, step: usize) -> Result<(), Error> {
        let mut file: GzEncoder<Vec<u8>> = GzBuilder::new().write(Vec::new(), Compression::default());
        for record in self.records(step) {
            let mut line = serde_json::to_vec(&record).map_err(Error::internal)?;
            line.push(b'\n');
            file.write_all(&line).map_err(Error::internal)?;
        }
        common::write_whole(path, &file.finish().map_err(Error::internal)?)
    }
}

/// Reads a file of completions.
///
/// # Errors
/// A file that cannot be read or is no such file.
pub fn read_completions(path: &Path) -> Result<Vec<Record>, Error> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).map_err(|e| Error::io(path, e))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| Error::at(path, e))).collect()
}

/// How files name it.
pub(crate) fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::Eos => "eos",
        Finish::Length => "length",
        Finish::Stop => "stop",
    }
}
