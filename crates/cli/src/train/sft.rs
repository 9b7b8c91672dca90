//! `sparks sft`: supervised fine-tuning.

use std::path::Path;
use std::sync::Arc;

use common::Error;
use posttrain::Ranks;
use posttrain::ranks::gather;
use posttrain_sft::{Dataset, Encoder, Example, Packing, Sft, Sums};
use serde_json::{Map, Value};

use super::open::Open;
use super::steps::{self, Line, State, Trainer};
use super::watch::Watch;
use super::{Args, Kind};
use crate::options::{Common, Result};

pub(crate) fn sft(common: &Common, args: &Args, ranks: Arc<dyn Ranks>) -> Result {
    let mut open = Open::new(common, Kind::Sft, args, Arc::clone(&ranks))?;
    let watch = Watch::new(&open)?;
    let encoder = Encoder::of(&open.start)?;
    let data = read(&open, &open.file.data.train, &encoder)?;
    let eval = open.file.data.eval.as_deref().map(|path| read(&open, path, &encoder)).transpose()?;
    report(&open, &open.file.data.train, &data)?;
    if let (Some(path), Some(eval)) = (&open.file.data.eval, &eval) {
        report(&open, path, eval)?;
    }
    let config = open.file.sft();
    let mut sft = Sft::among(open.load()?, &config, data.len(), ranks)?;
    if let Some(resumed) = &open.resumed {
        sft = sft.resume(resumed)?;
    }
    steps::run(&mut open, watch.as_ref(), &mut Examples { sft, data, eval, encoder })
}

fn read(open: &Open<'_>, path: &Path, encoder: &Encoder) -> Result<Dataset> {
    Dataset::open(path, &open.file.examples(), open.file.run.seed, encoder)
}

/// Notes what was cut or left out, and warns of what is not used.
fn report(open: &Open<'_>, path: &Path, data: &Dataset) -> Result {
    let (report, place) = (&data.report, path.display());
    let common = open.common;
    if report.truncated + report.dropped + report.untrained > 0 || report.examples != report.rows {
        let how = if open.file.data.packing == Packing::BfdSplit { "split by" } else { "cut to" };
        common.note(format!(
            "{place}: {} rows, {} examples, {} {how} data.max_length, {} longer ones left out, {} left out \
             without a trained token or with a weight of 0",
            report.rows, report.examples, report.truncated, report.dropped, report.untrained
        ));
    }
    if open.file.data.packing != Packing::None {
        let (tokens, rows) = (data.tokens(), data.len());
        let full = 100.0 * tokens as f64 / (rows * open.file.examples().max_length) as f64;
        common.note(format!("{place}: {} examples in {rows} packed rows, {full:.1} % full", report.examples));
    }
    if !report.unused.is_empty() {
        let names: Vec<&str> = report.unused.iter().map(String::as_str).collect();
        common.warn(format!("{place}: not used: {}", names.join(", ")))?;
    }
    common.warn_positions(format_args!("{place}: the longest example"), report.longest, &open.start)
}

struct Examples {
    sft: Sft,
    data: Dataset,
    eval: Option<Dataset>,
    encoder: Encoder,
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

    fn evaluate(&self, stop: &dyn Fn() -> bool) -> Result<Option<Map<String, Value>>> {
        let parts: Vec<&[Example]> =
            self.eval.iter().flat_map(|eval| eval.examples().chunks(self.sft.batch())).collect();
        let (ranks, mut mine) = (self.sft.optimizer().ranks(), Vec::new());
        for at in (0..parts.len()).filter(|&at| ranks.has(at)).take_while(|_| !stop()) {
            mine.push((at, <[f64; 5]>::from(self.sft.evaluate(parts[at])?).to_vec()));
        }
        let rows: Vec<Vec<f64>> = gather(ranks, &mine);
        if rows.len() < parts.len() {
            return Ok(None);
        }
        let mut sums = Sums::default();
        for row in rows {
            sums.add(&Sums::from(
                <[f64; 5]>::try_from(row).map_err(|row| Error::internal(format!("{row:?}")))?,
            ));
        }
        let fields = [
            ("eval_loss", sums.mean_loss()),
            ("eval_token_accuracy", sums.accuracy()),
            ("eval_entropy", sums.mean_entropy()),
        ];
        Ok(Some(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()))
    }

    fn data(&self) -> Result<(Map<String, Value>, String)> {
        let (report, examples) = (&self.data.report, self.data.examples());
        let counts = [
            ("rows", report.rows),
            ("examples", report.examples),
            ("packed_rows", examples.len()),
            ("truncated", report.truncated),
            ("dropped", report.dropped),
            ("untrained", report.untrained),
            ("tokens", self.data.tokens()),
            ("trained_tokens", examples.iter().map(Example::tokens).sum()),
            ("longest", report.longest),
        ];
        let counts = counts.map(|(name, n)| (name.to_owned(), n.into()));
        Ok((Map::from_iter(counts), self.encoder.marked(&examples[0])?))
    }

    fn longest(&self) -> usize {
        self.data.examples().iter().map(|e| e.ids.len()).max().unwrap_or(0)
    }

    fn state(&self) -> State<'_> {
        State {
            model: self.sft.model(),
            optimizer: self.sft.optimizer(),
            progress: self.sft.progress(),
            steps: self.sft.steps(),
            rows: self.data.len(),
        }
    }
}
