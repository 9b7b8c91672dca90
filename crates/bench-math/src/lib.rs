//! Mathematics benchmarks: suites, prompt templates, resumable runs, measures with intervals.
//!
//! - [`suite`] and [`problem`]: benchmarks by name, problems files. [`arithmetic`]: generated problems.
//! - [`prompt`]: templates, shared by evaluation and GRPO.
//! - [`run`], [`record`] and [`protocol`]: samples of one model on one suite by one protocol, graded and appended to
//!   a file; an interrupted run resumes. [`mod@merge`]: the folders of shards as one run.
//! - [`mod@measure`]: pass@1, pass@k, maj@k and others with intervals, and the comparison of two runs.
//!   [`failure`]: kinds of failure.
//! - [`near_miss`]: wrong answers for tests of graders.
//!
//! Answers are graded by [`math_grade`](mod@math_grade), intervals are from [`stats`]. There are no tensors here: the
//! model is a closure.
//!
//! ```
//! use bench_math::{FinishReason, Protocol, Run, Sample, Template, measure, suite};
//!
//! # let dir = tempfile::tempdir()?;
//! # let folder = dir.path().join("run");
//! let problems = suite::load("arithmetic", "benchmarks".as_ref(), 0)?.list;
//! let answers: Vec<String> = problems.iter().map(|p| p.answer.clone()).collect();
//! let protocol = Protocol {
//!     prompt: Template::QwenMath.into(),
//!     samples: 1,
//!     temperature: 0.0,
//!     top_p: 1.0,
//!     max_tokens: 64,
//!     seed: 0,
//!     subject: [("model".to_owned(), "right on even problems".to_owned())].into(),
//! };
//! let mut run = Run::open(&folder, problems, protocol)?;
//! let model = |wanted: &bench_math::PendingSample| Sample {
//!     completion: match wanted.problem % 2 {
//!         0 => format!("The answer is \\boxed{{{}}}.", answers[wanted.problem]),
//!         _ => "I do not know.".to_owned(),
//!     },
//!     ids: vec![0; 12],
//!     finish: FinishReason::Eos,
//! };
//! run.complete(model, || false)?;
//! let measures = measure(&run.records(), 0.95)?;
//! assert_eq!(measures.pass_at_1.estimate, 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arithmetic;
pub mod failure;
mod folder;
pub mod measure;
pub mod merge;
pub mod near_miss;
pub mod problem;
pub mod prompt;
pub mod protocol;
pub mod record;
pub mod run;
pub mod suite;

pub use arithmetic::{ArithmeticProblems, Operations, Style};
pub use common::{Error, Result};
pub use failure::{Failure, failures};
pub use math_grade::{Extraction, Verdict, extract, grade};
pub use measure::{AtK, Measures, RunComparison, measure};
pub use merge::{Merged, merge};
pub use problem::{Problem, Problems, Row, parse_problems, read_problems};
pub use prompt::{Prompt, PromptSettings, Template, Turn};
pub use protocol::Protocol;
pub use record::{FinishReason, PendingSample, Record, Sample};
pub use run::Run;

/// A file of the shared test data: `$SPARKS_SHARED` or `../shared`, its `data` folder.
#[cfg(test)]
pub(crate) fn shared_data(name: &str) -> std::path::PathBuf {
    let shared = std::env::var_os("SPARKS_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        std::path::PathBuf::from,
    );
    let path = shared.join("data").join(name);
    assert!(path.exists(), "no {}; set SPARKS_SHARED", path.display());
    path
}
