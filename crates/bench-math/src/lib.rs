//! Mathematics problems, a grader that cannot be fooled or hung, and honest statistics. No tensors.
//!
//! - [`problem`] and [`arithmetic`]: problems, read or generated.
//! - [`grade()`] and [`extract()`]: is this answer equal to that one, and which answer does this text give?
//! - [`stats`]: intervals, pass@k, paired tests, minimum detectable effects.
//!
//! ```
//! let verdict = bench_math::grade(r"\frac{1}{2}", r"So the result is $\boxed{0.5}$.");
//! assert!(verdict.correct, "{}", verdict.reason);
//! ```

pub mod arithmetic;
mod error;
pub mod grade;
pub mod problem;
pub mod stats;

pub use arithmetic::{Arithmetic, Operations, Style};
pub use error::{Error, Result};
pub use grade::{Extraction, Verdict, extract, grade};
pub use problem::{Problem, read_problems};
