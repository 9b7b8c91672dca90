//! Statistics for small suites with few samples: intervals that keep their promise, paired tests, and the
//! effect that a suite of this size could detect at all.
//!
//! The unit of independence is the *problem*, never the sample: sixty-four samples of one problem are one
//! cluster. Probabilities are fractions in `[0, 1]`, not percent.

mod interval;
mod paired;
mod passk;
mod power;

pub use interval::{Interval, bootstrap_mean, clustered, wilson};
pub use paired::{Mcnemar, PairedBootstrap, mcnemar, paired_bootstrap};
pub use passk::{majority, pass_at_k, success_at_k};
pub use power::{minimum_detectable_effect, minimum_detectable_effect_unpaired};
