//! Mathematics problems, a grader that cannot be fooled or hung, and honest statistics. No tensors.
//!
//! - [`problem`] and [`arithmetic`]: problems, read or generated.
//! - [`grade()`](fn@grade) and [`extract()`]: is this answer equal to that one, and which answer does this text give?
//! - [`suite`] and [`prompt`]: benchmarks by name, and how they are put to a model.
//! - [`record`]: a run's samples, streamed to a file and resumable; [`measure()`](fn@measure), [`measure::compare`] and
//!   [`failures`]: what they say.
//! - [`stats`]: intervals, pass@k, paired tests, minimum detectable effects.
//! - [`near_miss`]: wrong answers to test graders with.
//!
//! ```
//! let verdict = bench_math::grade(r"\frac{1}{2}", r"So the result is $\boxed{0.5}$.");
//! assert!(verdict.correct, "{}", verdict.reason);
//! ```

pub mod arithmetic;
pub mod failure;
pub mod measure;
pub mod near_miss;
pub mod problem;
pub mod prompt;
pub mod record;
pub mod suite;

pub use arithmetic::{Arithmetic, Operations, Style};
pub use common::{Error, Result};
pub use failure::{Failure, failures};
pub use math_grade::{Extraction, Verdict, extract, grade};
pub use measure::{Comparison, Measures, measure};
pub use problem::{Problem, read_problems};
pub use prompt::{Prompt, Template};
pub use record::{Protocol, Record, Request, Run, Sample};

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
