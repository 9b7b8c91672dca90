//! `sparks sft`: supervised fine-tuning.

use std::path::Path;

use posttrain_sft::{Dataset, Encoder, Sft};
use serde_json::{Map, Value};

use super::open::Open;
use super::steps::{self, Line, State, Trainer};
use super::{Args, Kind};
use crate::options::{Common, Result};

pub(crate) fn sft(common: &Common, args: &Args) -> Result {
    let mut open = Open::new(common, Kind::Sft, args)?;
    let encoder = Encoder::of(&open.start)?;
    let data = read(&open, &open.file.data.train, &encoder)?;
    let eval = open.file.data.eval.as_deref().map(|path| read(&open, path, &encoder)).transpose()?;
    let config = open.file.sft();
    let mut sft = Sft::new(open.load()?, &config, data.len())?;
    if let Some(resumed) = &open.resumed {
        sft = sft.resume(resumed)?;
    }
    steps::run(&mut open, &mut Examples { sft, data, eval })
}

/// Reads a file of examples and notes what was cut or left out.
fn read(open: &Open<'_>, path: &Path, encoder: &Encoder) -> Result<Dataset> {
    let data = Dataset::open(path, &open.file.examples(), open.file.run.seed, encoder)?;
    if data.truncated + data.empty > 0 {
        open.common.note(format!(
            "{}: {} examples cut at max_length, {} left out as untrained",
            path.display(),
            data.truncated,
            data.empty
        ));
    }
    Ok(data)
}

struct Examples {
    sft: Sft,
    data: Dataset,
    eval: Option<Dataset>,
}

impl Trainer for Examples {
    fn step(&mut self) -> Result<Line> {
        let stats = self.sft.step(&self.data.batch(self.sft.progress().position, self.sft.batch()))?;
        let text = format!(
            "step {} loss {:.4} lr {:.3e} grad norm {:.3}",
            stats.step, stats.loss, stats.lr, stats.grad_norm
        );
        Line::new(&stats, text, format!("loss {:.4}", stats.loss))
    }

    fn evaluate(&self) -> Result<Option<Map<String, Value>>> {
        let Some(eval) = &self.eval else { return Ok(None) };
        let loss = self.sft.evaluate(eval.examples())?;
        Ok(Some(Map::from_iter([("eval_loss".to_owned(), loss.into())])))
    }

    fn state(&self) -> State<'_> {
        State {
            model: self.sft.model(),
            optimizer: self.sft.optimizer(),
            progress: self.sft.progress(),
            steps: self.sft.steps(),
        }
    }
}
