//! `--dry-run`: what a run would take, from its data and one timed step; nothing is written.

use std::time::Instant;

use model_qwen::Dtype;
use serde_json::{Value, json};

use super::open::Open;
use super::sections::TrainDtype;
use super::steps::Trainer;
use crate::options::Result;
use crate::output::{print_json, say};

/// Bytes of a trained number beside its weight: gradient and two moments in f32.
const TRAINED: u64 = 12;

/// Makes one step with the model in memory and prints what the run would take.
pub(super) fn run(open: &Open<'_>, trainer: &mut dyn Trainer) -> Result {
    let (mut plan, example) = trainer.data()?;
    let state = trainer.state();
    let (steps, trained) = (state.steps, state.optimizer.n_params() as u64);
    let weights = open.start.config.n_params() * Dtype::from(open.file.model.dtype).bytes();
    // Factors beside the weights, or f32 copies of weights in bf16.
    let beside = open.file.lora.is_some() || open.file.model.dtype != TrainDtype::F32;
    let factors = if beside { 4 * trained } else { 0 };
    let start = Instant::now();
    trainer.step()?;
    let seconds = start.elapsed().as_secs_f64();
    plan.insert("steps".to_owned(), steps.into());
    plan.insert("trained_parameters".to_owned(), trained.into());
    plan.insert("bytes_without_activations".to_owned(), (weights + factors + TRAINED * trained).into());
    plan.insert("seconds_a_step".to_owned(), json!(seconds));
    plan.insert("seconds".to_owned(), json!(seconds * steps as f64));
    plan.insert("example".to_owned(), example.into());
    if open.json {
        print_json(&Value::Object(plan));
    } else {
        plan.iter().for_each(|(name, value)| {
            say!("{name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        });
    }
    Ok(())
}
