//! How post-training changes the attention heads of a model, end to end: checkpoints, circuits, emergent heads,
//! interventions, report. After *Thinking Sparks* (Park et al., arXiv 2509.25758).
//!
//! - [`Study`]: the stages of a study over any checkpoints and pairs, each job done once ([`jobs`]), from a
//!   configuration file ([`config`]).
//! - [`mod@answer`]: a model answers the problems of a benchmark.
//! - [`live`]: a training run as far as it is.
//! - [`demo`]: the study on the embedded base model, stage by stage.
//! - [`results`]: the schema of `results.json`.
//! - [`dynamics`]: arithmetic on head sets that fills it.
//! - [`report`]: the page and its figures, from a results file alone.
//! - [`caveats()`]: warnings, that is claims that fail their control.

pub mod answer;
mod caveats;
mod compare;
pub mod config;
pub mod demo;
pub mod dynamics;
mod export;
mod hypotheses;
pub mod jobs;
pub mod live;
mod noise;
pub mod report;
pub mod results;
mod stages;
mod study;

pub use caveats::caveats;
pub use common::Error;
pub use compare::{AnswersCompared, HeadsCompared, StudyComparison, VerdictsCompared, compare};
pub use config::StudyConfig;
pub use export::write_tables;
pub use report::{live_page, write_report};
pub use results::Results;
pub use stages::StagePlan;
pub use study::{Host, Selected, Stage, Study, Training, TrainingPlan};
