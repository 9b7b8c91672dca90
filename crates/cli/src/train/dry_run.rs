//! `--dry-run`: what a run would take, from its data and one timed step; nothing is written. A step that the machine's
//! memory cannot hold is not made.

use std::time::Instant;

use model_qwen::Dtype;
use posttrain::{Memory, PassSize, Trained};
use serde_json::{Value, json};

use super::Kind;
use super::open::Open;
use super::steps::Trainer;
use crate::memory::{peak, room};
use crate::options::Result;
use crate::output::{print_json, say, to_json};

/// Makes one step with the model in memory, where there is room for it, and prints what the run would take.
pub(super) fn run(open: &Open<'_>, trainer: &mut dyn Trainer) -> Result {
    let state = trainer.state();
    let (steps, trained) = (state.steps, state.optimizer.n_params() as u64);
    let owned = state.optimizer.n_owned() as u64;
    let memory = |recompute| memory(open, (trained, owned), trainer.longest(), recompute);
    let recompute = open.file.train.recompute;
    let (planned, stored, recomputed) = (memory(recompute), memory(false).peak(), memory(true).peak());
    let room = if kernels::is_cpu(&open.common.device()?) { room() } else { None };
    let lacks = open.ranks.any(room.is_some_and(|room| planned.peak() > room));
    let start = Instant::now();
    if !lacks {
        trainer.step()?;
    }
    let seconds = (!lacks).then(|| start.elapsed().as_secs_f64());
    if !open.ranks.is_first() {
        return Ok(());
    }
    let (mut plan, example) = trainer.data()?;
    plan.insert("steps".to_owned(), steps.into());
    plan.insert("trained_parameters".to_owned(), trained.into());
    let without = planned.peak() - planned.activations - planned.logits;
    plan.insert("bytes_without_activations".to_owned(), without.into());
    plan.insert("bytes".to_owned(), to_json(&planned)?);
    plan.insert("bytes_peak".to_owned(), planned.peak().into());
    plan.insert("bytes_peak_stored".to_owned(), stored.into());
    plan.insert("bytes_peak_recomputed".to_owned(), recomputed.into());
    plan.insert("bytes_measured".to_owned(), peak().into());
    plan.insert("seconds_a_step".to_owned(), json!(seconds));
    plan.insert("seconds".to_owned(), json!(seconds.map(|s| s * steps as f64)));
    if let (true, Some(room)) = (lacks, room) {
        let why = format!("bytes_peak is {}, and this machine has room for {room}", planned.peak());
        plan.insert("not_timed".to_owned(), why.into());
    }
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

/// Memory of this rank by the formula, of passes whose rows are all as long as the longest, completion included: of
/// so many trained numbers, and so many whose state it keeps.
fn memory(open: &Open<'_>, (numbers, owned): (u64, u64), longest: usize, recompute: bool) -> Memory {
    let (file, adapter) = (&open.file, open.file.lora.is_some());
    let rows = file.train.batch_size;
    let seq = longest + if open.kind == Kind::Grpo { file.grpo().max_tokens } else { 0 };
    let trained = Trained { dtype: Dtype::from(file.model.dtype), numbers, adapter };
    let memory = Memory::new(&open.start.config, trained, PassSize { rows, seq, recompute });
    let memory = if owned < numbers { memory.shared(trained, owned) } else { memory };
    // An adapter's reference shares its weights.
    if open.kind == Kind::Grpo && file.grpo().beta > 0.0 && !adapter {
        memory.with_reference()
    } else {
        memory
    }
}
