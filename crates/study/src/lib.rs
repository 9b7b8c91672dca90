//! How post-training changes the attention heads of a model, end to end: checkpoints, circuits, emergent heads,
//! interventions, report. After *Thinking Sparks* (Park et al., arXiv 2509.25758).
//!
//! - [`demo`]: the study on the embedded base model, stage by stage.
//! - [`results`]: the schema of `results.json`.
//! - [`dynamics`]: arithmetic on head sets that fills it.
//! - [`report`]: the page and its figures, from a results file alone.
//! - [`caveats()`]: warnings, that is claims that fail their control.

mod caveats;
pub mod demo;
pub mod dynamics;
pub mod report;
pub mod results;

pub use caveats::caveats;
pub use common::Error;
pub use report::write_report;
pub use results::Results;
