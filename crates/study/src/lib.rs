//! The paper, end to end: checkpoints, circuits, emergent heads, interventions, report.
//!
//! - [`toy`]: the demo's world: problems, tokenizer, sizes of its model, pairs.
//! - [`results`]: the schema of `results.json`. [`dynamics`]: arithmetic on head sets that fills it.
//! - [`pairs`]: clean and corrupt prompts from templates or from two models' answers.
//! - [`demo`]: the study on the embedded base model.
//! - [`caveats()`]: what the numbers cannot bear.
//! - [`report`]: the page and its figures from a results file.

mod caveats;
pub mod demo;
pub mod dynamics;
pub mod report;
pub mod results;

pub use caveats::caveats;
pub use common::Error;
pub use report::write_report;
pub use results::Results;
